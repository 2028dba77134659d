/* backup_file.h - a backup as a file: a tar archive, and behind its end a line that tells how long it is and its
 * SHA-256, so that what is cut off or changed is noticed before anything is restored. tar programs ignore that line.
 *
 * The archive is made and unpacked by GNU tar (Debian's `tar`), which goes through users' folders without following a
 * link that is put in its way, and keeps owners, modes, times, hard links, holes and users' attributes. */
#ifndef TERMINALS_CLI_BACKUP_FILE_H
#define TERMINALS_CLI_BACKUP_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* Runs tar with these arguments (ended by NULL) and writes what it prints, and the line, to `fd`, on the disk when this
 * returns. *changed: tar has told, on standard error, of files that changed while they were read or could not be. */
bool backup_file_write(int fd, const char *const *arguments, bool *changed, struct error *err);

/* Reads it whole and checks the line. The length of the archive; -1 with *err. */
int64_t backup_file_verify(int fd, const char *path, struct error *err);

/* Runs tar with these arguments, the archive of `length` bytes on its standard input. It is checked once more on its
 * way. */
bool backup_file_read(int fd, const char *path, int64_t length, const char *const *arguments, struct error *err);

#endif
