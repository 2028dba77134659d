/* memory.h - what our own processes take of the machine's memory. */
#ifndef TERMINALS_PROVISIONER_MEMORY_H
#define TERMINALS_PROVISIONER_MEMORY_H

#include "provisioner/provisioner.h"

/* The resident memory of the provisioner, of terminals-api and terminals-gate, which are its peers, of the worker of
 * HAProxy and of `terminals serve`, added up: what they share counts for each. Instances do not count: how much those
 * take, cgroups and engines know better. Who is in another container cannot be seen from here and is left out. Reads
 * /proc; does not block. */
int64_t memory_of_processes(const struct provisioner *provisioner);

#endif
