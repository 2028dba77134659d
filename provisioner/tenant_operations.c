/* tenant_operations.c - the operations about one tenant or all of them. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "provisioner/activity.h"
#include "provisioner/operations.h"
#include "provisioner/policies.h"
#include "provisioner/request.h"
#include "provisioner/routes.h"
#include "provisioner/starts.h"
#include "provisioner/stops.h"
#include "provisioner/tenant_list.h"
#include "provisioner/tenants.h"

/* Who it is about, and who asks. */
static bool read_subject(struct json_object *request, struct tenant_name *name, struct json_object **actor,
                         struct error *err) {
    return request_tenant_name(request, name, err) && request_actor(request, actor, err);
}

struct tenant *operation_find_tenant(struct provisioner *provisioner, struct json_object *request,
                                     struct json_object **actor, struct error *err) {
    struct tenant_name name;
    if (!read_subject(request, &name, actor, err)) {
        return NULL;
    }
    /* A tenant outlives its policy. */
    struct tenant *tenant = tenants_find(provisioner, name.route_key);
    if (tenant == NULL && policies_find(provisioner, name.policy_id, err) != NULL) {
        error_set(err, ERROR_NOT_FOUND, "Tenant `%s` not found", name.user_id);
    }
    return tenant;
}

/* The same, but makes it. */
static struct tenant *find_or_add(struct provisioner *provisioner, struct json_object *request,
                                  struct json_object **actor, struct error *err) {
    struct tenant_name name;
    if (!read_subject(request, &name, actor, err) || policies_find(provisioner, name.policy_id, err) == NULL) {
        return NULL;
    }
    struct tenant *tenant = tenants_find(provisioner, name.route_key);
    if (tenant == NULL && provisioner->is_shutting_down) {
        error_set(err, ERROR_CAPACITY, "Terminals is shutting down");
        return NULL;
    }
    return tenant != NULL ? tenant : tenants_add(provisioner, &name, err);
}

static void answer_route(struct ipc_call *call, const struct tenant *tenant) {
    const struct tenant_record *record = &tenant->record;
    struct json_object *answer = ipc_call_new_answer(call);
    if (answer == NULL ||
        !(json_add_string(answer, "address", record->host) && json_add_int(answer, "port", record->port) &&
          json_add_string(answer, "key", tenant->key) && json_add_string(answer, "instance_id", record->instance_id) &&
          json_add_string(answer, "route_key", record->route_key))) {
        json_object_put(answer);
        answer = NULL;
    }
    ipc_call_answer(call, answer);
}

/* A waiter_function: the call is answered with the way to the instance. */
static void on_route(void *argument, struct tenant *tenant, const struct error *err) {
    if (err != NULL) {
        ipc_call_fail(argument, err);
    } else {
        answer_route(argument, tenant);
    }
}

void operation_answer_tenant(void *argument, struct tenant *tenant, const struct error *err) {
    if (err != NULL) {
        ipc_call_fail(argument, err);
    } else {
        operation_answer(argument, "tenant", tenant_to_json(tenant));
    }
}

void operation_resolve(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct json_object *actor = NULL;
    struct tenant *tenant = find_or_add(provisioner, request, &actor, &err);
    if (tenant == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    starts_want(provisioner, tenant, actor, on_route, call);
}

void operation_lookup(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct json_object *actor = NULL;
    struct tenant *tenant = operation_find_tenant(provisioner, request, &actor, &err);
    if (tenant != NULL && tenant->record.status != INSTANCE_RUNNING) {
        error_set(&err, ERROR_NOT_FOUND, "the instance of `%s` does not run", tenant->record.user_id);
        tenant = NULL;
    }
    if (tenant == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    /* It runs, or is being adopted and was running: nothing is started, unless it proves dead in this very moment. */
    starts_want(provisioner, tenant, actor, on_route, call);
}

/* --- recover ------------------------------------------------------------------------------------------------------ */

struct recovery {
    struct provisioner *provisioner;
    struct ipc_call *call;
    struct json_object *actor;
    char route_key[DIGEST_HEX_SIZE];
};

static void recovery_go_on(struct provisioner *provisioner, struct ipc_call *call, const char *route_key,
                           struct json_object *actor) {
    struct tenant *tenant = tenants_find(provisioner, route_key);
    if (tenant == NULL) {
        struct error err;
        error_set(&err, ERROR_NOT_FOUND, "the instance is gone, and its tenant was deleted");
        ipc_call_fail(call, &err);
        return;
    }
    starts_want(provisioner, tenant, actor, on_route, call);
}

static void on_checked(void *argument, bool alive) {
    struct recovery *recovery = argument;
    log_info(json_get_string(recovery->actor, "request_id"), "an instance refused a connection and %s",
             alive ? "answers all the same" : "does not answer");
    recovery_go_on(recovery->provisioner, recovery->call, recovery->route_key, recovery->actor);
    json_object_put(recovery->actor);
    free(recovery);
}

void operation_recover(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct json_object *actor = NULL;
    const char *route_key = NULL;
    if (!request_route_key(request, &route_key, &err) || !request_actor(request, &actor, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    struct tenant *tenant = tenants_find(provisioner, route_key);
    /* Perhaps it runs anew already, perhaps it is the one that refused: asking it tells. */
    bool seems_to_run = tenant != NULL && tenant->record.status == INSTANCE_RUNNING && !tenant->is_being_adopted;
    struct recovery *recovery = seems_to_run ? calloc(1, sizeof *recovery) : NULL;
    if (recovery == NULL) {
        recovery_go_on(provisioner, call, route_key, actor);
        return;
    }
    *recovery = (struct recovery){.provisioner = provisioner, .call = call, .actor = json_object_get(actor)};
    memcpy(recovery->route_key, tenant->record.route_key, sizeof recovery->route_key);
    provisioner->operations->check(provisioner->backend, tenant->record.instance_id, on_checked, recovery);
}

/* --- administration ------------------------------------------------------------------------------------------------
 */

static void answer_created(struct ipc_call *call, struct tenant *tenant, const struct error *err, bool created) {
    if (err != NULL) {
        ipc_call_fail(call, err);
        return;
    }
    struct json_object *answer = ipc_call_new_answer(call);
    struct json_object *object = tenant_to_json(tenant);
    if (answer == NULL || object == NULL) {
        json_object_put(object);
        json_object_put(answer);
        answer = NULL;
    } else if (!json_add(answer, "tenant", object) || !json_add_bool(answer, "created", created)) {
        json_object_put(answer);
        answer = NULL;
    }
    ipc_call_answer(call, answer);
}

static void on_created(void *argument, struct tenant *tenant, const struct error *err) {
    answer_created(argument, tenant, err, true);
}

static void on_started_again(void *argument, struct tenant *tenant, const struct error *err) {
    answer_created(argument, tenant, err, false);
}

void operation_tenant_create(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct json_object *actor = NULL;
    struct tenant *tenant = find_or_add(provisioner, request, &actor, &err);
    if (tenant == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    bool is_new = !tenant->has_row || tenant->is_being_deleted;
    starts_want(provisioner, tenant, actor, is_new ? on_created : on_started_again, call);
}

static void answer_get(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct json_object *actor = NULL;
    struct tenant *tenant = operation_find_tenant(provisioner, request, &actor, &err);
    operation_answer_tenant(call, tenant, tenant == NULL ? &err : NULL);
}

void operation_tenant_get(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    operation_after_look(provisioner, call, request, answer_get);
}

void operation_tenant_start(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct json_object *actor = NULL;
    struct tenant *tenant = operation_find_tenant(provisioner, request, &actor, &err);
    if (tenant == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    starts_want(provisioner, tenant, actor, operation_answer_tenant, call);
}

void operation_tenant_stop(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct json_object *actor = NULL;
    struct tenant *tenant = operation_find_tenant(provisioner, request, &actor, &err);
    if (tenant == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    stops_want(provisioner, tenant, "tenant_stopped", actor, operation_answer_tenant, call);
}

static void on_deleted(void *argument, struct tenant *tenant, const struct error *err) {
    (void)tenant;
    if (err != NULL) {
        ipc_call_fail(argument, err);
    } else {
        operation_answer(argument, NULL, NULL);
    }
}

void operation_tenant_delete(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct json_object *actor = NULL;
    bool purge = false;
    struct tenant *tenant =
        request_bool(request, "purge", &purge, &err) ? operation_find_tenant(provisioner, request, &actor, &err) : NULL;
    if (tenant == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    stops_want_deletion(provisioner, tenant, purge, actor, on_deleted, call);
}

static void answer_list(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct tenant_filter filter;
    int64_t total = 0;
    if (!request_tenant_filter(request, &filter, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    struct json_object *list = tenant_list_page(provisioner, &filter, &total);
    operation_answer_list(call, "tenants", list, total);
}

void operation_tenant_list(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    operation_after_look(provisioner, call, request, answer_list);
}
