/* Whatever arrives on the provisioner's socket: lines, and every check of their fields. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/ipc.h"
#include "provisioner/instance_states.c"
#include "provisioner/request.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fields(struct json_object *request) {
    struct error err;
    struct tenant_name name;
    struct tenant_filter tenants;
    struct audit_filter audit;
    struct json_object *actor = NULL;
    const char *text = NULL;
    const char **digests = NULL;
    size_t count = 0;
    bool truth = false;
    int64_t number = request_id(request, &err);
    if (request_tenant_name(request, &name, &err) &&
        (strlen(name.user_id) > NAME_USER_ID_MAX_BYTES || strpbrk(name.user_id, "\r\n") != NULL ||
         strlen(name.route_key) != DIGEST_HEX_LENGTH)) {
        abort();
    }
    if (request_tenant_filter(request, &tenants, &err) && (tenants.limit < 1 || tenants.offset < 0)) {
        abort();
    }
    if (request_audit_filter(request, &audit, &err) && (audit.limit > REQUEST_LIMIT_MAX || audit.offset < 0)) {
        abort();
    }
    if (request_digests(request, "routes", 1000, &digests, &count, &err)) {
        for (size_t i = 0; i < count; i++) {
            if (strlen(digests[i]) != DIGEST_HEX_LENGTH) {
                abort();
            }
        }
        free(digests);
    }
    if (request_int(request, "websockets", 0, 1000, 0, &number, &err) && (number < 0 || number > 1000)) {
        abort();
    }
    (void)request_actor(request, &actor, &err);
    (void)request_route_key(request, &text, &err);
    (void)request_bool(request, "purge", &truth, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err;
    struct json_object *request = NULL;
    cleanup_buffer struct buffer input = {0};
    if (!buffer_append(&input, data, size)) {
        return 0;
    }
    while (ipc_take_message(&input, 64 * 1024, &request, &err) > 0) {
        check_fields(request);
        json_object_put(request);
    }
    return 0;
}
