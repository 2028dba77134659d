/* docker_labels.h - what is written on our containers, so that they can be found again.
 *
 * `app.kubernetes.io/managed-by` and `openwebui.com/…` are upstream's names: containers made by the Python Terminals
 * carry them too. `terminals.…` are ours. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_LABELS_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_LABELS_H

#include <stdbool.h>

#include "common/json.h"
#include "provisioner/backend.h"

#define DOCKER_LABEL_MANAGED_BY  "app.kubernetes.io/managed-by"
#define DOCKER_MANAGED_BY        "terminals"
#define DOCKER_LABEL_USER_ID     "openwebui.com/user-id"
#define DOCKER_LABEL_POLICY      "openwebui.com/policy"
#define DOCKER_LABEL_CONTEXT_ID  "openwebui.com/context-id"
#define DOCKER_LABEL_INSTANCE_ID "terminals.instance-id"
#define DOCKER_LABEL_DEPLOYMENT  "terminals.deployment"
#define DOCKER_LABEL_CONFIG_HASH "terminals.config-hash"
/* On a container that was started warm: it names no user, since labels cannot be changed when it gets one. */
#define DOCKER_LABEL_WARM "terminals.warm"
/* On an image: its programs need no capabilities and no setuid programs. */
#define DOCKER_LABEL_UNPRIVILEGED "terminals.unprivileged"

/* Borrowed from what was read. NULL where the label is absent, but for policy and context, which then are `default`. */
struct docker_labels {
    bool is_managed; /* by some Terminals */
    const char *user_id;
    const char *policy_id;
    const char *context_id;
    const char *instance_id; /* NULL: made by the Python Terminals */
    const char *deployment;  /* NULL: the same */
    bool is_warm;
};

/* `labels`: an object of strings, or NULL. */
void docker_labels_read(struct json_object *labels, struct docker_labels *out);

/* The labels of a new container. NULL: no memory. */
struct json_object *docker_labels_make(const struct instance_spec *spec, const char *deployment,
                                       const char *config_hash);

/* Whether it is for this user, policy and context: the full names, not the 12 digits in the container's name. */
bool docker_labels_match(const struct docker_labels *labels, const struct instance_spec *spec);

#endif
