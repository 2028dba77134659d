/* heartbeat.h - a file that says that a process's event loop turns, for health checks of one that listens on nothing:
 * who is stopped, hangs or spins does not write any more. */
#ifndef TERMINALS_COMMON_HEARTBEAT_H
#define TERMINALS_COMMON_HEARTBEAT_H

#include <stdbool.h>

#include "common/error.h"

#define HEARTBEAT_INTERVAL_MS 2000  /* how often it is to be written */
#define HEARTBEAT_STALE_MS    10000 /* how old it may be */

/* Writes `<folder>/<process>.heartbeat`, whole or not at all: that the process is alive now, and whether it can do its
 * work. The time is of the monotonic clock, which both sides share (same machine, or containers of one pod), and which
 * nobody sets. False with *err. Thread-safe, but for two writers of one file. */
bool heartbeat_write(const char *folder, const char *process, bool is_ready, struct error *err);

/* Whether it has been written lately and, with `must_be_ready`, says that the process can do its work. False with *err,
 * which says what is wrong. Thread-safe. */
bool heartbeat_check(const char *folder, const char *process, bool must_be_ready, struct error *err);

#endif
