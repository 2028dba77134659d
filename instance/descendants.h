/* descendants.h - everything that was started below this process, however deep: adopted when it loses its parent
 * (PR_SET_CHILD_SUBREAPER), and killed to the last one. Safe after fork() in a program with threads: no malloc(). */
#ifndef TERMINALS_INSTANCE_DESCENDANTS_H
#define TERMINALS_INSTANCE_DESCENDANTS_H

#include "common/error.h"

/* From now on orphans below this process become its children. */
bool descendants_adopt(struct error *err);

/* Sends SIGKILL to every child until there is none: whose parent dies becomes a child in its turn. SIGCHLD must be
 * blocked. Gives up after DESCENDANTS_KILL_TIMEOUT_MS, for a child that not even SIGKILL ends (waiting for a disk). */
#define DESCENDANTS_KILL_TIMEOUT_MS 5000
void descendants_kill(void);

#endif
