#include "provisioner/backends/docker_create.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/docker_settings.h"
#include "provisioner/backends/docker_container.h"
#include "provisioner/backends/docker_labels.h"
#include "provisioner/backends/docker_security.h"

#define KEY_NAME       "OPEN_TERMINAL_API_KEY"
#define NANO_PER_MILLI 1000000
#define LOG_MAX_SIZE   "5m" /* what an instance writes to its output is for finding out why it does not start */
#define LOG_MAX_FILES  "2"

static bool append(struct json_object *list, struct json_object *item) {
    if (item == NULL || json_object_array_add(list, item) != 0) {
        json_object_put(item);
        return false;
    }
    return true;
}

static bool append_variable(struct json_object *list, const char *name, const char *value) {
    cleanup_free char *text = NULL;
    if (asprintf(&text, "%s=%s", name, value) < 0) {
        text = NULL;
        return false;
    }
    struct json_object *item = json_object_new_string(text);
    explicit_bzero(text, strlen(text)); /* it may be the key */
    return append(list, item);
}

static bool add_environment(struct json_object *body, const struct policy *policy) {
    struct json_object *list = json_object_new_array();
    if (list == NULL || !json_add(body, "Env", list)) {
        return false;
    }
    if (policy == NULL || policy->env == NULL) {
        return true;
    }
    json_object_object_foreach(policy->env, name, value) {
        if (strcmp(name, KEY_NAME) != 0 && json_object_is_type(value, json_type_string) &&
            !append_variable(list, name, json_object_get_string(value))) {
            return false;
        }
    }
    return true;
}

static bool add_mounts(struct json_object *host_config, const struct docker_plan *plan, struct error *err) {
    struct json_object *mounts = plan->settings->docker_mounts == NULL
                                     ? json_object_new_array()
                                     : docker_settings_mounts(plan->settings->docker_mounts, err);
    if (mounts == NULL || !json_add(host_config, "Mounts", mounts)) {
        return false;
    }
    if (plan->home == NULL) {
        return true; /* a warm one: it is mounted later */
    }
    struct json_object *home = json_object_new_object();
    bool ok = home != NULL && json_add_string(home, "Type", "bind") && json_add_string(home, "Source", plan->home) &&
              json_add_string(home, "Target", DOCKER_HOME);
    if (!ok) {
        json_object_put(home);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return append(mounts, home) || error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool add_limits(struct json_object *host_config, const struct docker_plan *plan) {
    const struct policy *policy = plan->spec->policy;
    int64_t cpu = policy == NULL ? POLICY_UNSET : policy->cpu_millicores;
    int64_t memory = policy == NULL ? POLICY_UNSET : policy->memory_bytes;
    int64_t storage = policy == NULL ? POLICY_UNSET : policy->storage_bytes;
    if (plan->cpus > 0 && cpu > plan->cpus * 1000) {
        cpu = plan->cpus * 1000; /* more than the machine has is an error to the engine */
    }
    if (cpu > 0 && !json_add_int(host_config, "NanoCpus", cpu * NANO_PER_MILLI)) {
        return false;
    }
    /* The same value for memory and swap together: no swap. */
    if (memory > 0 &&
        !(json_add_int(host_config, "Memory", memory) && json_add_int(host_config, "MemorySwap", memory))) {
        return false;
    }
    if (plan->settings->docker_pids_limit > 0 &&
        !json_add_int(host_config, "PidsLimit", plan->settings->docker_pids_limit)) {
        return false;
    }
    if (storage <= 0 || plan->without_storage_opt) {
        return true;
    }
    char size[32];
    snprintf(size, sizeof size, "%" PRId64, storage);
    struct json_object *options = json_object_new_object();
    return options != NULL && json_add(host_config, "StorageOpt", options) && json_add_string(options, "size", size);
}

static bool add_log(struct json_object *host_config) {
    struct json_object *log = json_object_new_object();
    struct json_object *config = json_object_new_object();
    if (log == NULL || config == NULL) {
        json_object_put(log);
        json_object_put(config);
        return false;
    }
    return json_add(host_config, "LogConfig", log) && json_add(log, "Config", config) &&
           json_add_string(log, "Type", "json-file") && json_add_string(config, "max-size", LOG_MAX_SIZE) &&
           json_add_string(config, "max-file", LOG_MAX_FILES);
}

static bool add_port(struct json_object *body, struct json_object *host_config, const char *publish) {
    struct json_object *exposed = json_object_new_object();
    if (exposed == NULL || !json_add(body, "ExposedPorts", exposed) ||
        !json_add(exposed, DOCKER_PORT_NAME, json_object_new_object())) {
        return false;
    }
    if (publish == NULL) {
        return true;
    }
    struct json_object *ports = json_object_new_object();
    struct json_object *bindings = json_object_new_array();
    struct json_object *binding = json_object_new_object();
    if (ports == NULL || bindings == NULL || binding == NULL) {
        json_object_put(ports);
        json_object_put(bindings);
        json_object_put(binding);
        return false;
    }
    return json_add(host_config, "PortBindings", ports) && json_add(ports, DOCKER_PORT_NAME, bindings) &&
           append(bindings, binding) && json_add_string(binding, "HostIp", publish) &&
           json_add_string(binding, "HostPort", ""); /* any free one */
}

static bool add_user(struct json_object *body, const struct policy *policy, struct error *err) {
    char user[DOCKER_USER_SIZE];
    bool is_set = false;
    if (policy == NULL) {
        return true;
    }
    if (!docker_security_user(policy->container_security_context, user, &is_set, err)) {
        return false;
    }
    return !is_set || json_add_string(body, "User", user) || error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool fill_host_config(struct json_object *host_config, const struct docker_plan *plan, struct error *err) {
    const struct policy *policy = plan->spec->policy;
    const struct docker_security security = {
        .context = policy == NULL ? NULL : policy->container_security_context,
        .env = policy == NULL ? NULL : policy->env,
        .image_is_unprivileged = plan->image_is_unprivileged,
    };
    const char *runtime = plan->settings->docker_runtime;
    if (!docker_security_apply(&security, host_config, err) || !add_mounts(host_config, plan, err)) {
        return false;
    }
    return (add_limits(host_config, plan) && add_log(host_config) &&
            json_add_string(host_config, "NetworkMode", plan->network) &&
            json_add_bool(host_config, "Init", true) && /* somebody has to reap what users leave behind */
            (runtime == NULL || json_add_string(host_config, "Runtime", runtime))) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

/* Of all that makes the instance what it is, but for its id and key: who compares two sees whether one is outdated. */
static bool hash_configuration(struct json_object *body, const struct docker_plan *plan, char out[DIGEST_HEX_SIZE]) {
    cleanup_free char *text = NULL;
    int length = asprintf(&text, "%s %s", plan->image_id, json_text(body, NULL));
    if (length < 0) {
        text = NULL;
        return false;
    }
    return digest_sha256_hex_lower(text, (size_t)length, out);
}

static bool fill(struct json_object *body, const struct docker_plan *plan, struct error *err) {
    struct json_object *host_config = json_object_new_object();
    char hash[DIGEST_HEX_SIZE];
    if (host_config == NULL || !json_add(body, "HostConfig", host_config) ||
        !json_add_string(body, "Image", plan->image) || !add_environment(body, plan->spec->policy) ||
        !add_port(body, host_config, plan->settings->docker_publish)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!add_user(body, plan->spec->policy, err) || !fill_host_config(host_config, plan, err)) {
        return false;
    }
    bool ok = hash_configuration(body, plan, hash) &&
              json_add(body, "Labels", docker_labels_make(plan->spec, plan->deployment, hash)) &&
              json_get_object(body, "Labels") != NULL &&
              append_variable(json_get_array(body, "Env"), KEY_NAME, plan->spec->key);
    return ok || error_set(err, ERROR_INTERNAL, "out of memory");
}

struct json_object *docker_create_body(const struct docker_plan *plan, struct error *err) {
    struct json_object *body = json_object_new_object();
    if (body == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    if (!fill(body, plan, err)) {
        json_object_put(body);
        return NULL;
    }
    return body;
}

const char *docker_create_image(const struct settings *settings, const struct policy *policy) {
    return policy != NULL && policy->image != NULL ? policy->image : settings->image;
}

void docker_create_network(const struct settings *settings, const char *instance_name,
                           char out[DOCKER_NETWORK_NAME_SIZE]) {
    const char *list = settings->docker_network == NULL ? DOCKER_NETWORK_OWN : settings->docker_network;
    unsigned long count = 1;
    for (const char *comma = strchr(list, ','); comma != NULL; comma = strchr(comma + 1, ',')) {
        count++;
    }
    char digest[DIGEST_HEX_SIZE] = "0";
    digest_sha256_hex_lower(instance_name, strlen(instance_name), digest);
    digest[8] = '\0';
    for (unsigned long chosen = strtoul(digest, NULL, 16) % count; chosen > 0; chosen--) {
        list = strchr(list, ',') + 1;
    }
    snprintf(out, DOCKER_NETWORK_NAME_SIZE, "%.*s", (int)strcspn(list, ","), list);
}
