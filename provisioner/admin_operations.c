/* admin_operations.c - the operations about Terminals as a whole. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "provisioner/audit.h"
#include "provisioner/audit_retention.h"
#include "provisioner/haproxy_stat.h"
#include "provisioner/idle.h"
#include "provisioner/key_rotation.h"
#include "provisioner/node.h"
#include "provisioner/operations.h"
#include "provisioner/policies.h"
#include "provisioner/request.h"
#include "provisioner/resets.h"
#include "provisioner/tenants.h"
#include "provisioner/warm.h"

/* {"total", and one for each state} */
static struct json_object *count_tenants(struct provisioner *provisioner) {
    int64_t counts[INSTANCE_STATE_COUNT] = {0};
    int64_t total = 0;
    TENANTS_EACH(provisioner, tenant) {
        if (!tenant->is_warm) {
            counts[tenant->record.status]++;
            total++;
        }
    }
    struct json_object *object = json_object_new_object();
    bool ok = object != NULL && json_add_int(object, "total", total);
    for (int state = 0; ok && state < INSTANCE_STATE_COUNT; state++) {
        ok = json_add_int(object, instance_state_name((enum instance_state)state), counts[state]);
    }
    if (!ok) {
        json_object_put(object);
        return NULL;
    }
    return object;
}

/* On all nodes. */
static int64_t count_websockets(const struct provisioner *provisioner) {
    int64_t own = provisioner->server == NULL ? 0 : ipc_server_websockets(provisioner->server);
    return own + node_others_websockets(provisioner->node);
}

struct stats_request {
    struct provisioner *provisioner;
    struct ipc_call *call;
};

/* `answer` is HAProxy's table of statistics, or NULL while HAProxy does not run: then nobody counts requests. */
static void on_haproxy_stat(void *argument, const char *answer) {
    struct stats_request *request = argument;
    struct provisioner *provisioner = request->provisioner;
    int64_t requests = answer == NULL ? -1 : haproxy_stat_requests(answer);
    cleanup_json struct json_object *stats = json_object_new_object();
    struct json_object *tenants = count_tenants(provisioner);
    struct json_object *cold_starts = stats_cold_starts_json(&provisioner->stats);
    int64_t websockets = count_websockets(provisioner);
    bool ok = stats != NULL && tenants != NULL && cold_starts != NULL &&
              json_add(stats, "tenants", json_object_get(tenants)) &&
              json_add_int(stats, "active_ws_connections", websockets) &&
              (requests < 0 ? json_add_string(stats, "requests", NULL) : json_add_int(stats, "requests", requests)) &&
              json_add(stats, "cold_starts", json_object_get(cold_starts)) &&
              json_add(stats, "warm_starts", warm_starts_json(provisioner)) &&
              json_get_object(stats, "warm_starts") != NULL;
    json_object_put(tenants);
    json_object_put(cold_starts);
    operation_answer(request->call, "stats", ok ? json_object_get(stats) : NULL);
    free(request);
}

void operation_stats(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    (void)request;
    struct stats_request *pending = malloc(sizeof *pending);
    if (pending == NULL) {
        operation_answer(call, "stats", NULL);
        return;
    }
    *pending = (struct stats_request){provisioner, call};
    if (haproxy_runtime_is_up(provisioner->haproxy)) {
        haproxy_runtime_command(provisioner->haproxy, HAPROXY_STAT_COMMAND, on_haproxy_stat, pending);
    } else {
        on_haproxy_stat(pending, NULL);
    }
}

void operation_status(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    (void)request;
    int64_t active = 0;
    TENANTS_EACH_LIVE(provisioner, tenant) {
        active += tenant->record.status == INSTANCE_RUNNING && !tenant->is_warm;
    }
    int64_t websockets = count_websockets(provisioner);
    struct json_object *status = json_object_new_object();
    const struct settings *settings = provisioner->settings;
    const char *image = provisioner->operations->runs_images ? settings->image : NULL;
    bool ok = status != NULL && json_add_string(status, "backend", provisioner->operations->name) &&
              json_add_string(status, "image", image) &&
              json_add_int(status, "idle_timeout_seconds", provisioner->settings->idle_timeout_seconds) &&
              json_add_string(status, "max_cpu", settings->max_cpu) &&
              json_add_string(status, "max_memory", settings->max_memory) &&
              json_add_string(status, "max_storage", settings->max_storage) &&
              json_add_string(status, "allowed_images", settings->allowed_images) &&
              json_add_int(status, "active_terminals", active) &&
              json_add_int(status, "policy_count", (int64_t)policies_count(provisioner)) &&
              json_add_int(status, "active_websocket_connections", websockets);
    if (!ok) {
        json_object_put(status);
        status = NULL;
    }
    operation_answer(call, "status", status);
}

void operation_config(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    (void)request;
    operation_answer(call, "config", settings_to_json(provisioner->settings, READER_PROVISIONER));
}

void operation_audit_list(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct audit_filter filter;
    int64_t total = 0;
    struct json_object *rows =
        request_audit_filter(request, &filter, &err) ? audit_list(provisioner, &filter, &total, &err) : NULL;
    if (rows == NULL) {
        ipc_call_fail(call, &err);
        return;
    }
    operation_answer_list(call, "audit_logs", rows, total);
}

static void on_document(void *argument, const char *document) {
    struct ipc_call *call = argument;
    struct json_object *object = document == NULL ? NULL : json_parse_object(document, strlen(document), NULL);
    struct json_object *answer = ipc_call_new_answer(call);
    if (answer == NULL || !json_add(answer, "document", object)) {
        if (answer == NULL) {
            json_object_put(object);
        }
        json_object_put(answer);
        answer = NULL;
    }
    ipc_call_answer(call, answer);
}

void operation_openapi(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    const char *policy_id = NULL;
    if (!request_string(request, "policy_id", &policy_id, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    if (policy_id != NULL &&
        (!name_check_policy_id(policy_id, &err) || policies_find(provisioner, policy_id, &err) == NULL)) {
        ipc_call_fail(call, &err);
        return;
    }
    provisioner->operations->openapi(provisioner->backend, on_document, call);
}

/* What is due and what is idle are looked after side by side. */
struct reap {
    struct ipc_call *call;
    struct sweep_result swept;
    struct resets_result resets;
    struct error err; /* of the sweep */
    int left;
};

static void one_reaped(struct reap *reap) {
    if (--reap->left > 0) {
        return;
    }
    if (reap->err.code != ERROR_NONE) {
        ipc_call_fail(reap->call, &reap->err);
        free(reap);
        return;
    }
    struct json_object *answer = ipc_call_new_answer(reap->call);
    if (answer == NULL || !(json_add_int(answer, "checked", (int64_t)reap->swept.checked) &&
                            json_add_int(answer, "stopped", (int64_t)reap->swept.stopped) &&
                            json_add_int(answer, "kept", (int64_t)reap->swept.kept) &&
                            json_add_int(answer, "reset", (int64_t)reap->resets.reset))) {
        json_object_put(answer);
        answer = NULL;
    }
    ipc_call_answer(reap->call, answer);
    free(reap);
}

static void on_swept(void *argument, const struct sweep_result *result, const struct error *err) {
    struct reap *reap = argument;
    reap->swept = *result;
    if (err != NULL) {
        reap->err = *err;
    }
    one_reaped(reap);
}

static void on_reset(void *argument, const struct resets_result *result) {
    struct reap *reap = argument;
    reap->resets = *result;
    one_reaped(reap);
}

void operation_reap(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    (void)request;
    struct reap *reap = malloc(sizeof *reap);
    if (reap == NULL) {
        ipc_call_answer(call, NULL);
        return;
    }
    *reap = (struct reap){.call = call, .left = 2};
    audit_retention_begin(provisioner->retention);
    resets_run(provisioner, on_reset, reap);
    idle_sweep(provisioner, on_swept, reap);
}

void operation_rotate_key(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    struct error err;
    size_t count = 0;
    (void)request;
    if (node_has_others(provisioner->node)) {
        error_set(&err, ERROR_INVALID, "other nodes have the old key: stop them first, and give them the new one");
        ipc_call_fail(call, &err);
        return;
    }
    if (!key_rotation_run(provisioner, NULL, &count, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    operation_answer(call, "resealed", json_object_new_int64((int64_t)count));
}
