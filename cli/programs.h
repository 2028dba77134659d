/* programs.h - the processes that `terminals serve` keeps alive: what each is called, is told and listens on. */
#ifndef TERMINALS_CLI_PROGRAMS_H
#define TERMINALS_CLI_PROGRAMS_H

#include <stdbool.h>

#include "common/settings.h"

/* In the order in which they are started. */
enum program_id { PROGRAM_PROVISIONER, PROGRAM_API, PROGRAM_GATE, PROGRAM_HAPROXY, PROGRAM_COUNT };

#define PROGRAM_LISTENERS_MAX 3

struct program {
    const char *name;
    enum settings_reader reader;
    /* Sockets bound for it in the run folder, as <name>.sock (docs/internals.md). */
    const char *listeners[PROGRAM_LISTENERS_MAX];
    /* It holds connections: its limit on open files is raised to the hard one. Not the provisioner's, whose limit
     * instances inherit. */
    bool many_files;
};

extern const struct program programs[PROGRAM_COUNT];

#endif
