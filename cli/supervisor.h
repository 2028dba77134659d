/* supervisor.h - keeps our processes running, and ends them in order.
 *
 *   stopped -> running -> waiting (died; a pause) -> running …
 *                  `-> ending -> stopped
 *
 * A process that dies is started again, after a pause that grows (backoff.h). Before everything was ready once, one
 * that keeps dying right after its start ends the whole: nobody would see it otherwise. */
#ifndef TERMINALS_CLI_SUPERVISOR_H
#define TERMINALS_CLI_SUPERVISOR_H

#include <event2/event.h>

#include "cli/child.h"
#include "common/error.h"

struct supervisor;

/* Starts everything. The loop `base` ends (event_base_loopexit) when nothing of ours runs any more: after SIGINT or
 * SIGTERM, or when a process cannot be started. SIGHUP reloads HAProxy. NULL with *err. */
struct supervisor *supervisor_start(struct event_base *base, const struct child_plan *plan, struct error *err);

/* Everything answers: from now on no process is given up. */
void supervisor_is_ready(struct supervisor *supervisor);

/* True if the end was asked for; else *err says which process could not be started. */
bool supervisor_ended_well(const struct supervisor *supervisor, struct error *err);

/* When all processes have ended. NULL is fine. */
void supervisor_free(struct supervisor *supervisor);

#endif
