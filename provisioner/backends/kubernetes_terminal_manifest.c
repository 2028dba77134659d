/* kubernetes_terminal_manifest.c - a policy and the settings as the spec of a Terminal. */
#include <string.h>

#include "common/names.h"
#include "provisioner/backends/kubernetes_container.h"
#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_pod.h"
#include "provisioner/backends/kubernetes_terminal.h"

#define SECONDS_IN_MINUTE 60

static struct json_object *data_of(const struct kubernetes_plan *plan) {
    return plan->spec->policy == NULL ? NULL : plan->spec->policy->data;
}

static bool add_copy(struct json_object *target, const char *name, struct json_object *value) {
    struct json_object *copy = NULL;
    return value == NULL || (json_object_deep_copy(value, &copy, NULL) == 0 && json_add(target, name, copy));
}

/* Whole minutes: rather a moment longer than too short. */
static int64_t idle_minutes(const struct kubernetes_plan *plan) {
    const struct policy *policy = plan->spec->policy;
    int64_t seconds = plan->settings->idle_timeout_seconds;
    return policy != NULL && policy->idle_timeout_minutes != POLICY_UNSET
               ? policy->idle_timeout_minutes
               : (seconds + SECONDS_IN_MINUTE - 1) / SECONDS_IN_MINUTE;
}

/* As they would be in the pod: those of the template's container count where the policy says nothing. */
static bool add_resources(const struct kubernetes_plan *plan, struct json_object *spec) {
    struct json_object *template = json_get_object(json_get_object(data_of(plan), "podTemplate"), "spec");
    struct json_object *theirs =
        kubernetes_json_find(json_get_array(template, "containers"), "name", KUBERNETES_CONTAINER);
    return add_copy(spec, "resources", json_get_object(theirs, "resources")) && kubernetes_resources_add(plan, spec);
}

static bool add_persistence(const struct kubernetes_plan *plan, struct json_object *spec) {
    const struct settings *settings = plan->settings;
    bool is_own = kubernetes_storage_mode(settings, plan->spec->policy) == STORAGE_PER_USER;
    const char *size = json_get_string(data_of(plan), "storage");
    struct json_object *persistence = kubernetes_json_object(spec, "persistence");
    return persistence != NULL && json_add_bool(persistence, "enabled", is_own) &&
           (!is_own || (json_add_string(persistence, "size", size == NULL ? settings->kubernetes_storage_size : size) &&
                        (settings->kubernetes_storage_class == NULL ||
                         json_add_string(persistence, "storageClass", settings->kubernetes_storage_class))));
}

/* A Terminal has no word for a claim that many share: there the template brings the home. */
static bool add_shared_home(const struct kubernetes_plan *plan, struct json_object *template) {
    struct json_object *pod = kubernetes_json_object(template, "spec");
    struct json_object *containers = pod == NULL ? NULL : kubernetes_json_array(pod, "containers");
    struct json_object *container = kubernetes_json_find(containers, "name", KUBERNETES_CONTAINER);
    if (container == NULL) {
        container = json_object_new_object();
        if (containers == NULL || !kubernetes_json_append(containers, container) ||
            !json_add_string(container, "name", KUBERNETES_CONTAINER)) {
            return false;
        }
    }
    return kubernetes_home_add(plan, pod, container) && kubernetes_sharing_add(plan, template);
}

static bool add_template(const struct kubernetes_plan *plan, struct json_object *spec) {
    bool is_shared = kubernetes_storage_mode(plan->settings, plan->spec->policy) != STORAGE_PER_USER;
    if (!add_copy(spec, "podTemplate", json_get_object(data_of(plan), "podTemplate")) || !is_shared) {
        return !is_shared;
    }
    struct json_object *template = kubernetes_json_object(spec, "podTemplate");
    return template != NULL && add_shared_home(plan, template);
}

static bool fill_spec(const struct kubernetes_plan *plan, struct json_object *spec) {
    const struct instance_spec *who = plan->spec;
    struct json_object *data = data_of(plan);
    struct json_object *packages = NULL;
    struct json_object *pip_packages = NULL;
    json_object_object_get_ex(data, "packages", &packages);
    json_object_object_get_ex(data, "pipPackages", &pip_packages);
    struct json_object *pod_context = json_get_object(data, "pod_security_context");
    struct json_object *container_context = json_get_object(data, "container_security_context");
    bool is_restricted = plan->settings->kubernetes_restricted || json_get_bool(data, "restricted", false);
    return json_add_string(spec, "userId", who->user_id) &&
           (strcmp(who->context_id, NAME_DEFAULT) == 0 || json_add_string(spec, "contextId", who->context_id)) &&
           json_add_string(spec, "image", kubernetes_plan_image(plan)) &&
           json_add_int(spec, "idleTimeoutMinutes", idle_minutes(plan)) &&
           json_add_bool(spec, "restricted", is_restricted) && add_persistence(plan, spec) &&
           add_resources(plan, spec) && add_template(plan, spec) &&
           add_copy(spec, "env", who->policy == NULL ? NULL : who->policy->env) &&
           add_copy(spec, "packages", packages) && add_copy(spec, "pipPackages", pip_packages) &&
           add_copy(spec, "podSecurityContext", pod_context == NULL ? plan->parsed->pod_context : pod_context) &&
           add_copy(spec, "containerSecurityContext",
                    container_context == NULL ? plan->parsed->container_context : container_context);
}

/* Whatever the operator would refuse is better said here: to whom has just made that policy. */
static bool check_pod(const struct kubernetes_plan *plan, struct error *err) {
    cleanup_json struct json_object *pod = kubernetes_pod_manifest(plan, err);
    return pod != NULL;
}

struct json_object *kubernetes_terminal_manifest(const struct kubernetes_plan *plan, const char *api_version,
                                                 struct error *err) {
    if (!check_pod(plan, err)) {
        return NULL;
    }
    struct json_object *metadata =
        kubernetes_metadata_make(plan->spec, plan->name, plan->spec->instance_id, NULL, plan->parsed->labels);
    struct json_object *terminal = json_object_new_object();
    struct json_object *spec = terminal == NULL ? NULL : kubernetes_json_object(terminal, "spec");
    bool has_metadata = metadata != NULL && spec != NULL;
    if (!has_metadata) {
        json_object_put(metadata);
    }
    if (!has_metadata || !json_add(terminal, "metadata", metadata) ||
        !json_add_string(terminal, "apiVersion", api_version) ||
        !json_add_string(terminal, "kind", KUBERNETES_TERMINAL_KIND) || !fill_spec(plan, spec)) {
        json_object_put(terminal);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return terminal;
}
