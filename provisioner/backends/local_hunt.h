/* local_hunt.h - the end of processes that only their mark betrays: what an instance without a sandbox has started, and
 * what is left of one that a predecessor of ours ran.
 *
 * All of /proc has to be read for that, so one look is for all instances that wait for one: a hundred that are stopped
 * at once take a few, not a hundred. The event loop's thread only. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_LOCAL_HUNT_H
#define TERMINALS_PROVISIONER_BACKENDS_LOCAL_HUNT_H

#include "provisioner/backends/local_instance.h"

/* What a hunt needs of the backend. `done` is called with each instance of which a look found nothing any more, and may
 * free it or any other. False: no memory. */
bool local_hunt_open(struct backend *backend, void (*done)(struct local_instance *instance));
void local_hunt_close(struct backend *backend);

/* SIGKILL to what carries the instance's mark, until nothing does: what is killed takes a moment to go, and may have
 * forked. `done` follows, never from inside the call. Nothing happens if it is hunted already. */
void local_hunt_begin(struct local_instance *instance);

/* For an instance that is forgotten meanwhile. */
void local_hunt_cancel(struct local_instance *instance);

#endif
