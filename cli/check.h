/* check.h - `terminals check PROCESS`: does this process of ours answer? For health checks (compose, systemd, doctor).
 */
#ifndef TERMINALS_CLI_CHECK_H
#define TERMINALS_CLI_CHECK_H

#include <stdbool.h>

#include "common/error.h"

/* Asks `provisioner`, `api` or `gate` on its socket in TERMINALS_RUN_DIR something that needs nobody else's help, or
 * looks at the heartbeat that `operator` leaves there (common/heartbeat.h); `operator ready` means that it knows what
 * there is and could lead, or does. Prints nothing if all is well. Returns the exit status: 0, 1 with a sentence, 2 for
 * wrong arguments. */
int check(int argc, char **argv);

/* The same of `process` in the run folder `run_dir`, for others. False with *err, which says what did not work. */
bool check_ask(const char *run_dir, const char *process, struct error *err);

#endif
