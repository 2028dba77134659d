#include "provisioner/backends/kubernetes_names.h"

#include <stdio.h>
#include <string.h>

#include "common/digest.h"
#include "common/kubernetes_settings.h"
#include "common/names.h"
#include "provisioner/backends/kubernetes_watch.h"

#define LABEL_USER_ID      "openwebui.com/user-id"
#define LABEL_POLICY       "openwebui.com/policy"
#define LABEL_CONTEXT_ID   "openwebui.com/context-id"
#define LABEL_CONTEXT_TYPE "openwebui.com/context-type"
#define LABEL_CONTEXT_HASH "openwebui.com/context-hash"
#define HASH_DIGITS        12
#define HASH_SIZE          (HASH_DIGITS + 1)
#define POLICY_PART_MAX    28 /* what is left of 63 beside `terminal-`, two hashes and their dashes */

static bool short_hash(const char *text, char out[HASH_SIZE]) {
    char digest[DIGEST_HEX_SIZE];
    if (!digest_sha256_hex_lower(text, strlen(text), digest)) {
        return false;
    }
    snprintf(out, HASH_SIZE, "%.*s", HASH_DIGITS, digest);
    return true;
}

bool kubernetes_object_name(const char *user_id, const char *policy_id, const char *context_id,
                            char out[KUBERNETES_NAME_SIZE]) {
    char user[HASH_SIZE];
    char policy_hash[HASH_SIZE];
    char context[HASH_SIZE];
    char policy[NAME_POLICY_MAX_BYTES + 2] = "";
    if (!short_hash(user_id, user) || !short_hash(policy_id, policy_hash) || !short_hash(context_id, context)) {
        return false;
    }
    bool default_context = strcmp(context_id, NAME_DEFAULT) == 0;
    if (strlen(policy_id) > POLICY_PART_MAX) {
        snprintf(policy, sizeof policy, "-%.*s-%s", POLICY_PART_MAX - HASH_SIZE, policy_id, policy_hash);
    } else if (strcmp(policy_id, NAME_DEFAULT) != 0) {
        snprintf(policy, sizeof policy, "-%s", policy_id);
    }
    int length = snprintf(out, KUBERNETES_NAME_SIZE, "terminal-%s%s%s%s", user, policy, default_context ? "" : "-",
                          default_context ? "" : context);
    return length > 0 && length < KUBERNETES_NAME_SIZE;
}

/* --- whose is it -------------------------------------------------------------------------------------------------- */

static const char *full_value(struct json_object *metadata, const char *name) {
    const char *annotation = json_get_string(json_get_object(metadata, "annotations"), name);
    return annotation != NULL ? annotation : json_get_string(json_get_object(metadata, "labels"), name);
}

void kubernetes_identity_read(struct json_object *metadata, struct kubernetes_identity *out) {
    struct json_object *labels = json_get_object(metadata, "labels");
    const char *managed_by = json_get_string(labels, KUBERNETES_LABEL_MANAGED_BY);
    *out = (struct kubernetes_identity){
        .is_managed = managed_by != NULL && strcmp(managed_by, KUBERNETES_MANAGED_BY) == 0,
        .user_id = full_value(metadata, LABEL_USER_ID),
        .policy_id = name_or_default(full_value(metadata, LABEL_POLICY)),
        .context_id = name_or_default(full_value(metadata, LABEL_CONTEXT_ID)),
        .instance_id = json_get_string(labels, KUBERNETES_LABEL_INSTANCE_ID),
    };
}

bool kubernetes_identity_matches(const struct kubernetes_identity *identity, const struct instance_spec *spec) {
    return identity->is_managed && identity->user_id != NULL && strcmp(identity->user_id, spec->user_id) == 0 &&
           strcmp(identity->policy_id, spec->policy_id) == 0 && strcmp(identity->context_id, spec->context_id) == 0;
}

bool kubernetes_owner_read(struct json_object *metadata, char *out) {
    struct json_object *owners = json_get_array(metadata, "ownerReferences");
    out[0] = '\0';
    for (size_t i = 0; owners != NULL && i < json_object_array_length(owners); i++) {
        struct json_object *owner = json_object_array_get_idx(owners, i);
        const char *uid = json_object_is_type(owner, json_type_object) ? json_get_string(owner, "uid") : NULL;
        if (uid != NULL && json_get_bool(owner, "controller", false)) {
            snprintf(out, KUBERNETES_UID_SIZE, "%s", uid);
            return true;
        }
    }
    return false;
}

/* --- the metadata of a new object --------------------------------------------------------------------------------- */

static bool add_value(struct json_object *labels, struct json_object *annotations, const char *name,
                      const char *value) {
    char hash[HASH_SIZE];
    if (kubernetes_is_label_value(value)) {
        json_object_object_del(annotations, name); /* a template's must not speak for ours */
        return json_add_string(labels, name, value);
    }
    return short_hash(value, hash) && json_add_string(labels, name, hash) && json_add_string(annotations, name, value);
}

static bool add_context(struct json_object *labels, struct json_object *annotations, const char *context_id) {
    char hash[HASH_SIZE];
    char type[32];
    if (strcmp(context_id, NAME_DEFAULT) == 0) {
        static const char *const names[] = {LABEL_CONTEXT_ID, LABEL_CONTEXT_TYPE, LABEL_CONTEXT_HASH};
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            json_object_object_del(labels, names[i]);
            json_object_object_del(annotations, names[i]);
        }
        return true;
    }
    snprintf(type, sizeof type, "%.*s", (int)strcspn(context_id, ":"), context_id);
    return short_hash(context_id, hash) && add_value(labels, annotations, LABEL_CONTEXT_ID, context_id) &&
           json_add_string(labels, LABEL_CONTEXT_TYPE, type) && json_add_string(labels, LABEL_CONTEXT_HASH, hash);
}

static bool add_all(struct json_object *target, struct json_object *source) {
    if (source == NULL) {
        return true;
    }
    json_object_object_foreach(source, name, value) {
        if (!json_add(target, name, json_object_get(value))) {
            return false;
        }
    }
    return true;
}

static bool fill(struct json_object *labels, struct json_object *annotations, const struct instance_spec *spec,
                 const char *instance_id) {
    return json_add_string(labels, KUBERNETES_LABEL_MANAGED_BY, KUBERNETES_MANAGED_BY) &&
           add_value(labels, annotations, LABEL_USER_ID, spec->user_id) &&
           add_value(labels, annotations, LABEL_POLICY, spec->policy_id) &&
           add_context(labels, annotations, spec->context_id) &&
           (instance_id == NULL || json_add_string(labels, KUBERNETES_LABEL_INSTANCE_ID, instance_id));
}

struct json_object *kubernetes_metadata_make(const struct instance_spec *spec, const char *name,
                                             const char *instance_id, struct json_object *metadata,
                                             struct json_object *more_labels) {
    cleanup_json struct json_object *labels = json_object_new_object();
    cleanup_json struct json_object *annotations = json_object_new_object();
    struct json_object *made = json_object_new_object();
    if (labels == NULL || annotations == NULL || made == NULL ||
        !(add_all(labels, json_get_object(metadata, "labels")) && add_all(labels, more_labels) &&
          add_all(annotations, json_get_object(metadata, "annotations")) &&
          fill(labels, annotations, spec, instance_id) && json_add_string(made, "name", name) &&
          json_add(made, "labels", json_object_get(labels)) &&
          json_add(made, "annotations", json_object_get(annotations)))) {
        json_object_put(made);
        return NULL;
    }
    return made;
}
