/* kubernetes_security.h - what a pod may do: security contexts, and what `restricted` makes of them.
 *
 * A context is put together member by member: the policy's word, else the podTemplate's, else the settings' or, where
 * they say nothing, ours: group 1000 may write to the volume (the user of the stock image), and the runtime's seccomp
 * profile. `restricted` is the Pod Security Standard of that name: it wins over all of them. Pure. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_SECURITY_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_SECURITY_H

#include "common/error.h"
#include "common/json.h"
#include "provisioner/backends/kubernetes_manifest.h"

/* Sets the contexts in a pod's `spec` and in `container`, its own one. False with *err. */
bool kubernetes_security_apply(const struct kubernetes_plan *plan, struct json_object *spec,
                               struct json_object *container, struct error *err);

#endif
