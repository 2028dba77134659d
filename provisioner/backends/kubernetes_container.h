/* kubernetes_container.h - an instance's own container: its variables, resources and volumes, laid over what a
 * podTemplate says of it. Pure. All return false for lack of memory. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_CONTAINER_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_CONTAINER_H

#include "provisioner/backends/kubernetes_manifest.h"

/* All of it, with the volumes that it needs in the pod's `spec`. */
bool kubernetes_container_fill(const struct kubernetes_plan *plan, struct json_object *spec,
                               struct json_object *container);

/* Sets `value` as the variable of this name in an array of EnvVar, as it is: without expansion. */
bool kubernetes_variable_add(struct json_object *env, const char *name, const char *value);

/* `resources`: limits of the policy, else of the container, else of the settings; and requests, not above them. */
bool kubernetes_resources_add(const struct kubernetes_plan *plan, struct json_object *container);

/* The home and its volume: the claim that is the instance's own, or its folder of the one that all share. */
bool kubernetes_home_add(const struct kubernetes_plan *plan, struct json_object *spec, struct json_object *container);

/* What cannot write to its root gets a /tmp of its own. After the security contexts. */
bool kubernetes_temporary_add(struct json_object *spec, struct json_object *container);

#endif
