#include "provisioner/follower.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/activity.h"
#include "provisioner/audit.h"
#include "provisioner/backlog.h"
#include "provisioner/follower_maps.h"
#include "provisioner/follower_reports.h"
#include "provisioner/front.h"
#include "provisioner/identities.h"
#include "provisioner/leader.h"
#include "provisioner/operations.h"
#include "provisioner/request.h"
#include "provisioner/survey.h"
#include "provisioner/tenants.h"

struct follower {
    struct provisioner provisioner; /* its front only: no tenants, no backend */
    struct node_calls *calls;
    struct json_object *unreported; /* routes that the gate has told of and the leader has not heard of: two sets */
    struct event *flush_timer;
    bool routes_are_stale;
    struct error problem;
};

/* --- what is asked here ------------------------------------------------------------------------------------------- */

static void answer_route(struct ipc_call *call, const struct route *route, const char *route_key) {
    struct json_object *answer = ipc_call_new_answer(call);
    if (answer == NULL || !json_add_string(answer, "address", route->address) ||
        !json_add_int(answer, "port", route->port) || !json_add_string(answer, "key", route->key) ||
        !json_add_string(answer, "instance_id", route->instance_id) ||
        !json_add_string(answer, "route_key", route_key)) {
        json_object_put(answer);
        answer = NULL;
    }
    ipc_call_answer(call, answer);
}

/* Of an instance that runs, everything is known here. */
static void resolve(struct follower *follower, struct ipc_call *call, struct json_object *request) {
    struct tenant_name name;
    struct route route;
    struct error err;
    const char *value =
        request_tenant_name(request, &name, &err) ? map_get(follower->provisioner.routes, name.route_key) : NULL;
    cleanup_secret char *copy = value == NULL ? NULL : strdup(value);
    if (copy != NULL && route_parse(copy, &route)) {
        answer_route(call, &route, name.route_key);
    } else {
        node_calls_forward(follower->calls, call, request);
    }
}

/* The leader does not hear of it twice, nor never: what it could not be told is kept for the next time. */
static void report(struct follower *follower) {
    struct error err;
    struct node *node = follower->provisioner.node;
    if (follower->unreported == NULL) {
        return;
    }
    cleanup_json struct json_object *message = json_object_new_object();
    bool ok = message != NULL && json_add_int(message, NODE_CALL, 0) && json_add_bool(message, "quiet", true) &&
              json_add_string(message, "node", node_id(node)) &&
              json_add(message, "request", follower_reports_request(follower->unreported)) &&
              json_get_object(message, "request") != NULL && node_send(node, NODE_LEADER, message, &err);
    if (ok) {
        json_object_put(follower->unreported);
        follower->unreported = NULL;
    }
}

static void note_activity(struct follower *follower, struct ipc_call *call, struct json_object *request) {
    int64_t websockets = 0;
    struct error err;
    if (!request_int(request, "websockets", 0, REQUEST_WEBSOCKETS_MAX, 0, &websockets, &err) ||
        !follower_reports_add(&follower->unreported, request, &err)) {
        ipc_call_fail(call, &err);
        return;
    }
    ipc_call_report_websockets(call, websockets);
    report(follower);
    operation_answer(call, NULL, NULL);
}

static void audit(struct follower *follower, struct ipc_call *call, struct json_object *request) {
    operations_handle(&follower->provisioner, call, request);
    if (follower->provisioner.settings->siem_webhook_url != NULL) {
        node_announce(follower->provisioner.node, ANNOUNCE_AUDIT, "");
    }
}

static void do_here(struct follower *follower, struct ipc_call *call, struct json_object *request) {
    operations_handle(&follower->provisioner, call, request);
}

static void handle(void *argument, struct ipc_call *call, struct json_object *request) {
    static const struct {
        const char *name;
        void (*run)(struct follower *follower, struct ipc_call *call, struct json_object *request);
    } own[] = {
        {"resolve", resolve},      {"lookup", resolve},       {"activity", note_activity}, {"audit", audit},
        {"set_api_keys", do_here}, {"identity_add", do_here}, {"ping", do_here},
    };
    struct follower *follower = argument;
    const char *name = json_get_string(request, "op");
    for (size_t i = 0; name != NULL && i < sizeof own / sizeof own[0]; i++) {
        if (strcmp(own[i].name, name) == 0) {
            own[i].run(follower, call, request);
            return;
        }
    }
    node_calls_forward(follower->calls, call, request);
}

/* --- what the node hears ------------------------------------------------------------------------------------------ */

static void leave_loop(struct follower *follower) {
    event_base_loopbreak(follower->provisioner.base);
}

static void on_elected(void *argument) {
    leave_loop(argument);
}

static void on_unfit(void *argument, const struct error *err) {
    struct follower *follower = argument;
    follower->problem = *err;
    leave_loop(follower);
}

static void reread_routes(struct follower *follower) {
    struct error err;
    struct node *node = follower->provisioner.node;
    bool was_told = follower->routes_are_stale; /* of a database that is away: once */
    cleanup_json struct json_object *joined = json_object_new_object();
    bool ok = joined != NULL && json_add_string(joined, NODE_JOINED, node_id(node));
    error_set(&err, ERROR_INTERNAL, "out of memory");
    follower->routes_are_stale =
        !ok || !follower_maps_read(&follower->provisioner, &err) || !node_send(node, NODE_LEADER, joined, &err);
    if (follower->routes_are_stale && !was_told) {
        log_warning(NULL, "read the routes anew: %s (tried again)", err.message);
    }
}

static void on_reread(void *argument) {
    struct follower *follower = argument;
    identities_reread(&follower->provisioner);
    reread_routes(follower);
    node_calls_repeat(follower->calls, false);
}

static void on_announced(void *argument, char kind, const char *text) {
    struct follower *follower = argument;
    switch (kind) {
    case ANNOUNCE_ROUTE:
        follower_maps_put(&follower->provisioner, text);
        break;
    case ANNOUNCE_NO_ROUTE:
        map_remove(follower->provisioner.routes, text);
        break;
    case ANNOUNCE_ROUTES:
        reread_routes(follower);
        break;
    case ANNOUNCE_IDENTITY:
        identities_learn(&follower->provisioner, text);
        break;
    case ANNOUNCE_IDENTITIES:
        identities_reread(&follower->provisioner);
        break;
    default:
        break;
    }
}

static void on_message(void *argument, struct json_object *message) {
    struct follower *follower = argument;
    if (!node_calls_take(follower->calls, message)) {
        survey_answer(&follower->provisioner, message);
    }
}

static void on_leader_changed(void *argument) {
    struct follower *follower = argument;
    node_calls_repeat(follower->calls, true);
}

static void on_beat(void *argument) {
    struct follower *follower = argument;
    identities_reread_if_stale(&follower->provisioner);
    if (follower->routes_are_stale) {
        reread_routes(follower);
    }
    report(follower);
    node_calls_tend(follower->calls, clock_monotonic_ms());
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

static void on_flush_timer(evutil_socket_t fd, short what, void *argument) {
    struct follower *follower = argument;
    struct error err;
    (void)fd;
    (void)what;
    if (!audit_flush(&follower->provisioner, &err)) {
        log_error(NULL, "%s (tried again)", err.message);
    }
}

static bool open_all(struct follower *follower, struct error *err) {
    const struct timeval interval = {.tv_sec = ACTIVITY_FLUSH_SECONDS};
    struct provisioner *provisioner = &follower->provisioner;
    if (!front_open_store(provisioner, err) || !front_open_vault(provisioner, err)) {
        return false;
    }
    provisioner->backlog = backlog_open(provisioner->run_dir, err);
    if (provisioner->backlog == NULL || !audit_load_backlog(provisioner, err) ||
        !front_open_haproxy(provisioner, err) || !front_open_server(provisioner, handle, err)) {
        return false;
    }
    follower->calls = node_calls_open(provisioner->node);
    follower->flush_timer = event_new(provisioner->base, -1, EV_PERSIST, on_flush_timer, follower);
    return (follower->calls != NULL && follower->flush_timer != NULL &&
            event_add(follower->flush_timer, &interval) == 0) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

struct follower *follower_open(const struct settings *settings, const struct backend_operations *operations,
                               struct event_base *base, struct node *node, struct error *err) {
    struct follower *follower = calloc(1, sizeof *follower);
    if (follower == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    follower->provisioner =
        (struct provisioner){.settings = settings, .operations = operations, .base = base, .node = node};
    if (!open_all(follower, err)) {
        follower_close(follower);
        return NULL;
    }
    const struct node_role role = {
        .argument = follower,
        .elected = on_elected,
        .unfit = on_unfit,
        .reread = on_reread,
        .announced = on_announced,
        .message = on_message,
        .leader_changed = on_leader_changed,
        .beat = on_beat,
    };
    node_set_role(node, &role);
    ipc_server_set_handler(node_server(node), handle, follower);
    follower->routes_are_stale = true; /* until the first beat, which reads them */
    return follower;
}

const struct error *follower_problem(const struct follower *follower) {
    return follower->problem.code == ERROR_NONE ? NULL : &follower->problem;
}

struct node_calls *follower_take_calls(struct follower *follower) {
    struct node_calls *calls = follower->calls;
    follower->calls = NULL;
    return calls;
}

void follower_close(struct follower *follower) {
    struct provisioner *provisioner = &follower->provisioner;
    provisioner->is_closing = true;
    node_set_role(provisioner->node, NULL);
    if (follower->flush_timer != NULL) {
        event_free(follower->flush_timer);
    }
    node_calls_close(follower->calls);
    json_object_put(follower->unreported);
    front_close_server(provisioner);
    front_close_haproxy(provisioner);
    survey_free_all(provisioner);
    audit_free_staged(provisioner);
    backlog_close(provisioner->backlog);
    front_close_store(provisioner);
    free(follower);
}
