/* terminal_operations.c - the operations about what runs. */
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "provisioner/activity.h"
#include "provisioner/audit.h"
#include "provisioner/life.h"
#include "provisioner/operations.h"
#include "provisioner/policies.h"
#include "provisioner/refresh.h"
#include "provisioner/request.h"
#include "provisioner/starts.h"
#include "provisioner/stops.h"
#include "provisioner/tenants.h"

/* --- the list ----------------------------------------------------------------------------------------------------- */

static struct json_object *terminal_to_json(const struct tenant *tenant) {
    const struct tenant_record *record = &tenant->record;
    struct json_object *object = json_object_new_object();
    bool has_address = record->host[0] != '\0';
    bool outdated = policies_is_outdated(tenant->provisioner, record->policy_id, record->policy_hash);
    if (object == NULL ||
        !(json_add_string(object, "user_id", record->user_id) &&
          json_add_string(object, "policy_id", record->policy_id) &&
          json_add_string(object, "context_id", record->context_id) &&
          json_add_string(object, "status", instance_state_name(record->status)) &&
          json_add_string(object, "name", record->instance_name) &&
          json_add_string(object, "instance_id", record->instance_id) &&
          json_add_string(object, "host", has_address ? record->host : NULL) &&
          (has_address ? json_add_int(object, "port", record->port) : json_add_string(object, "port", NULL)) &&
          json_add_bool(object, "outdated", record->status == INSTANCE_RUNNING && outdated) &&
          life_add(object, tenant))) {
        json_object_put(object);
        return NULL;
    }
    return object;
}

static struct json_object *list_page(struct provisioner *provisioner, int64_t limit, int64_t offset, int64_t *total) {
    struct json_object *list = json_object_new_array();
    *total = 0;
    TENANTS_EACH_LIVE(provisioner, tenant) {
        if (tenant->is_warm) {
            continue;
        }
        int64_t position = (*total)++ - offset;
        if (list == NULL || position < 0 || position >= limit) {
            continue;
        }
        struct json_object *object = terminal_to_json(tenant);
        if (object == NULL || json_object_array_add(list, object) < 0) {
            json_object_put(object);
            json_object_put(list);
            return NULL;
        }
    }
    return list;
}

static void answer_list(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    int64_t limit = 0;
    int64_t offset = 0;
    int64_t total = 0;
    if (!request_page(request, &limit, &offset, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    struct json_object *list = list_page(provisioner, limit, offset, &total);
    operation_answer_list(call, "terminals", list, total);
}

void operation_terminal_list(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    operation_after_look(provisioner, call, request, answer_list);
}

/* --- open --------------------------------------------------------------------------------------------------------- */

/* What an administrator needs to open a shell in somebody's instance. */
static struct json_object *way_to_json(const struct tenant *tenant) {
    const struct tenant_record *record = &tenant->record;
    cleanup_buffer struct buffer path = {0};
    cleanup_json struct json_object *object = json_object_new_object();
    bool ok = object != NULL && buffer_append_format(&path, "/p/%s", record->policy_id) &&
              json_add_string(object, "user_id", record->user_id) &&
              json_add_string(object, "policy_id", record->policy_id) &&
              json_add_string(object, "context_id", record->context_id) && json_add_string(object, "path", path.data);
    return ok ? steal_pointer(&object) : NULL;
}

struct opening {
    struct provisioner *provisioner;
    struct ipc_call *call;
    struct json_object *actor;
};

static void on_open(void *argument, struct tenant *tenant, const struct error *err) {
    struct opening *opening = argument;
    if (err != NULL) {
        ipc_call_fail(opening->call, err);
    } else {
        audit_append_tenant(opening->provisioner, tenant, "terminal_opened_by_admin", NULL, NULL, opening->actor);
        operation_answer(opening->call, "terminal", way_to_json(tenant));
    }
    json_object_put(opening->actor);
    free(opening);
}

void operation_terminal_open(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct json_object *actor = NULL;
    struct tenant *tenant = operation_find_tenant(provisioner, request, &actor, &err);
    struct opening *opening = tenant == NULL ? NULL : malloc(sizeof *opening);
    if (opening == NULL) {
        if (tenant != NULL) {
            error_set(&err, ERROR_INTERNAL, "out of memory");
        }
        ipc_call_fail(call, &err);
        return;
    }
    *opening = (struct opening){provisioner, call, json_object_get(actor)};
    starts_want(provisioner, tenant, actor, on_open, opening);
}

/* --- stop and refresh --------------------------------------------------------------------------------------------- */

void operation_terminal_stop(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct tenant_name name;
    struct json_object *actor = NULL;
    struct tenant *tenant = NULL;
    if (request_tenant_name(request, &name, &err) && request_actor(request, &actor, &err)) {
        tenant = tenants_find(provisioner, name.route_key);
        error_set(&err, ERROR_NOT_FOUND, "No instance of `%s` runs", name.user_id);
    }
    if (tenant == NULL || !tenant->is_live) {
        ipc_call_fail(call, &err);
        return;
    }
    stops_want(provisioner, tenant, "tenant_stopped", actor, operation_answer_tenant, call);
}

static void on_refreshed(void *argument, const struct refresh_result *result, const struct error *err) {
    if (err != NULL) {
        ipc_call_fail(argument, err);
        return;
    }
    struct json_object *object = json_object_new_object();
    if (object == NULL || !(json_add_int(object, "matched", (int64_t)result->matched) &&
                            json_add_int(object, "refreshed", (int64_t)result->refreshed) &&
                            json_add_int(object, "reset", (int64_t)result->reset) &&
                            json_add_int(object, "skipped_active", (int64_t)result->skipped_active))) {
        json_object_put(object);
        object = NULL;
    }
    operation_answer(argument, "result", object);
}

void operation_terminal_refresh(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct refresh_filter filter;
    struct json_object *actor = NULL;
    if (!request_refresh_filter(request, &filter, &err) || !request_actor(request, &actor, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    refresh_begin(provisioner, &filter, actor, on_refreshed, call);
}
