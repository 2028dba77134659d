/* The data of a policy: whatever an administrator sends, it is refused with a name or becomes something that holds:
 * within the caps, without our key, and the same when it is read again. The first byte chooses the caps. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "provisioner/policy.c"
#include "provisioner/security_context.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
    if (!truth) {
        abort();
    }
}

static void check_policy(const struct policy *policy, const struct settings *settings) {
    struct policy again;
    struct error err = {0};
    size_t length = 0;
    const char *text = json_text(policy->data, &length);
    struct json_object *reread = json_parse_object(text, length, &err);
    require(reread != NULL && policy_parse(&again, policy->id, reread, settings, &err));
    require(strcmp(again.hash, policy->hash) == 0);
    require(again.cpu_millicores == policy->cpu_millicores && again.memory_bytes == policy->memory_bytes &&
            again.storage_bytes == policy->storage_bytes);
    json_object_put(reread);
    policy_free(&again);
    if (settings->max_cpu != NULL) {
        require(policy->cpu_millicores <= 2000 && policy->memory_bytes <= 1 << 30 && policy->storage_bytes <= 10000000);
    }
    if (policy->env != NULL) {
        require(!json_object_object_get_ex(policy->env, "OPEN_TERMINAL_API_KEY", NULL));
        json_object_object_foreach(policy->env, name, value) {
            const char *content = json_object_get_string(value);
            require(strchr(name, '=') == NULL && name[0] != '\0' && content != NULL);
            require(strlen(content) == (size_t)json_object_get_string_len(value));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct settings settings = {0};
    struct error err = {0};
    struct policy policy;
    if (size == 0) {
        return 0;
    }
    if (data[0] != '{') {
        settings = (struct settings){.max_cpu = (char *)"2",
                                     .max_memory = (char *)"1Gi",
                                     .max_storage = (char *)"10M",
                                     .allowed_images = (char *)"a/*,b?"};
        data++;
        size--;
    }
    struct json_object *object = json_parse_object((const char *)data, size, &err);
    if (object == NULL) {
        return 0;
    }
    if (policy_parse(&policy, "p", object, &settings, &err)) {
        check_policy(&policy, &settings);
        policy_free(&policy);
    } else {
        require(err.code == ERROR_INVALID && err.message[0] != '\0');
    }
    json_object_put(object);
    return 0;
}
