#include "provisioner/backends/kubernetes_options.h"

#include "provisioner/backends/kubernetes_json.h"

static bool fill_options(struct json_object *options, const char *uid, int grace_s) {
    struct json_object *preconditions = uid[0] == '\0' ? NULL : kubernetes_json_object(options, "preconditions");
    return json_add_string(options, "apiVersion", "v1") && json_add_string(options, "kind", "DeleteOptions") &&
           (grace_s < 0 || json_add_int(options, "gracePeriodSeconds", grace_s)) &&
           (uid[0] == '\0' || (preconditions != NULL && json_add_string(preconditions, "uid", uid)));
}

struct json_object *kubernetes_delete_options(const char *uid, int grace_s) {
    struct json_object *options = json_object_new_object();
    if (options != NULL && !fill_options(options, uid, grace_s)) {
        json_object_put(options);
        return NULL;
    }
    return options;
}
