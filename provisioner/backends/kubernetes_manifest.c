#include "provisioner/backends/kubernetes_manifest.h"

#include <string.h>

#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_pod.h"

static const char *const storage_modes[] = {
    [STORAGE_PER_USER] = "per-user", [STORAGE_SHARED] = "shared", [STORAGE_SHARED_RWO] = "shared-rwo"};
static const char *const service_types[] = {"ClusterIP", "NodePort", "LoadBalancer"};

enum settings_storage_mode kubernetes_storage_mode(const struct settings *settings, const struct policy *policy) {
    const char *said = policy == NULL ? NULL : json_get_string(policy->data, "storage_mode");
    for (size_t i = 0; said != NULL && i < sizeof storage_modes / sizeof storage_modes[0]; i++) {
        if (strcmp(storage_modes[i], said) == 0) {
            return (enum settings_storage_mode)i;
        }
    }
    return (enum settings_storage_mode)settings->kubernetes_storage_mode;
}

const char *kubernetes_claim_name(const struct kubernetes_plan *plan) {
    bool is_own = kubernetes_storage_mode(plan->settings, plan->spec->policy) == STORAGE_PER_USER;
    return is_own ? plan->name : KUBERNETES_SHARED_CLAIM;
}

/* An object of API version v1 with its metadata. */
static struct json_object *make(const char *kind, struct json_object *metadata, struct error *err) {
    struct json_object *object = json_object_new_object();
    if (object == NULL || metadata == NULL || !json_add_string(object, "apiVersion", "v1") ||
        !json_add_string(object, "kind", kind)) {
        json_object_put(object);
        json_object_put(metadata);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    if (!json_add(object, "metadata", metadata)) {
        json_object_put(object);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return object;
}

static struct json_object *checked(struct json_object *object, bool is_whole, struct error *err) {
    if (object != NULL && !is_whole) {
        json_object_put(object);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return object;
}

/* Of the instance: it goes with it. */
static struct json_object *instances_metadata(const struct kubernetes_plan *plan) {
    return kubernetes_metadata_make(plan->spec, plan->name, plan->spec->instance_id, NULL, plan->parsed->labels);
}

struct json_object *kubernetes_secret_manifest(const struct kubernetes_plan *plan, struct error *err) {
    struct json_object *secret = make("Secret", instances_metadata(plan), err);
    struct json_object *data = secret == NULL ? NULL : kubernetes_json_object(secret, "stringData");
    return checked(secret,
                   data != NULL && json_add_string(secret, "type", "Opaque") &&
                       json_add_string(data, KUBERNETES_SECRET_KEY, plan->spec->key),
                   err);
}

struct json_object *kubernetes_service_manifest(const struct kubernetes_plan *plan, struct error *err) {
    struct json_object *service = make("Service", instances_metadata(plan), err);
    struct json_object *spec = service == NULL ? NULL : kubernetes_json_object(service, "spec");
    struct json_object *selector = spec == NULL ? NULL : kubernetes_json_object(spec, "selector");
    struct json_object *ports = selector == NULL ? NULL : kubernetes_json_array(spec, "ports");
    struct json_object *port = ports == NULL ? NULL : json_object_new_object();
    return checked(service,
                   port != NULL && kubernetes_json_append(ports, port) && json_add_string(port, "name", "http") &&
                       json_add_int(port, "port", KUBERNETES_PORT) &&
                       json_add_int(port, "targetPort", KUBERNETES_PORT) && json_add_string(port, "protocol", "TCP") &&
                       json_add_string(selector, KUBERNETES_LABEL_INSTANCE_ID, plan->spec->instance_id) &&
                       json_add_string(spec, "type", service_types[plan->settings->kubernetes_service_type]),
                   err);
}

/* --- the claim ---------------------------------------------------------------------------------------------------- */

static struct json_object *shared_metadata(const struct kubernetes_plan *plan) {
    struct json_object *metadata = json_object_new_object();
    struct json_object *labels = metadata == NULL ? NULL : kubernetes_json_object(metadata, "labels");
    if (labels == NULL || !json_add_string(metadata, "name", KUBERNETES_SHARED_CLAIM) ||
        !kubernetes_json_overlay(labels, plan->parsed->labels) ||
        !json_add_string(labels, KUBERNETES_LABEL_MANAGED_BY, KUBERNETES_MANAGED_BY)) {
        json_object_put(metadata);
        return NULL;
    }
    return metadata;
}

/* How much: the policy's word counts where the claim is the instance's own. */
static const char *claim_size(const struct kubernetes_plan *plan, bool is_own) {
    const struct policy *policy = plan->spec->policy;
    const char *size = is_own && policy != NULL ? json_get_string(policy->data, "storage") : NULL;
    return size == NULL ? plan->settings->kubernetes_storage_size : size;
}

struct json_object *kubernetes_claim_manifest(const struct kubernetes_plan *plan, struct error *err) {
    enum settings_storage_mode mode = kubernetes_storage_mode(plan->settings, plan->spec->policy);
    bool is_own = mode == STORAGE_PER_USER;
    const char *class_name = plan->settings->kubernetes_storage_class;
    struct json_object *claim =
        make("PersistentVolumeClaim",
             is_own ? kubernetes_metadata_make(plan->spec, plan->name, NULL, NULL, plan->parsed->labels)
                    : shared_metadata(plan),
             err);
    struct json_object *spec = claim == NULL ? NULL : kubernetes_json_object(claim, "spec");
    struct json_object *modes = spec == NULL ? NULL : kubernetes_json_array(spec, "accessModes");
    struct json_object *resources = modes == NULL ? NULL : kubernetes_json_object(spec, "resources");
    struct json_object *requests = resources == NULL ? NULL : kubernetes_json_object(resources, "requests");
    const char *access = mode == STORAGE_SHARED ? "ReadWriteMany" : "ReadWriteOnce";
    return checked(claim,
                   requests != NULL && kubernetes_json_append(modes, json_object_new_string(access)) &&
                       json_add_string(requests, "storage", claim_size(plan, is_own)) &&
                       (class_name == NULL || json_add_string(spec, "storageClassName", class_name)),
                   err);
}
