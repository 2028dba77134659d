/* docker_roundup.h - compares what the engine has with what we know, whenever we may have missed something: after the
 * adoptions, each time the engine comes back, and a while after something could not be asked or done.
 *
 *   an instance of ours whose container ended meanwhile                       gone
 *   a container with our mark (the deployment label) that nobody knows:
 *       it runs, and answers or is silent, and the owner has a place for it   found, and adopted
 *       it runs, and the owner cannot write that down at the moment           left, and looked at again
 *       it runs, and nobody listens in it                                     stopped and removed
 *       it runs, and the owner has none (its policy is gone, …)               stopped and removed
 *       it does not run (half-created, ended)                                 removed
 *       it is paused                                                          left: somebody paused it, and may go on
 *   a container of the Python Terminals:
 *       it runs and answers, and the owner has a place for it                 found, and adopted
 *       else                                                                  left, with a line in the log
 *   a container of another Terminals                                          left
 */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_ROUNDUP_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_ROUNDUP_H

#include "provisioner/backends/docker_backend.h"

struct docker_roundup;

/* NULL: no memory. */
struct docker_roundup *docker_roundup_open(struct backend *backend);
void docker_roundup_close(struct docker_roundup *roundup);

/* From now on containers that nobody knows are dealt with: all known ones have been named. */
void docker_roundup_allow(struct docker_roundup *roundup);

/* The engine is there, perhaps again. */
void docker_roundup_begin(struct docker_roundup *roundup);

/* Something could not be looked at, or not be removed: once more in a while. */
void docker_roundup_again(struct docker_roundup *roundup);

/* The engine is away: what is under way comes to nothing. */
void docker_roundup_abandon(struct docker_roundup *roundup);

/* Looks at one container, by its id or name: one that appeared, came back to life, or proved to be nobody's. */
void docker_roundup_look(struct docker_roundup *roundup, const char *container);

#endif
