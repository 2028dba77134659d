/* docker_warm.h - warm containers: started before anybody needs them, without a home.
 *
 * When one is handed over, its user's folder is mounted inside (home_mount.h), and it gets the name that the user's
 * container has. That takes root on the engine's own machine, in its process namespace: what is no such place (a
 * provisioner in a container, an engine elsewhere, an engine without root) starts no warm containers and says why.
 * A label cannot be changed: that a container is warm, and its instance's id, is all that its labels say; whose it is
 * stands in our database. One of which no row speaks is removed. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_WARM_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_WARM_H

#include "provisioner/backends/docker_instance.h"

/* The container answers: if it is a warm one, whether it can ever be handed over. False with ERROR_CONFLICT. */
bool docker_warm_may_be_ready(const struct docker_instance *instance, struct error *err);

/* The instance ends: a handover under way fails, and its owner is told; or nobody is told any more. */
void docker_warm_fail(struct docker_instance *instance);
void docker_warm_cancel(struct docker_instance *instance);

#endif
