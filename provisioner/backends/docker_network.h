/* docker_network.h - the network that we make where none is named: containers in it cannot reach each other. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_NETWORK_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_NETWORK_H

#include "provisioner/backends/docker_engine.h"

/* Looks whether the network `terminals` is there and makes it if not. Calls `done` once, later, unless the returned
 * object is cancelled before: err is NULL when it is there. An existing one that lets containers talk to each other is
 * used, with a warning. NULL: no memory. */
struct docker_network_call;
struct docker_network_call *docker_network_ensure(struct docker_engine *engine,
                                                  void (*done)(void *argument, const struct error *err),
                                                  void *argument);
void docker_network_cancel(struct docker_network_call *call);

#endif
