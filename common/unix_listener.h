/* unix_listener.h - a listening Unix socket: handed over by whoever started us, or bound here.
 *
 * `terminals serve` (and systemd, with the same protocol) binds the sockets and keeps them open, so that a process of
 * ours can die and be restarted while connections wait in the backlog instead of being refused: sd_listen_fds(3),
 * LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES, first descriptor 3. */
#ifndef TERMINALS_COMMON_UNIX_LISTENER_H
#define TERMINALS_COMMON_UNIX_LISTENER_H

#include "common/error.h"

/* Returns a close-on-exec, listening descriptor: the inherited one called `name` if there is one (LISTEN_PID absent or
 * ours), else a new one bound to `path` with mode 0600 (folder_owner.h says whose; a stale file there is removed only
 * if nobody answers on it). -1 with *err. */
int unix_listener_open(const char *name, const char *path, struct error *err);

/* Binds `path` without looking at what was inherited: what the supervisor does. */
int unix_listener_bind(const char *path, struct error *err);

#endif
