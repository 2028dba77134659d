/* kubernetes_purge_pod.h - the pod that removes files from a claim: only a pod reaches what is in one. Pure. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_PURGE_POD_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_PURGE_POD_H

#include "provisioner/backends/kubernetes_manifest.h"

#define KUBERNETES_PURGE_DEADLINE_S 600 /* the kubelet ends it then */

/* A pod called `name` that empties the claim which is the instance's own, or removes its folder of the one that all
 * share, as the instance's user. The caller puts it. NULL with *err. */
struct json_object *kubernetes_purge_manifest(const struct kubernetes_plan *plan, const char *name, struct error *err);

#endif
