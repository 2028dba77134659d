/* child.h - starts one of our processes with what it needs and nothing else. */
#ifndef TERMINALS_CLI_CHILD_H
#define TERMINALS_CLI_CHILD_H

#include <sys/types.h>

#include "cli/executables.h"
#include "cli/programs.h"
#include "cli/run_folder.h"
#include "common/error.h"
#include "common/settings.h"

/* What all starts have in common. Borrowed. */
struct child_plan {
    const struct settings *settings;
    const struct executables *executables;
    const struct run_folder *run_folder;
};

/* Starts it with its settings in the environment and its sockets inherited (LISTEN_FDS), in a process group of its own,
 * so that Ctrl-C reaches only us, and with SIGTERM to come should we die. `quiet`: HAProxy keeps its notices to itself,
 * and, alas, the reason why it cannot start. Returns its pid, or -1 with *err. */
pid_t child_start(const struct child_plan *plan, enum program_id id, bool quiet, struct error *err);

/* A list as HAProxy wants it (TERMINALS_CORS_ALLOWED_ORIGINS, TERMINALS_TRUSTED_PROXIES): commas and white space become
 * single spaces, since its configuration can split a list nowhere else. The caller frees; NULL: no memory. */
char *child_list_for_haproxy(const char *list);

#endif
