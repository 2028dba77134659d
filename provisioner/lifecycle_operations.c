/* lifecycle_operations.c - the operations about the lifecycles of policies. */
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/audit.h"
#include "provisioner/lifecycles.h"
#include "provisioner/operations.h"
#include "provisioner/policies.h"
#include "provisioner/request.h"
#include "provisioner/tenant_files.h"

void operation_lifecycle_get(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    const char *policy_id = NULL;
    if (!request_policy_id(request, &policy_id, &err) || policies_find(provisioner, policy_id, &err) == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    operation_answer(call, "lifecycle", lifecycle_to_json(provisioner, policy_id, clock_unix_ms()));
}

void operation_lifecycle_update(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    const char *policy_id = NULL;
    struct json_object *data = NULL;
    struct json_object *actor = NULL;
    int64_t now_ms = clock_unix_ms();
    if (!request_policy_id(request, &policy_id, &err) || !request_object(request, "lifecycle", &data, &err) ||
        !request_actor(request, &actor, &err) || !lifecycles_set(provisioner, policy_id, data, now_ms, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    if (!tenant_files_exist(provisioner)) {
        log_warning(json_get_string(actor, "request_id"),
                    "the backend `%s` has no folders of its own: the lifecycle of policy `%s` empties nothing",
                    provisioner->operations->name, policy_id);
    }
    audit_append(provisioner, &(struct audit_event){
                                  .action = "policy_updated",
                                  .resource_type = "policy",
                                  .resource_id = policy_id,
                                  .detail = "its lifecycle",
                                  .actor = actor,
                              });
    operation_answer(call, "lifecycle", lifecycle_to_json(provisioner, policy_id, now_ms));
}
