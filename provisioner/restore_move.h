/* restore_move.h - the last step of a restore: folders that were unpacked take the place of those that are there. */
#ifndef TERMINALS_PROVISIONER_RESTORE_MOVE_H
#define TERMINALS_PROVISIONER_RESTORE_MOVE_H

#include <stdbool.h>

#include "common/error.h"

#define RESTORE_FOLDER  ".restore"
#define RESTORE_JOURNAL "journal"
#define RESTORE_ID_SIZE 37

/* Reads the journal: the name of the restore and the time in the name of what is put aside. 1, 0 if there is none, -1
 * with *err. */
int restore_journal_read(const char *data_dir, char id[RESTORE_ID_SIZE], char time[RESTORE_ID_SIZE], struct error *err);

/* Removes it: nothing is to be finished. */
bool restore_journal_remove(const char *data_dir, struct error *err);

/* Moves everything, or what a predecessor has not moved yet, and removes what is left of the unpacked backup, the
 * journal first. */
bool restore_move(const char *data_dir, const char *time, struct error *err);

#endif
