/* policy_operations.c - the operations about policies. */
#include <string.h>

#include "provisioner/audit.h"
#include "provisioner/lifecycles.h"
#include "provisioner/operations.h"
#include "provisioner/policies.h"
#include "provisioner/request.h"

static void record(struct provisioner *provisioner, const char *action, const char *policy_id,
                   struct json_object *actor) {
    audit_append(provisioner, &(struct audit_event){
                                  .action = action,
                                  .resource_type = "policy",
                                  .resource_id = policy_id,
                                  .actor = actor,
                              });
}

/* The policies of one page. NULL: no memory. */
static struct json_object *list_page(const struct provisioner *provisioner, int64_t limit, int64_t offset) {
    struct json_object *list = json_object_new_array();
    int64_t position = 0;
    for (const struct stored_policy *stored = provisioner->policies; list != NULL && stored != NULL;
         stored = stored->hh.next, position++) {
        if (position < offset || position - offset >= limit) {
            continue;
        }
        struct json_object *object = policy_to_json(stored);
        if (object == NULL || json_object_array_add(list, object) < 0) {
            json_object_put(object);
            json_object_put(list);
            return NULL;
        }
    }
    return list;
}

void operation_policy_list(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    int64_t limit = 0;
    int64_t offset = 0;
    if (!request_page(request, &limit, &offset, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    operation_answer_list(call, "policies", list_page(provisioner, limit, offset),
                          (int64_t)policies_count(provisioner));
}

void operation_policy_get(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    const char *policy_id = NULL;
    const struct stored_policy *stored =
        request_policy_id(request, &policy_id, &err) ? policies_find(provisioner, policy_id, &err) : NULL;
    if (stored == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    operation_answer(call, "policy", policy_to_json(stored));
}

/* Creating and updating differ in what they do, and in what the audit log calls it. */
static void store_data(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request,
                       struct stored_policy *(*change)(struct provisioner *provisioner, const char *policy_id,
                                                       struct json_object *data, struct error *err),
                       const char *action) {
    struct error err;
    const char *policy_id = NULL;
    struct json_object *data = NULL;
    struct json_object *actor = NULL;
    bool is_sound = request_policy_id(request, &policy_id, &err) && request_object(request, "data", &data, &err) &&
                    request_actor(request, &actor, &err);
    const struct stored_policy *stored = is_sound ? change(provisioner, policy_id, data, &err) : NULL;
    if (stored == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    record(provisioner, action, policy_id, actor);
    operation_answer(call, "policy", policy_to_json(stored));
}

void operation_policy_create(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    store_data(provisioner, call, request, policies_create, "policy_created");
}

void operation_policy_update(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    store_data(provisioner, call, request, policies_update, "policy_updated");
}

void operation_policy_delete(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    const char *policy_id = NULL;
    struct json_object *actor = NULL;
    if (!request_policy_id(request, &policy_id, &err) || !request_actor(request, &actor, &err) ||
        !policies_delete(provisioner, policy_id, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    lifecycles_forget(provisioner, policy_id);
    record(provisioner, "policy_deleted", policy_id, actor);
    operation_answer(call, NULL, NULL);
}
