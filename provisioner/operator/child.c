#include "provisioner/operator/child.h"

#include <stddef.h>
#include <stdlib.h>

#include "provisioner/backends/kubernetes_names.h"

static void free_child(struct kubernetes_item *item) {
    struct child *child = (struct child *)item;
    json_object_put(child->metadata);
    free(child);
}

static struct kubernetes_item *read_child(struct json_object *json) {
    struct child *child = calloc(1, sizeof *child);
    if (child == NULL) {
        return NULL;
    }
    child->metadata = json_object_get(json_get_object(json, "metadata"));
    if (!kubernetes_item_read(&child->item, child->metadata)) {
        free_child(&child->item);
        return NULL;
    }
    kubernetes_owner_read(child->metadata, child->owner_uid);
    child->is_operators =
        json_get_string(json_get_object(child->metadata, "labels"), KUBERNETES_LABEL_OPERATOR) != NULL;
    child->is_going = json_get_string(child->metadata, "deletionTimestamp") != NULL;
    return &child->item;
}

struct kubernetes_watch_kind child_kind(const char *kind) {
    return (struct kubernetes_watch_kind){
        .kind = kind,
        .selector = KUBERNETES_MANAGED_SELECTOR,
        .is_metadata_only = true,
        .read = read_child,
        .free = free_child,
    };
}

const struct child *child_find(const struct kubernetes_watch *watch, const char *name) {
    _Static_assert(offsetof(struct child, item) == 0, "an item is the first member of its kind");
    return (const struct child *)kubernetes_watch_find(watch, name);
}
