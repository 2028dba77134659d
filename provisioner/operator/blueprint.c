#include "provisioner/operator/blueprint.h"

#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/digest.h"
#include "common/names.h"
#include "common/secret.h"
#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_pod.h"

#define KEY_RANDOM_BYTES      16
#define MILLISECONDS_A_MINUTE 60000
#define PACKAGES_NAME         "OPEN_TERMINAL_PACKAGES" /* as Open Terminal's image has them */
#define PIP_PACKAGES_NAME     "OPEN_TERMINAL_PIP_PACKAGES"

static bool out_of_memory(struct error *err) {
    return error_set(err, ERROR_INTERNAL, "out of memory");
}

/* --- env and packages --------------------------------------------------------------------------------------------- */

static bool add_copy(struct json_object *target, const char *name, struct json_object *value) {
    struct json_object *copy = NULL;
    return value == NULL || (json_object_deep_copy(value, &copy, NULL) == 0 && json_add(target, name, copy));
}

/* The entry of our container in the podTemplate, made if it is absent. */
static struct json_object *container_of(struct json_object *data) {
    struct json_object *template = kubernetes_json_object(data, "podTemplate");
    struct json_object *spec = template == NULL ? NULL : kubernetes_json_object(template, "spec");
    struct json_object *containers = spec == NULL ? NULL : kubernetes_json_array(spec, "containers");
    struct json_object *container = kubernetes_json_find(containers, "name", KUBERNETES_CONTAINER);
    if (container == NULL && containers != NULL) {
        container = json_object_new_object();
        if (!kubernetes_json_append(containers, container) ||
            !json_add_string(container, "name", KUBERNETES_CONTAINER)) {
            return NULL;
        }
    }
    return container;
}

/* A list of EnvVar may say more than a policy can (`valueFrom`): it goes into the template. */
static bool take_variables(struct blueprint *blueprint, struct json_object *list, struct error *err) {
    struct json_object *container = container_of(blueprint->policy.data);
    struct json_object *env = container == NULL ? NULL : kubernetes_json_array(container, "env");
    for (size_t i = 0; env != NULL && i < json_object_array_length(list); i++) {
        struct json_object *variable = json_object_array_get_idx(list, i);
        struct json_object *copy = NULL;
        const char *name = json_object_is_type(variable, json_type_object) ? json_get_string(variable, "name") : NULL;
        if (name == NULL) {
            return error_set(err, ERROR_INVALID, "`spec.env`: number %zu has no name", i + 1);
        }
        kubernetes_json_remove(env, "name", name);
        if (json_object_deep_copy(variable, &copy, NULL) != 0 || !kubernetes_json_append(env, copy)) {
            return out_of_memory(err);
        }
    }
    return env != NULL || out_of_memory(err);
}

static bool take_texts(struct blueprint *blueprint, struct json_object *object, struct error *err) {
    json_object_object_foreach(object, name, value) {
        if (value == NULL || json_object_is_type(value, json_type_object) ||
            json_object_is_type(value, json_type_array)) {
            return error_set(err, ERROR_INVALID, "`spec.env.%.100s` is no text", name);
        }
        if (!json_add_string(blueprint->env, name, json_object_get_string(value))) {
            return out_of_memory(err);
        }
    }
    return true;
}

static bool take_env(struct blueprint *blueprint, struct json_object *spec, struct error *err) {
    struct json_object *env = NULL;
    json_object_object_get_ex(spec, "env", &env);
    if (json_object_is_type(env, json_type_array)) {
        return take_variables(blueprint, env, err);
    }
    if (json_object_is_type(env, json_type_object)) {
        return take_texts(blueprint, env, err);
    }
    return env == NULL || error_set(err, ERROR_INVALID, "`spec.env` is neither an object of texts nor a list");
}

/* A text, or a list of them, as words with spaces between. */
static bool take_packages(struct blueprint *blueprint, struct json_object *spec, const char *member, const char *name,
                          struct error *err) {
    cleanup_buffer struct buffer words = {0};
    struct json_object *value = NULL;
    json_object_object_get_ex(spec, member, &value);
    if (value == NULL || json_object_object_get_ex(blueprint->env, name, NULL)) {
        return true; /* the variable itself wins */
    }
    if (json_object_is_type(value, json_type_string)) {
        return json_add_string(blueprint->env, name, json_object_get_string(value)) || out_of_memory(err);
    }
    if (!json_object_is_type(value, json_type_array)) {
        return error_set(err, ERROR_INVALID, "`spec.%s` is neither a text nor a list of texts", member);
    }
    buffer_append_string(&words, "");
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        struct json_object *word = json_object_array_get_idx(value, i);
        if (!json_object_is_type(word, json_type_string)) {
            return error_set(err, ERROR_INVALID, "`spec.%s`: number %zu is no text", member, i + 1);
        }
        buffer_append_format(&words, "%s%s", i == 0 ? "" : " ", json_object_get_string(word));
    }
    return (!words.failed && json_add_string(blueprint->env, name, words.data)) || out_of_memory(err);
}

/* --- the rest of the spec ----------------------------------------------------------------------------------------- */

static bool take_resources(struct blueprint *blueprint, struct json_object *spec, struct error *err) {
    struct json_object *resources = json_get_object(spec, "resources");
    if (resources == NULL) {
        return true;
    }
    struct json_object *container = container_of(blueprint->policy.data);
    struct json_object *ours = container == NULL ? NULL : kubernetes_json_object(container, "resources");
    return (ours != NULL && kubernetes_json_overlay(ours, resources)) || out_of_memory(err);
}

static bool take_persistence(struct blueprint *blueprint, struct json_object *spec, struct error *err) {
    struct json_object *persistence = json_get_object(spec, "persistence");
    const char *size = json_get_string(persistence, "size");
    blueprint->has_claim = json_get_bool(persistence, "enabled", true);
    blueprint->settings.kubernetes_storage_mode = STORAGE_PER_USER; /* what is shared comes in the podTemplate */
    if (json_get_string(persistence, "storageClass") != NULL) {
        blueprint->settings.kubernetes_storage_class = (char *)json_get_string(persistence, "storageClass");
    }
    return size == NULL || json_add_string(blueprint->policy.data, "storage", size) || out_of_memory(err);
}

static bool take_image(struct blueprint *blueprint, struct json_object *spec, struct error *err) {
    const char *image = json_get_string(spec, "image");
    blueprint->policy.image = image;
    return image == NULL || policy_image_is_allowed(image, blueprint->settings.allowed_images) ||
           error_set(err, ERROR_INVALID,
                     "`spec.image`: `%.200s` is not among the images that TERMINALS_ALLOWED_IMAGES allows", image);
}

/* A label that others cannot take for granted: it ties the service to the pod. */
static const char *instance_id_of(const struct kubernetes_terminal *terminal, const char *said) {
    return said != NULL && said[0] != '\0' ? said : terminal->item.uid;
}

static bool take_identity(struct blueprint *blueprint, const struct kubernetes_terminal *terminal, struct error *err) {
    struct error why = {0};
    blueprint->spec = kubernetes_terminal_identity(terminal);
    blueprint->spec.instance_id = instance_id_of(terminal, blueprint->spec.instance_id);
    blueprint->spec.policy = &blueprint->policy;
    if (!name_check_user_id(blueprint->spec.user_id, &why)) {
        return error_set(err, ERROR_INVALID, "`spec.userId`: %s", why.message);
    }
    if (!name_check_context_id(blueprint->spec.context_id, &why)) {
        return error_set(err, ERROR_INVALID, "`spec.contextId`: %s", why.message);
    }
    return strlen(terminal->item.name) < KUBERNETES_NAME_SIZE ||
           error_set(err, ERROR_INVALID, "its name is longer than the %d bytes of a service's name",
                     KUBERNETES_NAME_SIZE - 1);
}

/* In milliseconds. What the CRD of another version lets pass is not worth a failure: less than none is none. */
static int64_t idle_time(struct json_object *spec) {
    int64_t minutes = json_get_int(spec, "idleTimeoutMinutes", 0);
    int64_t most = minutes < POLICY_IDLE_MINUTES_MAX ? minutes : POLICY_IDLE_MINUTES_MAX;
    return most > 0 ? most * MILLISECONDS_A_MINUTE : 0;
}

static bool take_spec(struct blueprint *blueprint, struct json_object *spec, struct error *err) {
    struct json_object *data = blueprint->policy.data;
    bool is_restricted = json_get_bool(spec, "restricted", false);
    if (!add_copy(data, "podTemplate", json_get_object(spec, "podTemplate")) ||
        !add_copy(data, "pod_security_context", json_get_object(spec, "podSecurityContext")) ||
        !add_copy(data, "container_security_context", json_get_object(spec, "containerSecurityContext")) ||
        !json_add_bool(data, "restricted", is_restricted)) {
        return out_of_memory(err);
    }
    blueprint->idle_ms = idle_time(spec);
    return take_image(blueprint, spec, err) && take_persistence(blueprint, spec, err) &&
           take_resources(blueprint, spec, err) && take_env(blueprint, spec, err) &&
           take_packages(blueprint, spec, "packages", PACKAGES_NAME, err) &&
           take_packages(blueprint, spec, "pipPackages", PIP_PACKAGES_NAME, err);
}

bool blueprint_read(struct blueprint *blueprint, const struct controller *controller,
                    const struct kubernetes_terminal *terminal, struct error *err) {
    *blueprint = (struct blueprint){
        .settings = *controller->settings, .api_version = controller->api_version, .owner_uid = terminal->item.uid};
    blueprint->policy.data = json_object_new_object();
    blueprint->env = blueprint->policy.env = json_object_new_object();
    blueprint->plan = (struct kubernetes_plan){.spec = &blueprint->spec,
                                               .settings = &blueprint->settings,
                                               .parsed = &controller->parsed,
                                               .name = terminal->item.name};
    if (blueprint->policy.data == NULL || blueprint->env == NULL) {
        return out_of_memory(err);
    }
    bool ok = take_identity(blueprint, terminal, err) && take_spec(blueprint, terminal->spec, err);
    blueprint->plan.is_without_claim = !blueprint->has_claim;
    return ok;
}

void blueprint_free(struct blueprint *blueprint) {
    json_object_put(blueprint->policy.data);
    json_object_put(blueprint->env);
}

/* --- the objects -------------------------------------------------------------------------------------------------- */

static bool add_label(const struct blueprint *blueprint, struct json_object *metadata) {
    struct json_object *labels = kubernetes_json_object(metadata, "labels");
    return labels != NULL && json_add_string(labels, KUBERNETES_LABEL_OPERATOR, blueprint->owner_uid);
}

static bool add_owner(const struct blueprint *blueprint, struct json_object *metadata) {
    struct json_object *owners = kubernetes_json_array(metadata, "ownerReferences");
    struct json_object *owner = owners == NULL ? NULL : json_object_new_object();
    return owner != NULL && kubernetes_json_append(owners, owner) &&
           json_add_string(owner, "apiVersion", blueprint->api_version) &&
           json_add_string(owner, "kind", KUBERNETES_TERMINAL_KIND) &&
           json_add_string(owner, "name", blueprint->plan.name) &&
           json_add_string(owner, "uid", blueprint->owner_uid) && json_add_bool(owner, "controller", true);
}

/* Takes over `object`. */
static struct json_object *owned(const struct blueprint *blueprint, struct json_object *object, struct error *err) {
    struct json_object *metadata = json_get_object(object, "metadata");
    if (object != NULL && (metadata == NULL || !add_label(blueprint, metadata) || !add_owner(blueprint, metadata))) {
        json_object_put(object);
        out_of_memory(err);
        return NULL;
    }
    return object;
}

struct json_object *blueprint_claim(const struct blueprint *blueprint, struct error *err) {
    return kubernetes_claim_manifest(&blueprint->plan, err);
}

struct json_object *blueprint_secret(const struct blueprint *blueprint, struct error *err) {
    char key[2 * KEY_RANDOM_BYTES + 1];
    struct instance_spec spec = blueprint->spec;
    struct kubernetes_plan plan = blueprint->plan;
    if (!digest_random_hex(KEY_RANDOM_BYTES, key)) {
        error_set(err, ERROR_INTERNAL, "no random bytes");
        return NULL;
    }
    spec.key = key;
    plan.spec = &spec;
    struct json_object *secret = owned(blueprint, kubernetes_secret_manifest(&plan, err), err);
    explicit_bzero(key, sizeof key);
    return secret;
}

struct json_object *blueprint_service(const struct blueprint *blueprint, struct error *err) {
    struct json_object *service = owned(blueprint, kubernetes_service_manifest(&blueprint->plan, err), err);
    struct json_object *selector = service == NULL ? NULL : json_object_new_object();
    /* It outlives pods, and a Terminal that is woken is another instance: the Terminal itself ties them together. */
    if (service != NULL && (selector == NULL || !json_add(json_get_object(service, "spec"), "selector", selector) ||
                            !json_add_string(selector, KUBERNETES_LABEL_OPERATOR, blueprint->owner_uid))) {
        json_object_put(service);
        out_of_memory(err);
        return NULL;
    }
    return service;
}

struct json_object *blueprint_pod(const struct blueprint *blueprint, const char *secret_uid, struct error *err) {
    struct json_object *pod = owned(blueprint, kubernetes_pod_manifest(&blueprint->plan, err), err);
    struct json_object *metadata = json_get_object(pod, "metadata");
    struct json_object *annotations = pod == NULL ? NULL : kubernetes_json_object(metadata, "annotations");
    if (pod != NULL &&
        (annotations == NULL || !json_add_string(annotations, KUBERNETES_ANNOTATION_SECRET_UID, secret_uid))) {
        json_object_put(pod);
        out_of_memory(err);
        return NULL;
    }
    return pod;
}
