/* docker_security.h - what a container may do: capabilities, no-new-privileges, user, read-only root.
 *
 * Without a word from the policy an instance gets the least with which the stock image works, whose user may use sudo
 * (docs/docker.md says why each capability is there); an image labelled `terminals.unprivileged=true` gets none at all.
 * A policy's container_security_context (a Kubernetes SecurityContext) tightens or loosens that. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_SECURITY_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_SECURITY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"

struct docker_security {
    struct json_object *context; /* SecurityContext, or NULL */
    struct json_object *env;     /* the policy's, or NULL: OPEN_TERMINAL_ALLOWED_DOMAINS needs NET_ADMIN */
    bool image_is_unprivileged;
};

/* Adds CapDrop, CapAdd, SecurityOpt, ReadonlyRootfs and Tmpfs to a HostConfig. ERROR_INVALID: the context asks for what
 * no instance gets. */
bool docker_security_apply(const struct docker_security *security, struct json_object *host_config, struct error *err);

/* The user the context wants, as the engine takes it ("1000" or "1000:1000"); *is_set says whether it wants one. */
#define DOCKER_USER_SIZE 48
bool docker_security_user(struct json_object *context, char out[DOCKER_USER_SIZE], bool *is_set, struct error *err);

#endif
