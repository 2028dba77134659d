/* kubernetes_settings.h - what TERMINALS_KUBERNETES_… may say, checked when the settings are read. Thread-safe. */
#ifndef TERMINALS_COMMON_KUBERNETES_SETTINGS_H
#define TERMINALS_COMMON_KUBERNETES_SETTINGS_H

#include "common/error.h"
#include "common/json.h"
#include "common/settings.h"

/* ERROR_INVALID names the setting that is wrong. */
bool kubernetes_settings_check(const struct settings *settings, struct error *err);

/* The settings that hold JSON, parsed. Each is NULL where nothing is set. */
struct kubernetes_settings {
    struct json_object *labels;            /* object of texts */
    struct json_object *node_selector;     /* the same */
    struct json_object *tolerations;       /* array of objects */
    struct json_object *pod_context;       /* PodSecurityContext */
    struct json_object *container_context; /* SecurityContext */
};

/* False with *err, and nothing to free. */
bool kubernetes_settings_read(const struct settings *settings, struct kubernetes_settings *out, struct error *err);
void kubernetes_settings_free(struct kubernetes_settings *settings);

/* Whether Kubernetes takes it as a label's value: 63 bytes at most, letters, digits and inner `-_.`; "" is one. */
bool kubernetes_is_label_value(const char *text);

#endif
