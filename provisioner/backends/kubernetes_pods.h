/* kubernetes_pods.h - all pods of Terminals in our namespace, as a watch keeps them current (kubernetes_watch.h).
 * Nothing is asked of the API server for a request of a user. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_PODS_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_PODS_H

#include "provisioner/backends/kubernetes_pod.h"
#include "provisioner/backends/kubernetes_watch.h"

/* Its items are struct kubernetes_pod: kubernetes_pod_of(). */
extern const struct kubernetes_watch_kind kubernetes_pods_kind;

/* NULL for NULL. */
const struct kubernetes_pod *kubernetes_pod_of(const struct kubernetes_item *item);

/* NULL: there is none of that name. Valid until the event loop goes on. */
const struct kubernetes_pod *kubernetes_pods_find(const struct kubernetes_watch *pods, const char *name);

#endif
