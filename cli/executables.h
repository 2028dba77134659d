/* executables.h - where the programs and HAProxy's configuration are, in a build folder as in an installation. */
#ifndef TERMINALS_CLI_EXECUTABLES_H
#define TERMINALS_CLI_EXECUTABLES_H

#include "cli/programs.h"
#include "common/error.h"

struct executables {
    char *programs[PROGRAM_COUNT]; /* absolute paths */
    char *haproxy_config;
};

/* Ours are beside this program; haproxy is on the PATH or in /usr/sbin. On failure nothing needs freeing. */
bool executables_find(struct executables *executables, struct error *err);
void executables_free(struct executables *executables);

#endif
