/* terminal_operations.c - the operations about what runs. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "provisioner/activity.h"
#include "provisioner/operations.h"
#include "provisioner/policies.h"
#include "provisioner/refresh.h"
#include "provisioner/request.h"
#include "provisioner/stops.h"
#include "provisioner/tenants.h"

#define MILLISECONDS_IN_MINUTE 60000

/* --- the list ----------------------------------------------------------------------------------------------------- */

static bool add_time(struct json_object *object, const char *name, int64_t unix_ms) {
    char text[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(unix_ms, text);
    return json_add_string(object, name, text);
}

/* Minutes, whole ones as a whole number; null for never. */
static bool add_minutes(struct json_object *object, const char *name, int64_t milliseconds) {
    if (milliseconds == 0) {
        return json_add_string(object, name, NULL);
    }
    if (milliseconds % MILLISECONDS_IN_MINUTE == 0) {
        return json_add_int(object, name, milliseconds / MILLISECONDS_IN_MINUTE);
    }
    struct json_object *value = json_object_new_double((double)milliseconds / MILLISECONDS_IN_MINUTE);
    return value != NULL && json_add(object, name, value);
}

/* Why it runs, and until when. */
static bool add_life(struct json_object *object, const struct tenant *tenant) {
    static const char *const reasons[] = {
        [ACTIVITY_NONE] = NULL,
        [ACTIVITY_POLICY] = "policy",
        [ACTIVITY_SHELL] = "shell",
        [ACTIVITY_REQUESTS] = "requests",
    };
    const struct provisioner *provisioner = tenant->provisioner;
    int64_t timeout_ms = provisioner->operations->shares_one_instance
                             ? 0
                             : policies_idle_timeout_ms(provisioner, tenant->record.policy_id);
    int64_t idle_ms = clock_monotonic_ms() - tenant->last_active_ms;
    enum activity_reason reason = activity_reason(tenant);
    return add_time(object, "last_active_at", tenant->record.last_accessed_at_ms) &&
           json_add_int(object, "idle_seconds", idle_ms > 0 ? idle_ms / 1000 : 0) &&
           add_minutes(object, "idle_timeout_minutes", timeout_ms) &&
           json_add_string(object, "kept_alive_by", reasons[reason]) &&
           (reason != ACTIVITY_NONE ? json_add_string(object, "stops_at", NULL)
                                    : add_time(object, "stops_at", clock_unix_ms() - idle_ms + timeout_ms));
}

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
          add_life(object, tenant))) {
        json_object_put(object);
        return NULL;
    }
    return object;
}

struct listing {
    struct provisioner *provisioner;
    struct ipc_call *call;
    int64_t limit;
    int64_t offset;
};

static struct json_object *list_page(const struct listing *listing, int64_t *total) {
    struct json_object *list = json_object_new_array();
    *total = 0;
    TENANTS_EACH_LIVE(listing->provisioner, tenant) {
        int64_t position = (*total)++ - listing->offset;
        if (list == NULL || position < 0 || position >= listing->limit) {
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

/* HAProxy may not answer: then the list says what is known. */
static void on_activity(void *argument, bool ok, const struct route_activity *routes, size_t count) {
    struct listing *listing = argument;
    int64_t total = 0;
    if (ok && !listing->provisioner->is_closing) {
        activity_merge(listing->provisioner, routes, count);
    }
    struct json_object *list = list_page(listing, &total);
    operation_answer_list(listing->call, "terminals", list, total);
    free(listing);
}

void operation_terminal_list(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    int64_t limit = 0;
    int64_t offset = 0;
    struct listing *listing = NULL;
    if (request_page(request, &limit, &offset, &err)) {
        listing = malloc(sizeof *listing);
        error_set(&err, ERROR_INTERNAL, "out of memory");
    }
    if (listing == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    *listing = (struct listing){provisioner, call, limit, offset};
    haproxy_runtime_activity(provisioner->haproxy, on_activity, listing);
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
