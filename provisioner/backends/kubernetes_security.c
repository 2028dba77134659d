#include "provisioner/backends/kubernetes_security.h"

#include <stdio.h>
#include <string.h>

#include "provisioner/backends/kubernetes_json.h"

/* Of the stock image and of ours: the user's group, to whom the volume is given. */
#define DEFAULT_POD_CONTEXT                                                                                            \
    "{\"fsGroup\":1000,\"fsGroupChangePolicy\":\"OnRootMismatch\",\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}"
/* https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted */
#define RESTRICTED_POD "{\"runAsNonRoot\":true,\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}"
#define RESTRICTED_CONTAINER                                                                                           \
    "{\"allowPrivilegeEscalation\":false,\"privileged\":false,\"runAsNonRoot\":true,"                                  \
    "\"capabilities\":{\"drop\":[\"ALL\"]},\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}"
#define DEFAULT_USER 1000 /* the kubelet cannot tell whether a user that an image calls by name is root */

static bool is_restricted(const struct kubernetes_plan *plan) {
    const struct policy *policy = plan->spec->policy;
    bool fallback = plan->settings->kubernetes_restricted;
    return fallback || (policy != NULL && json_get_bool(policy->data, "restricted", false));
}

/* --- what the restricted standard forbids outright ---------------------------------------------------------------- */

static bool refuse(struct error *err, const char *what) {
    return error_set(err, ERROR_INVALID, "podTemplate: %s is not allowed where pods are restricted", what);
}

static bool check_volume(struct json_object *volume, struct error *err) {
    static const char *const allowed[] = {"name",      "configMap", "csi",
                                          "emptyDir",  "ephemeral", "persistentVolumeClaim",
                                          "projected", "secret",    "downwardAPI"};
    json_object_object_foreach(volume, name, value) {
        bool is_allowed = value == NULL;
        for (size_t i = 0; !is_allowed && i < sizeof allowed / sizeof allowed[0]; i++) {
            is_allowed = strcmp(allowed[i], name) == 0;
        }
        if (!is_allowed) {
            char what[64];
            snprintf(what, sizeof what, "a volume with `%.32s`", name);
            return refuse(err, what);
        }
    }
    return true;
}

static bool check_volumes(struct json_object *spec, struct error *err) {
    struct json_object *volumes = json_get_array(spec, "volumes");
    for (size_t i = 0; volumes != NULL && i < json_object_array_length(volumes); i++) {
        struct json_object *volume = json_object_array_get_idx(volumes, i);
        if (json_object_is_type(volume, json_type_object) && !check_volume(volume, err)) {
            return false;
        }
    }
    return true;
}

static bool check_ports(struct json_object *container, struct error *err) {
    struct json_object *ports = json_get_array(container, "ports");
    for (size_t i = 0; ports != NULL && i < json_object_array_length(ports); i++) {
        struct json_object *port = json_object_array_get_idx(ports, i);
        if (json_object_is_type(port, json_type_object) && json_get_int(port, "hostPort", 0) != 0) {
            return refuse(err, "a hostPort");
        }
    }
    return true;
}

static bool check_host(struct json_object *spec, struct error *err) {
    static const char *const members[] = {"hostNetwork", "hostPID", "hostIPC"};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (json_get_bool(spec, members[i], false)) {
            return refuse(err, members[i]);
        }
    }
    return check_volumes(spec, err);
}

/* --- restricted --------------------------------------------------------------------------------------------------- */

/* `{…}` in the source is laid over the member `securityContext` of `object`. */
static bool overlay(struct json_object *object, const char *text, struct error *err) {
    cleanup_json struct json_object *ours = json_parse_object(text, strlen(text), err);
    struct json_object *context = kubernetes_json_object(object, "securityContext");
    return (ours != NULL && context != NULL && kubernetes_json_overlay(context, ours)) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool is_root(struct json_object *object) {
    return json_get_int(json_get_object(object, "securityContext"), "runAsUser", -1) == 0;
}

/* Of capabilities nothing but NET_BIND_SERVICE may be added, and nobody may be root. */
static bool restrict_container(struct json_object *container, struct error *err) {
    if (is_root(container)) {
        return error_set(err, ERROR_INVALID, "runAsUser 0 is not allowed where pods are restricted");
    }
    return check_ports(container, err) && overlay(container, RESTRICTED_CONTAINER, err);
}

static bool restrict_all(struct json_object *spec, const char *list, struct error *err) {
    struct json_object *containers = json_get_array(spec, list);
    for (size_t i = 0; containers != NULL && i < json_object_array_length(containers); i++) {
        struct json_object *container = json_object_array_get_idx(containers, i);
        if (!json_object_is_type(container, json_type_object)) {
            return error_set(err, ERROR_INVALID, "podTemplate: `%s` holds something that is no object", list);
        }
        if (!restrict_container(container, err)) {
            return false;
        }
    }
    return true;
}

static bool restrict_pod(const struct kubernetes_plan *plan, struct json_object *spec, struct error *err) {
    if (is_root(spec)) {
        return error_set(err, ERROR_INVALID, "runAsUser 0 is not allowed where pods are restricted");
    }
    if (!check_host(spec, err) || !overlay(spec, RESTRICTED_POD, err)) {
        return false;
    }
    struct json_object *context = json_get_object(spec, "securityContext");
    /* Whoever has set a context of the cluster's own kind (OpenShift) has the user chosen there. */
    if (plan->parsed->pod_context == NULL && !json_object_object_get_ex(context, "runAsUser", NULL) &&
        !json_add_int(context, "runAsUser", DEFAULT_USER)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return restrict_all(spec, "containers", err) && restrict_all(spec, "initContainers", err);
}

/* --- both --------------------------------------------------------------------------------------------------------- */

/* Policy over what the template left in `object` over `fallback`. */
static bool put_together(struct json_object *object, struct json_object *policys, struct json_object *fallback) {
    struct json_object *context = kubernetes_json_object(object, "securityContext");
    return context != NULL && kubernetes_json_overlay(context, policys) && kubernetes_json_fill(context, fallback);
}

bool kubernetes_security_apply(const struct kubernetes_plan *plan, struct json_object *spec,
                               struct json_object *container, struct error *err) {
    const struct policy *policy = plan->spec->policy;
    struct json_object *data = policy == NULL ? NULL : policy->data;
    cleanup_json struct json_object *ours = json_parse_object(DEFAULT_POD_CONTEXT, strlen(DEFAULT_POD_CONTEXT), err);
    struct json_object *fallback = plan->parsed->pod_context == NULL ? ours : plan->parsed->pod_context;
    if (ours == NULL || !put_together(spec, json_get_object(data, "pod_security_context"), fallback) ||
        !put_together(container, json_get_object(data, "container_security_context"),
                      plan->parsed->container_context)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return !is_restricted(plan) || restrict_pod(plan, spec, err);
}
