/* kubernetes_template.c - the pod: a policy's podTemplate with our own fields laid over it. */
#include <string.h>

#include "provisioner/backends/kubernetes_container.h"
#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_manifest.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_pod.h"
#include "provisioner/backends/kubernetes_security.h"

#define HOSTNAME_LABEL "kubernetes.io/hostname"

/* --- placement -----------------------------------------------------------------------------------------------------
 */

/* A volume that one node at a time can have: all its pods go where the first one is. (The scheduler lets a pod pass
 * that would be the first of its own kind.) */
static bool add_affinity(struct json_object *spec) {
    struct json_object *affinity = kubernetes_json_object(spec, "affinity");
    struct json_object *pods = affinity == NULL ? NULL : kubernetes_json_object(affinity, "podAffinity");
    struct json_object *terms =
        pods == NULL ? NULL : kubernetes_json_array(pods, "requiredDuringSchedulingIgnoredDuringExecution");
    struct json_object *term = terms == NULL ? NULL : json_object_new_object();
    if (term == NULL || !kubernetes_json_append(terms, term)) {
        return false;
    }
    struct json_object *selector = kubernetes_json_object(term, "labelSelector");
    struct json_object *labels = selector == NULL ? NULL : kubernetes_json_object(selector, "matchLabels");
    return labels != NULL && json_add_string(labels, KUBERNETES_LABEL_STORAGE, KUBERNETES_SHARED_CLAIM) &&
           json_add_string(term, "topologyKey", HOSTNAME_LABEL);
}

bool kubernetes_sharing_add(const struct kubernetes_plan *plan, struct json_object *template) {
    if (kubernetes_storage_mode(plan->settings, plan->spec->policy) != STORAGE_SHARED_RWO) {
        return true;
    }
    struct json_object *metadata = kubernetes_json_object(template, "metadata");
    struct json_object *labels = metadata == NULL ? NULL : kubernetes_json_object(metadata, "labels");
    struct json_object *spec = labels == NULL ? NULL : kubernetes_json_object(template, "spec");
    return spec != NULL && json_add_string(labels, KUBERNETES_LABEL_STORAGE, KUBERNETES_SHARED_CLAIM) &&
           add_affinity(spec);
}

/* --- the pod ------------------------------------------------------------------------------------------------------ */

static bool check_image(const struct kubernetes_plan *plan, struct json_object *container, struct error *err) {
    const char *image = json_object_is_type(container, json_type_object) ? json_get_string(container, "image") : NULL;
    return image == NULL || policy_image_is_allowed(image, plan->settings->allowed_images) ||
           error_set(err, ERROR_INVALID,
                     "podTemplate: `%.200s` is not among the images that TERMINALS_ALLOWED_IMAGES "
                     "allows",
                     image);
}

static bool check_images(const struct kubernetes_plan *plan, struct json_object *spec, struct error *err) {
    static const char *const lists[] = {"containers", "initContainers"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct json_object *list = json_get_array(spec, lists[i]);
        for (size_t j = 0; list != NULL && j < json_object_array_length(list); j++) {
            if (!check_image(plan, json_object_array_get_idx(list, j), err)) {
                return false;
            }
        }
    }
    return true;
}

bool kubernetes_placement_add(const struct kubernetes_plan *plan, struct json_object *spec) {
    const struct kubernetes_settings *parsed = plan->parsed;
    if (parsed->node_selector != NULL) {
        struct json_object *selector = kubernetes_json_object(spec, "nodeSelector");
        if (selector == NULL || !kubernetes_json_overlay(selector, parsed->node_selector)) {
            return false;
        }
    }
    for (size_t i = 0; parsed->tolerations != NULL && i < json_object_array_length(parsed->tolerations); i++) {
        struct json_object *copy = NULL;
        struct json_object *list = kubernetes_json_array(spec, "tolerations");
        if (list == NULL ||
            json_object_deep_copy(json_object_array_get_idx(parsed->tolerations, i), &copy, NULL) != 0 ||
            !kubernetes_json_append(list, copy)) {
            return false;
        }
    }
    return kubernetes_storage_mode(plan->settings, plan->spec->policy) != STORAGE_SHARED_RWO || add_affinity(spec);
}

static bool fill_spec(const struct kubernetes_plan *plan, struct json_object *spec) {
    bool has_grace = json_object_object_get_ex(spec, "terminationGracePeriodSeconds", NULL);
    return json_add_string(spec, "restartPolicy", "Never") && /* who starts instances is us */
           json_add_bool(spec, "automountServiceAccountToken", false) &&
           json_add_bool(spec, "enableServiceLinks", false) && /* no variables about other users' services */
           (has_grace || json_add_int(spec, "terminationGracePeriodSeconds", KUBERNETES_STOP_GRACE_S)) &&
           kubernetes_placement_add(plan, spec);
}

/* Our container among those of the template; a new one becomes the first. */
static struct json_object *find_container(struct json_object *spec) {
    struct json_object *containers = kubernetes_json_array(spec, "containers");
    struct json_object *container = kubernetes_json_find(containers, "name", KUBERNETES_CONTAINER);
    if (containers == NULL || container != NULL) {
        return container;
    }
    cleanup_json struct json_object *others = json_object_get(containers);
    struct json_object *list = json_object_new_array();
    container = json_object_new_object();
    if (list == NULL || !json_add(spec, "containers", list) || !kubernetes_json_append(list, container)) {
        return NULL;
    }
    for (size_t i = 0; i < json_object_array_length(others); i++) {
        if (!kubernetes_json_append(list, json_object_get(json_object_array_get_idx(others, i)))) {
            return NULL;
        }
    }
    return container;
}

static struct json_object *pods_metadata(const struct kubernetes_plan *plan, struct json_object *template) {
    struct json_object *metadata = kubernetes_metadata_make(
        plan->spec, plan->name, plan->spec->instance_id, json_get_object(template, "metadata"), plan->parsed->labels);
    if (metadata != NULL && kubernetes_storage_mode(plan->settings, plan->spec->policy) == STORAGE_SHARED_RWO &&
        !json_add_string(json_get_object(metadata, "labels"), KUBERNETES_LABEL_STORAGE, KUBERNETES_SHARED_CLAIM)) {
        json_object_put(metadata);
        return NULL;
    }
    return metadata;
}

static bool fill_pod(const struct kubernetes_plan *plan, struct json_object *pod, struct json_object *template,
                     struct error *err) {
    struct json_object *metadata = pods_metadata(plan, template);
    struct json_object *spec =
        metadata == NULL || !json_add(pod, "metadata", metadata) ? NULL : kubernetes_json_object(pod, "spec");
    if (spec == NULL || !kubernetes_json_overlay(spec, json_get_object(template, "spec"))) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!check_images(plan, spec, err)) {
        return false;
    }
    struct json_object *container = find_container(spec);
    if (container == NULL || !kubernetes_container_fill(plan, spec, container) || !fill_spec(plan, spec)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return kubernetes_security_apply(plan, spec, container, err) &&
           (kubernetes_temporary_add(spec, container) || error_set(err, ERROR_INTERNAL, "out of memory"));
}

struct json_object *kubernetes_pod_manifest(const struct kubernetes_plan *plan, struct error *err) {
    const struct policy *policy = plan->spec->policy;
    struct json_object *pod = json_object_new_object();
    if (pod == NULL || !json_add_string(pod, "apiVersion", "v1") || !json_add_string(pod, "kind", "Pod")) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    } else if (fill_pod(plan, pod, policy == NULL ? NULL : json_get_object(policy->data, "podTemplate"), err)) {
        return pod;
    }
    json_object_put(pod);
    return NULL;
}
