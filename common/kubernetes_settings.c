#include "common/kubernetes_settings.h"

#include <string.h>

#include "common/cleanup.h"

#define LABEL_MAX_BYTES  63
#define PREFIX_MAX_BYTES 253
#define ALPHANUMERIC     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define SETTING          "TERMINALS_KUBERNETES_"

static bool is_alphanumeric(char c) {
    return c != '\0' && strchr(ALPHANUMERIC, c) != NULL;
}

bool kubernetes_is_label_value(const char *text) {
    size_t length = strlen(text);
    return length == 0 || (length <= LABEL_MAX_BYTES && is_alphanumeric(text[0]) && is_alphanumeric(text[length - 1]) &&
                           strspn(text, ALPHANUMERIC "-_.") == length);
}

/* A name, behind a DNS name and a slash or not (k8s.io/apimachinery, IsQualifiedName). */
static bool is_label_key(const char *key) {
    const char *slash = strchr(key, '/');
    const char *name = slash == NULL ? key : slash + 1;
    size_t prefix = slash == NULL ? 0 : (size_t)(slash - key);
    if (slash != NULL && (prefix == 0 || prefix > PREFIX_MAX_BYTES || !is_alphanumeric(key[0]) ||
                          strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-.") != prefix)) {
        return false;
    }
    return name[0] != '\0' && kubernetes_is_label_value(name);
}

/* What we put there ourselves. */
static bool is_our_label(const char *key) {
    return strcmp(key, "app.kubernetes.io/managed-by") == 0 || strncmp(key, "openwebui.com/", 14) == 0 ||
           strncmp(key, "terminals.", 10) == 0;
}

static bool check_pair(const char *setting, const char *key, struct json_object *value, bool may_be_ours,
                       struct error *err) {
    const char *text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
    if (!is_label_key(key) || text == NULL || !kubernetes_is_label_value(text)) {
        return error_set(err, ERROR_INVALID, SETTING "%s: `%.80s` and its value are no Kubernetes label", setting, key);
    }
    return may_be_ours || !is_our_label(key) ||
           error_set(err, ERROR_INVALID, SETTING "%s: the label `%.80s` is Terminals' own", setting, key);
}

/* `k=v,k2=v2` */
static bool add_pairs(struct json_object *object, const char *setting, const char *text, struct error *err) {
    cleanup_free char *copy = strdup(text);
    char *rest = NULL;
    for (char *pair = copy == NULL ? NULL : strtok_r(copy, ",", &rest); pair != NULL;
         pair = strtok_r(NULL, ",", &rest)) {
        pair += strspn(pair, " ");
        char *equals = strchr(pair, '=');
        if (equals == NULL) {
            return error_set(err, ERROR_INVALID, SETTING "%s: expected `key=value,key2=value2`", setting);
        }
        *equals = '\0';
        if (!json_add_string(object, pair, equals + 1)) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
    }
    return copy != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool read_json(const char *setting, const char *text, enum json_type type, struct json_object **out,
                      struct error *err) {
    struct error problem = {0};
    *out = json_parse(text, strlen(text), &problem);
    if (*out == NULL || !json_object_is_type(*out, type)) {
        json_object_put(*out);
        *out = NULL;
        return error_set(err, ERROR_INVALID, SETTING "%s is no JSON %s", setting,
                         type == json_type_array ? "array" : "object");
    }
    return true;
}

static bool read_pairs(const char *setting, const char *text, bool may_be_ours, struct json_object **out,
                       struct error *err) {
    if (text == NULL) {
        return true;
    }
    bool is_json = text[strspn(text, " ")] == '{';
    if (is_json && !read_json(setting, text, json_type_object, out, err)) {
        return false;
    }
    if (!is_json) {
        *out = json_object_new_object();
        if (*out == NULL) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
        if (!add_pairs(*out, setting, text, err)) {
            return false;
        }
    }
    json_object_object_foreach(*out, key, value) {
        if (!check_pair(setting, key, value, may_be_ours, err)) {
            return false;
        }
    }
    return true;
}

static bool read_tolerations(const char *text, struct json_object **out, struct error *err) {
    if (text == NULL) {
        return true;
    }
    if (!read_json("TOLERATIONS", text, json_type_array, out, err)) {
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(*out); i++) {
        if (!json_object_is_type(json_object_array_get_idx(*out, i), json_type_object)) {
            return error_set(err, ERROR_INVALID, SETTING "TOLERATIONS: number %zu is no object", i + 1);
        }
    }
    return true;
}

void kubernetes_settings_free(struct kubernetes_settings *settings) {
    json_object_put(settings->labels);
    json_object_put(settings->node_selector);
    json_object_put(settings->tolerations);
    json_object_put(settings->pod_context);
    json_object_put(settings->container_context);
    *settings = (struct kubernetes_settings){0};
}

bool kubernetes_settings_read(const struct settings *settings, struct kubernetes_settings *out, struct error *err) {
    const char *pod = settings->kubernetes_pod_security_context;
    const char *container = settings->kubernetes_container_security_context;
    *out = (struct kubernetes_settings){0};
    if (read_pairs("LABELS", settings->kubernetes_labels, false, &out->labels, err) &&
        read_pairs("NODE_SELECTOR", settings->kubernetes_node_selector, true, &out->node_selector, err) &&
        read_tolerations(settings->kubernetes_tolerations, &out->tolerations, err) &&
        (pod == NULL || read_json("POD_SECURITY_CONTEXT", pod, json_type_object, &out->pod_context, err)) &&
        (container == NULL ||
         read_json("CONTAINER_SECURITY_CONTEXT", container, json_type_object, &out->container_context, err))) {
        return true;
    }
    kubernetes_settings_free(out);
    return false;
}

/* RFC 1123 §2.1, as these become part of paths: one label, or several with dots between. */
static bool is_label(const char *name, size_t length) {
    return length > 0 && length <= LABEL_MAX_BYTES && name[0] != '-' && name[length - 1] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") >= length;
}

static bool is_subdomain(const char *name) {
    size_t length = strcspn(name, ".");
    if (strlen(name) > PREFIX_MAX_BYTES || !is_label(name, length)) {
        return false;
    }
    return name[length] == '\0' || is_subdomain(name + length + 1);
}

static bool check_resource(const struct settings *settings, struct error *err) {
    const char *group = settings->kubernetes_crd_group;
    const char *version = settings->kubernetes_crd_version;
    if (!is_subdomain(group) || strchr(group, '.') == NULL) {
        return error_set(err, ERROR_INVALID, SETTING "CRD_GROUP: `%.80s` is no group of an API (openwebui.com)", group);
    }
    return (version[0] == 'v' && is_label(version, strlen(version))) ||
           error_set(err, ERROR_INVALID, SETTING "CRD_VERSION: `%.80s` is no version of an API (v1alpha1)", version);
}

bool kubernetes_settings_check(const struct settings *settings, struct error *err) {
    struct kubernetes_settings parsed;
    const char *name = settings->kubernetes_namespace;
    if (!is_label(name, strlen(name))) {
        return error_set(err, ERROR_INVALID, SETTING "NAMESPACE: `%s` is no name of a namespace", name);
    }
    if (!check_resource(settings, err) || !kubernetes_settings_read(settings, &parsed, err)) {
        return false;
    }
    kubernetes_settings_free(&parsed);
    return true;
}
