#include "provisioner/operations.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/ipc.h"
#include "common/log.h"
#include "provisioner/activity.h"
#include "provisioner/audit.h"
#include "provisioner/identities.h"
#include "provisioner/request.h"
#include "provisioner/survey.h"
#include "provisioner/tenants.h"

void operation_answer(struct ipc_call *call, const char *name, struct json_object *value) {
    struct json_object *answer = ipc_call_new_answer(call);
    if (name != NULL && (value == NULL || answer == NULL || !json_add(answer, name, value))) {
        /* json_add() takes the value over even when it fails. */
        if (answer == NULL) {
            json_object_put(value);
        }
        json_object_put(answer);
        answer = NULL;
    }
    ipc_call_answer(call, answer);
}

void operation_answer_list(struct ipc_call *call, const char *name, struct json_object *list, int64_t total) {
    struct json_object *answer = ipc_call_new_answer(call);
    if (answer == NULL || list == NULL) {
        json_object_put(list);
        json_object_put(answer);
        answer = NULL;
    } else if (!json_add(answer, name, list) || !json_add_int(answer, "total", total)) {
        json_object_put(answer);
        answer = NULL;
    }
    ipc_call_answer(call, answer);
}

struct look {
    struct provisioner *provisioner;
    struct ipc_call *call;
    struct json_object *request;
    operation_function *go_on;
};

static void on_activity(void *argument, bool ok, const struct route_activity *routes, size_t count) {
    struct look *look = argument;
    if (ok && !look->provisioner->is_closing) {
        activity_merge(look->provisioner, routes, count);
    }
    look->go_on(look->provisioner, look->call, look->request);
    json_object_put(look->request);
    free(look);
}

void operation_after_look(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request,
                          operation_function *go_on) {
    struct look *look = malloc(sizeof *look);
    if (look == NULL) {
        operation_answer(call, "memory", NULL);
        return;
    }
    *look = (struct look){provisioner, call, json_object_get(request), go_on};
    survey_activity(provisioner, on_activity, look);
}

static void operation_ping(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    (void)provisioner;
    (void)request;
    operation_answer(call, NULL, NULL);
}

/* Notes that the gate reported these routes, in the field of the tenant that `field` chooses. */
static void note_activity(struct provisioner *provisioner, const char *const *routes, size_t count, size_t field) {
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < count; i++) {
        struct tenant *tenant = tenants_find(provisioner, routes[i]);
        if (tenant != NULL) {
            activity_touch(tenant, now_ms);
            *(int64_t *)((char *)tenant + field) = now_ms;
        }
    }
}

static void operation_activity(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    cleanup_free const char **routes = NULL;
    cleanup_free const char **shells = NULL;
    size_t route_count = 0;
    size_t shell_count = 0;
    int64_t websockets = 0;
    if (!request_digests(request, "routes", REQUEST_ROUTES_MAX, &routes, &route_count, &err) ||
        !request_digests(request, "shells", REQUEST_ROUTES_MAX, &shells, &shell_count, &err) ||
        !request_int(request, "websockets", 0, REQUEST_WEBSOCKETS_MAX, 0, &websockets, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    note_activity(provisioner, routes, route_count, offsetof(struct tenant, exchange_active_ms));
    note_activity(provisioner, shells, shell_count, offsetof(struct tenant, shell_active_ms));
    ipc_call_report_websockets(call, websockets);
    operation_answer(call, NULL, NULL);
}

static void operation_audit(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct audit_event event = {0};
    if (!request_event_id(request, &event.id, &err) ||
        !request_required_string(request, "action", &event.action, &err) ||
        !request_string(request, "severity", &event.severity, &err) ||
        !request_string(request, "user_id", &event.user_id, &err) ||
        !request_string(request, "resource_type", &event.resource_type, &err) ||
        !request_string(request, "resource_id", &event.resource_id, &err) ||
        !request_string(request, "detail", &event.detail, &err) ||
        !request_int(request, "status_code", 0, 999, 0, &event.status_code, &err) ||
        !request_actor(request, &event.actor, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    if (audit_stage(provisioner, audit_row_new(&event)) == NULL) {
        error_set(&err, ERROR_CAPACITY, "no room for a row of the audit log");
        ipc_call_fail(call, &err);
        return;
    }
    if (!audit_flush_or_keep(provisioner, &err)) {
        log_error(json_get_string(event.actor, "request_id"), "%s (tried again)", err.message);
        ipc_call_fail(call, &err);
        return;
    }
    operation_answer(call, NULL, NULL);
}

static void operation_set_api_keys(struct provisioner *provisioner, struct ipc_call *call,
                                   struct json_object *request) {
    struct error err;
    cleanup_free const char **digests = NULL;
    size_t count = 0;
    bool forget_users = false;
    if (!request_digests(request, "digests", REQUEST_API_KEYS_MAX, &digests, &count, &err) ||
        !request_bool(request, "forget_users", &forget_users, &err) ||
        !identities_set_api_keys(provisioner, digests, count, &err) ||
        (forget_users && !identities_forget_users(provisioner, &err))) {
        ipc_call_fail(call, &err);
        return;
    }
    operation_answer(call, NULL, NULL);
}

static void operation_identity_add(struct provisioner *provisioner, struct ipc_call *call,
                                   struct json_object *request) {
    struct error err;
    struct identity_record record = {0};
    if (!request_digest(request, "digest", &record.digest, &err) ||
        !request_required_string(request, "user_id", &record.user_id, &err) ||
        !request_int(request, "expires_at", 1, INT64_MAX, 0, &record.expires_at_ms, &err) ||
        !identities_add(provisioner, &record, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    operation_answer(call, NULL, NULL);
}

static const struct {
    const char *name;
    operation_function *run;
} operations[] = {
    {"resolve", operation_resolve},
    {"lookup", operation_lookup},
    {"recover", operation_recover},
    {"activity", operation_activity},
    {"audit", operation_audit},
    {"set_api_keys", operation_set_api_keys},
    {"identity_add", operation_identity_add},
    {"ping", operation_ping},
    {"tenant_create", operation_tenant_create},
    {"tenant_list", operation_tenant_list},
    {"tenant_get", operation_tenant_get},
    {"tenant_start", operation_tenant_start},
    {"tenant_stop", operation_tenant_stop},
    {"tenant_delete", operation_tenant_delete},
    {"policy_list", operation_policy_list},
    {"policy_get", operation_policy_get},
    {"policy_create", operation_policy_create},
    {"policy_update", operation_policy_update},
    {"policy_delete", operation_policy_delete},
    {"lifecycle_get", operation_lifecycle_get},
    {"lifecycle_update", operation_lifecycle_update},
    {"terminal_list", operation_terminal_list},
    {"terminal_open", operation_terminal_open},
    {"terminal_stop", operation_terminal_stop},
    {"terminal_refresh", operation_terminal_refresh},
    {"stats", operation_stats},
    {"stats_history", operation_stats_history},
    {"metrics", operation_metrics},
    {"status", operation_status},
    {"config", operation_config},
    {"audit_list", operation_audit_list},
    {"openapi", operation_openapi},
    {"reap", operation_reap},
    {"gc", operation_gc},
    {"rotate_key", operation_rotate_key},
};

void operations_handle(void *argument, struct ipc_call *call, struct json_object *request) {
    struct error err;
    const char *name = NULL;
    if (!request_required_string(request, "op", &name, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (strcmp(operations[i].name, name) == 0) {
            operations[i].run(argument, call, request);
            return;
        }
    }
    error_set(&err, ERROR_INVALID, "unknown operation `%.100s`", name);
    ipc_call_fail(call, &err);
}
