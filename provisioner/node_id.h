/* node_id.h - who this node is among the others, from one start to the next: a leader that comes back as itself need
 * not wait for its own lease. */
#ifndef TERMINALS_PROVISIONER_NODE_ID_H
#define TERMINALS_PROVISIONER_NODE_ID_H

#include <stdbool.h>

#include "common/error.h"

#define NODE_ID_SIZE 33 /* 32 digits and NUL */

/* Makes or reads what `id` is made of, in `<run_dir>/node` if there is such a folder (one that outlives a run folder in
 * memory), else in the run folder itself. Such a folder is this process's as long as *lock is open (-1: there is none),
 * and a copy of it on a machine of another name makes another id: no two nodes that live may have the same, since each
 * would take the lead from the other. False with *err. */
bool node_id_open(const char *run_dir, char id[NODE_ID_SIZE], int *lock, struct error *err);

#endif
