#include "provisioner/backends/kubernetes_pods.h"

#include <stddef.h>

static struct kubernetes_item *read_pod(struct json_object *json) {
    struct kubernetes_pod *pod = kubernetes_pod_read(json);
    return pod == NULL ? NULL : &pod->item;
}

static void free_pod(struct kubernetes_item *item) {
    kubernetes_pod_free((struct kubernetes_pod *)item);
}

const struct kubernetes_watch_kind kubernetes_pods_kind = {
    .kind = "pods",
    .selector = KUBERNETES_MANAGED_SELECTOR,
    .read = read_pod,
    .free = free_pod,
};

const struct kubernetes_pod *kubernetes_pod_of(const struct kubernetes_item *item) {
    _Static_assert(offsetof(struct kubernetes_pod, item) == 0, "an item is the first member of its kind");
    return (const struct kubernetes_pod *)item;
}

const struct kubernetes_pod *kubernetes_pods_find(const struct kubernetes_watch *pods, const char *name) {
    return kubernetes_pod_of(kubernetes_watch_find(pods, name));
}
