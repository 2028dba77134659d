#include "provisioner/backends/docker_labels.h"

#include <stdio.h>
#include <string.h>

#include "common/names.h"

#define LABEL_CONTEXT_TYPE  "openwebui.com/context-type"
#define LABEL_CONTEXT_HASH  "openwebui.com/context-hash"
#define CONTEXT_HASH_DIGITS 12

void docker_labels_read(struct json_object *labels, struct docker_labels *out) {
    const char *managed_by = json_get_string(labels, DOCKER_LABEL_MANAGED_BY);
    *out = (struct docker_labels){
        .is_managed = managed_by != NULL && strcmp(managed_by, DOCKER_MANAGED_BY) == 0,
        .user_id = json_get_string(labels, DOCKER_LABEL_USER_ID),
        .policy_id = name_or_default(json_get_string(labels, DOCKER_LABEL_POLICY)),
        .context_id = name_or_default(json_get_string(labels, DOCKER_LABEL_CONTEXT_ID)),
        .instance_id = json_get_string(labels, DOCKER_LABEL_INSTANCE_ID),
        .deployment = json_get_string(labels, DOCKER_LABEL_DEPLOYMENT),
        .is_warm = json_get_string(labels, DOCKER_LABEL_WARM) != NULL,
    };
}

static bool add_context(struct json_object *labels, const char *context_id) {
    if (strcmp(context_id, NAME_DEFAULT) == 0) {
        return true;
    }
    char digest[DIGEST_HEX_SIZE];
    char type[32];
    if (!digest_sha256_hex_lower(context_id, strlen(context_id), digest)) {
        return false;
    }
    digest[CONTEXT_HASH_DIGITS] = '\0';
    snprintf(type, sizeof type, "%.*s", (int)strcspn(context_id, ":"), context_id);
    return json_add_string(labels, DOCKER_LABEL_CONTEXT_ID, context_id) &&
           json_add_string(labels, LABEL_CONTEXT_TYPE, type) && json_add_string(labels, LABEL_CONTEXT_HASH, digest);
}

struct json_object *docker_labels_make(const struct instance_spec *spec, const char *deployment,
                                       const char *config_hash) {
    struct json_object *labels = json_object_new_object();
    if (labels == NULL || !(json_add_string(labels, DOCKER_LABEL_MANAGED_BY, DOCKER_MANAGED_BY) &&
                            (spec->home == NULL ? json_add_string(labels, DOCKER_LABEL_WARM, "true")
                                                : json_add_string(labels, DOCKER_LABEL_USER_ID, spec->user_id) &&
                                                      add_context(labels, spec->context_id)) &&
                            json_add_string(labels, DOCKER_LABEL_POLICY, spec->policy_id) &&
                            json_add_string(labels, DOCKER_LABEL_INSTANCE_ID, spec->instance_id) &&
                            json_add_string(labels, DOCKER_LABEL_DEPLOYMENT, deployment) &&
                            json_add_string(labels, DOCKER_LABEL_CONFIG_HASH, config_hash))) {
        json_object_put(labels);
        return NULL;
    }
    return labels;
}

bool docker_labels_match(const struct docker_labels *labels, const struct instance_spec *spec) {
    return labels->is_managed && labels->user_id != NULL && strcmp(labels->user_id, spec->user_id) == 0 &&
           strcmp(labels->policy_id, spec->policy_id) == 0 && strcmp(labels->context_id, spec->context_id) == 0;
}
