/* descendants.h - everything that was started below this process, however deep: adopted when it loses its parent
 * (PR_SET_CHILD_SUBREAPER), and killed to the last one. Safe after fork() in a program with threads: no malloc(). */
#ifndef TERMINALS_INSTANCE_DESCENDANTS_H
#define TERMINALS_INSTANCE_DESCENDANTS_H

#include <sys/types.h>

#include "common/error.h"

/* From now on orphans below this process become its children. */
bool descendants_adopt(struct error *err);

/* The parent of a process, given as in /proc ("123"); 0 if there is no such process. */
pid_t descendants_parent_of(const char *pid);

/* Sends SIGKILL to every child until there is none: whose parent dies becomes a child in its turn. SIGCHLD must be
 * blocked. Gives up after DESCENDANTS_KILL_TIMEOUT_MS, for a child that not even SIGKILL ends (waiting for a disk). */
#define DESCENDANTS_KILL_TIMEOUT_MS 5000
void descendants_kill(void);

#endif
