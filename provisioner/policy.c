#include "provisioner/policy.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/quantity.h"
#include "provisioner/security_context.h"

#define ECHO_SIZE 64

/* An instance's key is ours to choose, by either name. */
static const char *const key_variables[] = {"OPEN_TERMINAL_API_KEY", "OPEN_TERMINAL_API_KEY_FILE"};

/* What was given, fit to be quoted in an error: short, printable ASCII. */
static const char *echo(const char *text, char out[ECHO_SIZE]) {
    size_t used = 0;
    for (; used < ECHO_SIZE - 1 && text[used] != '\0'; used++) {
        out[used] = (char)(text[used] >= 0x20 && text[used] < 0x7f ? text[used] : '?');
    }
    out[used] = '\0';
    return out;
}

/* A text without a NUL (json-c keeps a \u0000, and a C string would end there); NULL if it is none. */
static const char *text_of(struct json_object *value) {
    const char *text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
    return text == NULL || strlen(text) != (size_t)json_object_get_string_len(value) ? NULL : text;
}

static bool replace_text(struct policy *policy, const char *name, const char *text, struct error *err) {
    return json_add_string(policy->data, name, text) || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* --- the members -------------------------------------------------------------------------------------------------- */

bool policy_image_is_allowed(const char *image, const char *allowed_images) {
    for (const char *at = allowed_images; at != NULL && *at != '\0';) {
        size_t length = strcspn(at, ",");
        size_t skipped = strspn(at, " \t");
        size_t used = length;
        while (used > skipped && strchr(" \t", at[used - 1]) != NULL) {
            used--;
        }
        cleanup_free char *pattern = used <= skipped ? NULL : strndup(at + skipped, used - skipped);
        if (pattern != NULL && fnmatch(pattern, image, 0) == 0) {
            return true;
        }
        at += length + (at[length] == ',');
    }
    return allowed_images == NULL;
}

static bool check_image(struct policy *policy, const char *name, struct json_object *value,
                        const struct settings *settings, struct error *err) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@";
    const char *image = text_of(value);
    size_t length = image == NULL ? 0 : strlen(image);
    if (length == 0 || length > POLICY_IMAGE_MAX_BYTES || strspn(image, allowed) != length ||
        strchr("-./:@", image[0]) != NULL) {
        return error_set(err, ERROR_INVALID,
                         "`%s` must be the name of an image, such as ghcr.io/open-webui/open-terminal:latest", name);
    }
    if (!policy_image_is_allowed(image, settings->allowed_images)) {
        return error_set(err, ERROR_INVALID,
                         "`%s`: `%.200s` is not among the images that TERMINALS_ALLOWED_IMAGES allows", name, image);
    }
    policy->image = image;
    return true;
}

static bool is_variable_name(const char *name) {
    size_t length = strlen(name);
    /* Kubernetes' rule, IsEnvVarName: what a shell cannot name, other programs can. */
    return length > 0 && length <= POLICY_NAME_MAX_BYTES && strchr("0123456789", name[0]) == NULL &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == length;
}

static bool check_env(struct policy *policy, const char *name, struct json_object *value,
                      const struct settings *settings, struct error *err) {
    char shown[ECHO_SIZE];
    (void)settings;
    if (!json_object_is_type(value, json_type_object)) {
        return error_set(err, ERROR_INVALID, "`%s` must be an object of texts", name);
    }
    for (size_t i = 0; i < sizeof key_variables / sizeof key_variables[0]; i++) {
        json_object_object_del(value, key_variables[i]);
    }
    if (json_object_object_length(value) > POLICY_ENV_MAX) {
        return error_set(err, ERROR_INVALID, "`%s` has more than %d variables", name, POLICY_ENV_MAX);
    }
    json_object_object_foreach(value, variable, content) {
        if (!is_variable_name(variable)) {
            return error_set(
                err, ERROR_INVALID,
                "`%s`: `%s` is no name of a variable (letters, digits, _ . -, no digit first, 256 at most)", name,
                echo(variable, shown));
        }
        if (text_of(content) == NULL) {
            return error_set(err, ERROR_INVALID, "`%s.%s` must be a text without a NUL", name, echo(variable, shown));
        }
    }
    policy->env = value;
    return true;
}

/* One of the three amounts; above `cap` (NULL: none) it becomes the cap, in the text as well. */
static bool check_amount(struct policy *policy, const char *name, struct json_object *value, const char *cap,
                         bool (*parse)(const char *text, int64_t *amount), int64_t *amount, struct error *err) {
    char shown[ECHO_SIZE];
    int64_t most = 0;
    const char *text = text_of(value);
    if (text == NULL) {
        return error_set(err, ERROR_INVALID, "`%s` must be a text, a Kubernetes quantity such as 500m, 2, 512Mi or 4Gi",
                         name);
    }
    if (!parse(text, amount)) {
        return error_set(err, ERROR_INVALID, "`%s`: `%s` is not a Kubernetes quantity (500m, 2, 512Mi, 4Gi)", name,
                         echo(text, shown));
    }
    if (*amount <= 0) {
        return error_set(err, ERROR_INVALID, "`%s` must be more than 0", name);
    }
    if (cap != NULL && parse(cap, &most) && *amount > most) {
        *amount = most;
        return replace_text(policy, name, cap, err);
    }
    return true;
}

static bool check_cpu(struct policy *policy, const char *name, struct json_object *value,
                      const struct settings *settings, struct error *err) {
    return check_amount(policy, name, value, settings->max_cpu, quantity_thousandths, &policy->cpu_millicores, err);
}

static bool check_memory(struct policy *policy, const char *name, struct json_object *value,
                         const struct settings *settings, struct error *err) {
    return check_amount(policy, name, value, settings->max_memory, quantity_units, &policy->memory_bytes, err);
}

static bool check_storage(struct policy *policy, const char *name, struct json_object *value,
                          const struct settings *settings, struct error *err) {
    return check_amount(policy, name, value, settings->max_storage, quantity_units, &policy->storage_bytes, err);
}

static bool check_storage_mode(struct policy *policy, const char *name, struct json_object *value,
                               const struct settings *settings, struct error *err) {
    (void)policy;
    (void)settings;
    const char *mode = text_of(value);
    return (mode != NULL &&
            (strcmp(mode, "per-user") == 0 || strcmp(mode, "shared") == 0 || strcmp(mode, "shared-rwo") == 0)) ||
           error_set(err, ERROR_INVALID, "`%s` must be per-user, shared or shared-rwo", name);
}

static bool check_idle_timeout(struct policy *policy, const char *name, struct json_object *value,
                               const struct settings *settings, struct error *err) {
    (void)settings;
    int64_t minutes = json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : -1;
    if (minutes < 0 || minutes > POLICY_IDLE_MINUTES_MAX) {
        return error_set(err, ERROR_INVALID, "`%s` must be a whole number from 0 (never) to %lld", name,
                         POLICY_IDLE_MINUTES_MAX);
    }
    policy->idle_timeout_minutes = minutes;
    return true;
}

static bool check_lifetime(struct policy *policy, const char *name, struct json_object *value,
                           const struct settings *settings, struct error *err) {
    (void)settings;
    int64_t minutes = json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : 0;
    if (minutes < 1 || minutes > POLICY_LIFETIME_MINUTES_MAX) {
        return error_set(err, ERROR_INVALID, "`%s` must be a whole number from 1 to %lld", name,
                         POLICY_LIFETIME_MINUTES_MAX);
    }
    policy->max_lifetime_minutes = minutes;
    return true;
}

static bool check_warm(struct policy *policy, const char *name, struct json_object *value,
                       const struct settings *settings, struct error *err) {
    (void)settings;
    int64_t count = json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : -1;
    if (count < 0 || count > POLICY_WARM_MAX) {
        return error_set(err, ERROR_INVALID, "`%s` must be a whole number from 0 to %d", name, POLICY_WARM_MAX);
    }
    policy->warm = count;
    return true;
}

/* {"command": text, "timeout_seconds": number} */
static bool check_pre_stop(struct policy *policy, const char *name, struct json_object *value,
                           const struct settings *settings, struct error *err) {
    (void)settings;
    char shown[ECHO_SIZE];
    struct json_object *timeout = NULL;
    struct json_object *command = NULL;
    if (!json_object_is_type(value, json_type_object)) {
        return error_set(err, ERROR_INVALID, "`%s` must be an object with `command` and perhaps `timeout_seconds`",
                         name);
    }
    json_object_object_foreach(value, member, content) {
        if (strcmp(member, "command") == 0) {
            command = content;
        } else if (strcmp(member, "timeout_seconds") == 0) {
            timeout = content;
        } else {
            return error_set(err, ERROR_INVALID, "`%s.%s` is not known: there are `command` and `timeout_seconds`",
                             name, echo(member, shown));
        }
    }
    policy->pre_stop_command = text_of(command);
    if (policy->pre_stop_command == NULL || policy->pre_stop_command[0] == '\0' ||
        strlen(policy->pre_stop_command) > POLICY_COMMAND_MAX_BYTES) {
        return error_set(err, ERROR_INVALID, "`%s.command` must be a text of 1 to %d bytes without a NUL", name,
                         POLICY_COMMAND_MAX_BYTES);
    }
    policy->pre_stop_timeout_seconds = timeout == NULL                               ? POLICY_PRE_STOP_SECONDS
                                       : json_object_is_type(timeout, json_type_int) ? json_object_get_int64(timeout)
                                                                                     : 0;
    return (policy->pre_stop_timeout_seconds >= 1 && policy->pre_stop_timeout_seconds <= POLICY_PRE_STOP_SECONDS_MAX) ||
           error_set(err, ERROR_INVALID, "`%s.timeout_seconds` must be a whole number from 1 to %d", name,
                     POLICY_PRE_STOP_SECONDS_MAX);
}

static bool check_switch(struct policy *policy, const char *name, struct json_object *value,
                         const struct settings *settings, struct error *err) {
    (void)policy;
    (void)settings;
    return json_object_is_type(value, json_type_boolean) ||
           error_set(err, ERROR_INVALID, "`%s` must be true or false", name);
}

static bool check_pod_context(struct policy *policy, const char *name, struct json_object *value,
                              const struct settings *settings, struct error *err) {
    (void)policy;
    (void)settings;
    return security_context_check(name, value, SECURITY_CONTEXT_POD, err);
}

static bool check_container_context(struct policy *policy, const char *name, struct json_object *value,
                                    const struct settings *settings, struct error *err) {
    (void)settings;
    policy->container_security_context = value;
    return security_context_check(name, value, SECURITY_CONTEXT_CONTAINER, err);
}

static bool check_object(struct policy *policy, const char *name, struct json_object *value,
                         const struct settings *settings, struct error *err) {
    (void)policy;
    (void)settings;
    return json_object_is_type(value, json_type_object) ||
           error_set(err, ERROR_INVALID, "`%s` must be an object", name);
}

static bool refuse_lifecycle(struct policy *policy, const char *name, struct json_object *value,
                             const struct settings *settings, struct error *err) {
    (void)policy;
    (void)value;
    (void)settings;
    return error_set(err, ERROR_INVALID, "`%s` does not belong into a policy: its lifecycle is a thing of its own",
                     name);
}

static const struct member {
    const char *name;
    bool (*check)(struct policy *policy, const char *name, struct json_object *value, const struct settings *settings,
                  struct error *err);
    bool even_null;
} members[] = {
    {"image", check_image, false},
    {"env", check_env, false},
    {"cpu_limit", check_cpu, false},
    {"memory_limit", check_memory, false},
    {"storage", check_storage, false},
    {"storage_mode", check_storage_mode, false},
    {"idle_timeout_minutes", check_idle_timeout, false},
    {"max_lifetime_minutes", check_lifetime, false},
    {"pre_stop", check_pre_stop, false},
    {"warm", check_warm, false},
    {"restricted", check_switch, false},
    {"pod_security_context", check_pod_context, false},
    {"container_security_context", check_container_context, false},
    {"podTemplate", check_object, false},
    {"lifecycle", refuse_lifecycle, true},
    {"reset", refuse_lifecycle, true},
};

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static bool check_members(struct policy *policy, const struct settings *settings, struct error *err) {
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        struct json_object *value = NULL;
        if (!json_object_object_get_ex(policy->data, members[i].name, &value)) {
            continue;
        }
        if (value == NULL && !members[i].even_null) {
            json_object_object_del(policy->data, members[i].name);
        } else if (!members[i].check(policy, members[i].name, value, settings, err)) {
            return false;
        }
    }
    return true;
}

static bool set_hash(struct policy *policy, struct error *err) {
    char digest[DIGEST_HEX_SIZE];
    size_t length = 0;
    const char *text = json_text(policy->data, &length);
    if (text == NULL || !digest_sha256_hex_lower(text, length, digest)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (length > POLICY_DATA_MAX_BYTES) {
        return error_set(err, ERROR_INVALID, "the data of a policy may have %d bytes at most", POLICY_DATA_MAX_BYTES);
    }
    bool is_empty = json_object_object_length(policy->data) == 0;
    snprintf(policy->hash, sizeof policy->hash, "%.*s", is_empty ? 0 : POLICY_HASH_SIZE - 1, digest);
    return true;
}

bool policy_parse(struct policy *policy, const char *id, struct json_object *data, const struct settings *settings,
                  struct error *err) {
    *policy = (struct policy){
        .cpu_millicores = POLICY_UNSET,
        .memory_bytes = POLICY_UNSET,
        .storage_bytes = POLICY_UNSET,
        .idle_timeout_minutes = POLICY_UNSET,
        .max_lifetime_minutes = POLICY_UNSET,
    };
    if (!json_object_is_type(data, json_type_object)) {
        return error_set(err, ERROR_INVALID, "the data of a policy must be an object");
    }
    if (json_depth(data) > POLICY_DATA_MAX_DEPTH) {
        return error_set(err, ERROR_INVALID, "the data of a policy is nested deeper than %d levels",
                         POLICY_DATA_MAX_DEPTH);
    }
    snprintf(policy->id, sizeof policy->id, "%s", id);
    if (json_object_deep_copy(data, &policy->data, NULL) != 0) {
        policy->data = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!check_members(policy, settings, err) || !set_hash(policy, err)) {
        policy_free(policy);
        return false;
    }
    return true;
}

void policy_free(struct policy *policy) {
    json_object_put(policy->data);
    *policy = (struct policy){0};
}
