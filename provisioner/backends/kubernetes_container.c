#include "provisioner/backends/kubernetes_container.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/names.h"
#include "common/quantity.h"
#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_pod.h"

#define HOME_VOLUME      "terminals-home"
#define TEMPORARY_VOLUME "terminals-tmp"

/* --- small parts -------------------------------------------------------------------------------------------------- */

/* Kubernetes replaces $(NAME) in values, and $$ by $: what was set is what the instance gets. */
bool kubernetes_variable_add(struct json_object *env, const char *name, const char *value) {
    cleanup_buffer struct buffer escaped = {0};
    struct json_object *variable = json_object_new_object();
    buffer_append_string(&escaped, "");
    for (; *value != '\0'; value++) {
        buffer_append(&escaped, "$$", *value == '$');
        buffer_append(&escaped, value, 1);
    }
    kubernetes_json_remove(env, "name", name);
    return kubernetes_json_append(env, variable) && !escaped.failed && json_add_string(variable, "name", name) &&
           json_add_string(variable, "value", escaped.data);
}

static bool add_key(struct json_object *env, const char *secret) {
    struct json_object *variable = json_object_new_object();
    kubernetes_json_remove(env, "name", KUBERNETES_KEY_NAME);
    if (!kubernetes_json_append(env, variable)) {
        return false;
    }
    struct json_object *source = kubernetes_json_object(variable, "valueFrom");
    struct json_object *reference = source == NULL ? NULL : kubernetes_json_object(source, "secretKeyRef");
    return reference != NULL && json_add_string(variable, "name", KUBERNETES_KEY_NAME) &&
           json_add_string(reference, "name", secret) && json_add_string(reference, "key", KUBERNETES_SECRET_KEY);
}

static bool add_environment(const struct kubernetes_plan *plan, struct json_object *container) {
    const struct policy *policy = plan->spec->policy;
    struct json_object *env = kubernetes_json_array(container, "env");
    if (env == NULL) {
        return false;
    }
    if (policy != NULL && policy->env != NULL) {
        json_object_object_foreach(policy->env, name, value) {
            if (!kubernetes_variable_add(env, name, json_object_get_string(value))) {
                return false;
            }
        }
    }
    return add_key(env, plan->name);
}

static bool add_port(struct json_object *container) {
    struct json_object *ports = kubernetes_json_array(container, "ports");
    for (size_t i = 0; ports != NULL && i < json_object_array_length(ports); i++) {
        struct json_object *port = json_object_array_get_idx(ports, i);
        if (json_object_is_type(port, json_type_object) && json_get_int(port, "containerPort", 0) == KUBERNETES_PORT) {
            return true;
        }
    }
    struct json_object *port = json_object_new_object();
    return ports != NULL && kubernetes_json_append(ports, port) &&
           json_add_int(port, "containerPort", KUBERNETES_PORT) && json_add_string(port, "protocol", "TCP");
}

/* For the service's endpoints, and for people; who waits for an instance asks it directly. */
static bool add_readiness(struct json_object *container) {
    if (json_object_object_get_ex(container, "readinessProbe", NULL)) {
        return true;
    }
    struct json_object *probe = kubernetes_json_object(container, "readinessProbe");
    struct json_object *get = probe == NULL ? NULL : kubernetes_json_object(probe, "httpGet");
    return get != NULL && json_add_string(get, "path", "/health") && json_add_int(get, "port", KUBERNETES_PORT) &&
           json_add_int(probe, "periodSeconds", 10) && json_add_int(probe, "timeoutSeconds", 5);
}

/* --- resources ---------------------------------------------------------------------------------------------------- */

/* A limit: the policy's, else the template's, else the settings'; and a request, which may not be more. */
static bool add_resource(struct json_object *limits, struct json_object *requests, const char *name,
                         const char *policys, const char *default_limit, const char *default_request, const char *cap) {
    int64_t limit = 0;
    int64_t request = 0;
    int64_t most = 0;
    if (policys == NULL && cap != NULL && quantity_thousandths(cap, &most) &&
        quantity_thousandths(default_limit, &limit) && limit > most) {
        default_limit = cap;
    }
    if ((policys != NULL || json_get_string(limits, name) == NULL) &&
        !json_add_string(limits, name, policys != NULL ? policys : default_limit)) {
        return false;
    }
    if (json_get_string(requests, name) == NULL && !json_add_string(requests, name, default_request)) {
        return false;
    }
    const char *limit_text = json_get_string(limits, name);
    bool is_too_much = quantity_thousandths(limit_text, &limit) &&
                       quantity_thousandths(json_get_string(requests, name), &request) && request > limit;
    return !is_too_much || json_add_string(requests, name, limit_text);
}

bool kubernetes_resources_add(const struct kubernetes_plan *plan, struct json_object *container) {
    const struct settings *settings = plan->settings;
    struct json_object *data = plan->spec->policy == NULL ? NULL : plan->spec->policy->data;
    struct json_object *resources = kubernetes_json_object(container, "resources");
    struct json_object *limits = resources == NULL ? NULL : kubernetes_json_object(resources, "limits");
    struct json_object *requests = limits == NULL ? NULL : kubernetes_json_object(resources, "requests");
    return requests != NULL &&
           add_resource(limits, requests, "cpu", json_get_string(data, "cpu_limit"),
                        settings->kubernetes_default_cpu_limit, settings->kubernetes_default_cpu_request,
                        settings->max_cpu) &&
           add_resource(limits, requests, "memory", json_get_string(data, "memory_limit"),
                        settings->kubernetes_default_memory_limit, settings->kubernetes_default_memory_request,
                        settings->max_memory);
}

/* --- volumes ------------------------------------------------------------------------------------------------------ */

static bool add_volume(struct json_object *spec, const char *name, const char *source, const char *claim) {
    struct json_object *volumes = kubernetes_json_array(spec, "volumes");
    struct json_object *volume = volumes == NULL ? NULL : json_object_new_object();
    if (volume == NULL) {
        return false;
    }
    kubernetes_json_remove(volumes, "name", name);
    if (!kubernetes_json_append(volumes, volume)) {
        return false;
    }
    struct json_object *what = kubernetes_json_object(volume, source);
    return what != NULL && json_add_string(volume, "name", name) &&
           (claim == NULL || json_add_string(what, "claimName", claim));
}

static bool add_mount(struct json_object *container, const char *volume, const char *path, const char *sub_path) {
    struct json_object *mounts = kubernetes_json_array(container, "volumeMounts");
    struct json_object *mount = mounts == NULL ? NULL : json_object_new_object();
    if (mount == NULL) {
        return false;
    }
    kubernetes_json_remove(mounts, "mountPath", path); /* two mounts of one path are invalid */
    return kubernetes_json_append(mounts, mount) && json_add_string(mount, "name", volume) &&
           json_add_string(mount, "mountPath", path) &&
           (sub_path == NULL || json_add_string(mount, "subPath", sub_path));
}

bool kubernetes_home_add(const struct kubernetes_plan *plan, struct json_object *spec, struct json_object *container) {
    const struct instance_spec *who = plan->spec;
    char folder[NAME_FOLDER_SIZE];
    bool is_own = kubernetes_storage_mode(plan->settings, who->policy) == STORAGE_PER_USER;
    if (plan->is_without_claim) {
        bool has_home =
            kubernetes_json_find(json_get_array(container, "volumeMounts"), "mountPath", KUBERNETES_HOME) != NULL;
        return has_home || (add_volume(spec, HOME_VOLUME, "emptyDir", NULL) &&
                            add_mount(container, HOME_VOLUME, KUBERNETES_HOME, NULL));
    }
    return name_home_folder(who->user_id, who->policy_id, who->context_id, folder) &&
           add_volume(spec, HOME_VOLUME, "persistentVolumeClaim", kubernetes_claim_name(plan)) &&
           add_mount(container, HOME_VOLUME, KUBERNETES_HOME, is_own ? NULL : folder);
}

/* What cannot write to its root still needs a place for what is passing. */
bool kubernetes_temporary_add(struct json_object *spec, struct json_object *container) {
    bool is_read_only = json_get_bool(json_get_object(container, "securityContext"), "readOnlyRootFilesystem", false);
    if (!is_read_only || kubernetes_json_find(json_get_array(container, "volumeMounts"), "mountPath", "/tmp") != NULL) {
        return true;
    }
    return add_volume(spec, TEMPORARY_VOLUME, "emptyDir", NULL) && add_mount(container, TEMPORARY_VOLUME, "/tmp", NULL);
}

/* --- the container
 * ---------------------------------------------------------------------------------------------------- */

const char *kubernetes_plan_image(const struct kubernetes_plan *plan) {
    const struct policy *policy = plan->spec->policy;
    return policy != NULL && policy->image != NULL    ? policy->image
           : plan->settings->kubernetes_image != NULL ? plan->settings->kubernetes_image
                                                      : plan->settings->image;
}

bool kubernetes_container_fill(const struct kubernetes_plan *plan, struct json_object *spec,
                               struct json_object *container) {
    return json_add_string(container, "name", KUBERNETES_CONTAINER) &&
           json_add_string(container, "image", kubernetes_plan_image(plan)) && add_environment(plan, container) &&
           add_port(container) && add_readiness(container) && kubernetes_resources_add(plan, container) &&
           kubernetes_home_add(plan, spec, container) &&
           /* Its last words say why it did not start. */
           json_add_string(container, "terminationMessagePolicy", "FallbackToLogsOnError");
}
