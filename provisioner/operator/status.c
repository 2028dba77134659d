#include "provisioner/operator/status.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_pod.h"

#define CONDITION_READY "Ready"
#define URL_SIZE        (2 * KUBERNETES_NAME_SIZE + 64)

static bool text_is(struct json_object *object, const char *name, const char *text) {
    const char *now = json_get_string(object, name);
    return text == NULL ? now == NULL : now != NULL && strcmp(now, text) == 0;
}

/* A member that shall be this; NULL removes it. */
static bool set(struct json_object *patch, struct json_object *now, const char *name, const char *text) {
    return text_is(now, name, text) || json_add_string(patch, name, text);
}

static bool condition_says(struct json_object *condition, const struct status *status) {
    return text_is(condition, "status", status->is_ready ? "True" : "False") &&
           text_is(condition, "reason", status->reason) && text_is(condition, "message", status->message);
}

/* A merge patch replaces lists whole: conditions of other types are kept. */
static bool set_condition(struct json_object *patch, struct json_object *now, const struct status *status) {
    struct json_object *conditions = json_get_array(now, "conditions");
    struct json_object *old = kubernetes_json_find(conditions, "type", CONDITION_READY);
    if (old != NULL && condition_says(old, status)) {
        return true;
    }
    const char *value = status->is_ready ? "True" : "False";
    const char *since =
        old != NULL && text_is(old, "status", value) ? json_get_string(old, "lastTransitionTime") : NULL;
    struct json_object *list = NULL;
    struct json_object *condition = json_object_new_object();
    char text[CLOCK_RFC3339_SIZE];
    if (conditions == NULL) {
        list = json_object_new_array();
    } else if (json_object_deep_copy(conditions, &list, NULL) == 0) {
        kubernetes_json_remove(list, "type", CONDITION_READY);
    }
    if (list == NULL || condition == NULL) {
        json_object_put(list);
        json_object_put(condition);
        return false;
    }
    clock_format_rfc3339(clock_unix_ms() / 1000 * 1000, text);
    return kubernetes_json_append(list, condition) && json_add_string(condition, "type", CONDITION_READY) &&
           json_add_string(condition, "status", value) && json_add_string(condition, "reason", status->reason) &&
           json_add_string(condition, "message", status->message) &&
           json_add_string(condition, "lastTransitionTime", since == NULL ? text : since) &&
           json_add(patch, "conditions", list);
}

static bool fill(struct json_object *patch, const struct status *status, const struct kubernetes_terminal *terminal) {
    const char *name = terminal->item.name;
    char url[URL_SIZE];
    snprintf(url, sizeof url, "http://%.63s.%.63s.svc:%d", name, status->namespace_name, KUBERNETES_PORT);
    return set(patch, terminal->status, "phase", status->phase) &&
           set(patch, terminal->status, "podName", status->has_pod ? name : NULL) &&
           set(patch, terminal->status, "serviceName", status->has_service ? name : NULL) &&
           set(patch, terminal->status, "serviceUrl", status->has_service ? url : NULL) &&
           set(patch, terminal->status, "apiKeySecret", status->has_secret ? name : NULL) &&
           set(patch, terminal->status, "message", status->message[0] == '\0' ? NULL : status->message) &&
           set_condition(patch, terminal->status, status);
}

struct json_object *status_patch(const struct status *status, const struct kubernetes_terminal *terminal,
                                 bool *is_needed) {
    struct json_object *patch = json_object_new_object();
    struct json_object *changes = patch == NULL ? NULL : kubernetes_json_object(patch, "status");
    *is_needed = true;
    bool ok = changes != NULL && fill(changes, status, terminal);
    if (ok && json_object_object_length(changes) == 0) {
        *is_needed = false;
        ok = false;
    }
    if (ok) {
        struct json_object *metadata = kubernetes_json_object(patch, "metadata");
        ok = metadata != NULL && json_add_string(metadata, "resourceVersion", terminal->item.version);
    }
    if (!ok) {
        json_object_put(patch);
        return NULL;
    }
    return patch;
}
