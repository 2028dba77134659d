#include "provisioner/node_calls.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "provisioner/leader.h"

#define ANSWER_MAX_MS (15 * 60 * 1000LL) /* longer than any call takes */

struct pending {
    int64_t id;
    struct ipc_call *call;
    struct json_object *request;
    bool is_sent;
    int64_t sent_ms; /* last */
    int64_t since_ms;
    struct pending *prev, *next;
};

struct node_calls {
    struct node *node;
    int64_t last_id;
    struct pending *list;
};

/* Operations that may be done twice: they read, or say how something is to be. */
static bool may_be_repeated(struct json_object *request) {
    static const char *const names[] = {
        "resolve",      "lookup",      "recover",       "tenant_create",    "tenant_list",   "tenant_get",
        "tenant_start", "tenant_stop", "policy_list",   "policy_get",       "policy_update", "lifecycle_get",
        "status",       "stats",       "stats_history", "terminal_list",    "terminal_open", "terminal_stop",
        "config",       "audit_list",  "openapi",       "lifecycle_update", "reap",
    };
    const char *name = json_get_string(request, "op");
    for (size_t i = 0; name != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes it off the list and frees it; the call is the caller's. */
static struct ipc_call *end(struct node_calls *calls, struct pending *pending) {
    struct ipc_call *call = pending->call;
    DL_DELETE(calls->list, pending);
    json_object_put(pending->request);
    free(pending);
    return call;
}

static void fail(struct node_calls *calls, struct pending *pending, const char *why) {
    struct error err;
    error_set(&err, ERROR_CAPACITY, "%s", why);
    ipc_call_fail(end(calls, pending), &err);
}

static bool send_one(struct node_calls *calls, struct pending *pending) {
    struct error err;
    cleanup_json struct json_object *message = json_object_new_object();
    pending->sent_ms = clock_monotonic_ms();
    pending->is_sent = message != NULL && json_add_int(message, NODE_CALL, pending->id) &&
                       json_add_string(message, "node", node_id(calls->node)) &&
                       json_add(message, "request", json_object_get(pending->request)) &&
                       node_send(calls->node, NODE_LEADER, message, &err);
    return pending->is_sent;
}

static bool is_hopeless(const struct node_calls *calls, int64_t now_ms) {
    return now_ms - node_led_ms(calls->node) >= NODE_CALLS_PATIENCE_MS;
}

/* A leader that is still at it does nothing about the second message. */
static bool is_to_be_sent(const struct pending *pending, int64_t now_ms) {
    return !pending->is_sent || (now_ms - pending->sent_ms >= NODE_CALLS_AGAIN_MS && may_be_repeated(pending->request));
}

void node_calls_forward(struct node_calls *calls, struct ipc_call *call, struct json_object *request) {
    struct error err;
    struct pending *pending = is_hopeless(calls, clock_monotonic_ms()) ? NULL : calloc(1, sizeof *pending);
    if (pending == NULL) {
        error_set(&err, ERROR_CAPACITY, "no node leads, or the database is away: try again later");
        ipc_call_fail(call, &err);
        return;
    }
    *pending = (struct pending){
        .id = ++calls->last_id, .call = call, .request = json_object_get(request), .since_ms = clock_monotonic_ms()};
    DL_APPEND(calls->list, pending);
    send_one(calls, pending);
}

bool node_calls_take(struct node_calls *calls, struct json_object *message) {
    int64_t id = json_get_int(message, NODE_ANSWER, -1);
    struct json_object *body = json_get_object(message, "body");
    struct pending *pending = NULL;
    if (id < 0) {
        return false;
    }
    DL_SEARCH_SCALAR(calls->list, pending, id, id);
    if (pending != NULL && body != NULL) {
        ipc_call_pass_on(end(calls, pending), json_object_get(body));
    }
    return true;
}

void node_calls_repeat(struct node_calls *calls, bool is_other) {
    struct pending *pending;
    struct pending *next;
    DL_FOREACH_SAFE(calls->list, pending, next) {
        if (!pending->is_sent || may_be_repeated(pending->request)) {
            send_one(calls, pending);
        } else if (is_other) {
            fail(calls, pending, "the node that was doing this is gone: look how far it came");
        }
    }
}

void node_calls_tend(struct node_calls *calls, int64_t now_ms) {
    struct pending *pending;
    struct pending *next;
    bool goes = true;
    DL_FOREACH_SAFE(calls->list, pending, next) {
        if (is_hopeless(calls, now_ms) || now_ms - pending->since_ms >= ANSWER_MAX_MS) {
            fail(calls, pending, "no node leads, or the database is away: try again later");
        } else if (goes && is_to_be_sent(pending, now_ms)) {
            goes = send_one(calls, pending);
        }
    }
}

void node_calls_hand_over(struct node_calls *calls,
                          void (*handle)(void *argument, struct ipc_call *call, struct json_object *request),
                          void *argument) {
    while (calls->list != NULL) {
        struct pending *pending = calls->list;
        if (pending->is_sent && !may_be_repeated(pending->request)) {
            fail(calls, pending, "the node that was doing this is gone: look how far it came");
            continue;
        }
        cleanup_json struct json_object *request = json_object_get(pending->request);
        struct ipc_call *call = end(calls, pending);
        handle(argument, call, request);
    }
}

struct node_calls *node_calls_open(struct node *node) {
    struct node_calls *calls = calloc(1, sizeof *calls);
    if (calls != NULL) {
        /* An answer to a former process of this node is nobody's. */
        *calls = (struct node_calls){.node = node, .last_id = clock_unix_ms() * 1000};
    }
    return calls;
}

void node_calls_close(struct node_calls *calls) {
    if (calls == NULL) {
        return;
    }
    while (calls->list != NULL) {
        fail(calls, calls->list, "Terminals is shutting down");
    }
    free(calls);
}
