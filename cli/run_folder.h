/* run_folder.h - TERMINALS_RUN_DIR: ours alone while we run, with the sockets of our processes, and both maps. */
#ifndef TERMINALS_CLI_RUN_FOLDER_H
#define TERMINALS_CLI_RUN_FOLDER_H

#include "cli/programs.h"
#include "common/error.h"
#include "common/settings.h"

struct run_folder {
    char *path; /* absolute */
    int lock;
    int listeners[PROGRAM_COUNT][PROGRAM_LISTENERS_MAX]; /* -1: none */
};

/* Makes the folder (0700), locks it, empties both maps (who may do what is told anew by the processes we start) and
 * binds all sockets. A `serve` that was killed leaves processes that are about to end: they are waited for, a few
 * seconds at most. Checks that HAProxy will be able to listen on the port. On failure it is left closed. */
bool run_folder_open(struct run_folder *folder, const struct settings *settings, struct error *err);

/* Closing a closed one does nothing, but one of zeros must have been opened before. */
void run_folder_close(struct run_folder *folder);

/* Whether HAProxy could listen on TERMINALS_HOST and _PORT now: the check of run_folder_open(). */
bool run_folder_check_port(const struct settings *settings, struct error *err);

#endif
