/* stats_operations.c - the operations that say how things are. */
#include <stdlib.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "provisioner/census.h"
#include "provisioner/haproxy_stat.h"
#include "provisioner/memory.h"
#include "provisioner/metrics.h"
#include "provisioner/operations.h"
#include "provisioner/problems.h"
#include "provisioner/stats_history.h"
#include "provisioner/warm.h"

/* {"total", and one for each state} */
static struct json_object *count_tenants(struct provisioner *provisioner) {
    struct census census;
    struct json_object *object = json_object_new_object();
    census_take(provisioner, &census);
    if (object == NULL || !json_add_int(object, "total", census.total) || !census_add_to(&census, object)) {
        json_object_put(object);
        return NULL;
    }
    return object;
}

/* Takes `value` over; NULL (no memory) is a failure. */
static bool add(struct json_object *object, const char *name, struct json_object *value) {
    return value != NULL && json_add(object, name, value);
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
    int64_t websockets = provisioner_websockets(provisioner);
    cleanup_json struct json_object *stats = json_object_new_object();
    bool ok = stats != NULL && json_add_int(stats, "changes", provisioner->changes) &&
              add(stats, "tenants", count_tenants(provisioner)) &&
              json_add_int(stats, "active_ws_connections", websockets) &&
              (requests < 0 ? json_add_string(stats, "requests", NULL) : json_add_int(stats, "requests", requests)) &&
              add(stats, "cold_starts", stats_cold_starts_json(&provisioner->stats)) &&
              add(stats, "warm_starts", warm_starts_json(provisioner)) &&
              json_add_int(stats, "memory_bytes", memory_of_processes(provisioner)) &&
              add(stats, "problems", problems_json(provisioner->problems));
    operation_answer(request->call, "stats", ok ? steal_pointer(&stats) : NULL);
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

void operation_stats_history(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    (void)request;
    operation_answer(call, "history", stats_history_json(provisioner->history));
}

void operation_metrics(struct provisioner *provisioner, struct ipc_call *call, struct json_object *request) {
    (void)request;
    cleanup_buffer struct buffer text = {0};
    metrics_write(provisioner, &text);
    operation_answer(call, "metrics", text.failed ? NULL : json_object_new_string(text.data));
}
