/* admin_operations.c - the operations about Terminals as a whole. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "provisioner/audit.h"
#include "provisioner/audit_retention.h"
#include "provisioner/idle.h"
#include "provisioner/key_rotation.h"
#include "provisioner/node.h"
#include "provisioner/operations.h"
#include "provisioner/policies.h"
#include "provisioner/request.h"
#include "provisioner/resets.h"
#include "provisioner/tenants.h"

void operation_status(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    (void)request;
    int64_t active = 0;
    TENANTS_EACH_LIVE(provisioner, tenant) {
        active += tenant->record.status == INSTANCE_RUNNING && !tenant->is_warm;
    }
    int64_t websockets = provisioner_websockets(provisioner);
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
