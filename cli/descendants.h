/* descendants.h - makes sure that nothing we started, directly or not, outlives us. */
#ifndef TERMINALS_CLI_DESCENDANTS_H
#define TERMINALS_CLI_DESCENDANTS_H

#include "common/error.h"

/* From now on orphans among our descendants become our children (prctl(2), PR_SET_CHILD_SUBREAPER), such as the
 * instances of a provisioner that was killed. */
bool descendants_adopt(struct error *err);

/* Kills (SIGKILL) and reaps every descendant; returns how many were killed. `limit_ms` bounds the whole. */
int descendants_kill_all(int limit_ms);

#endif
