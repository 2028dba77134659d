#include "gate/activity.h"

#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1 /* uthash would exit() */
#include <uthash.h>

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/ipc.h"

#define KEYS_A_MESSAGE 10000 /* 67 bytes each: below IPC_REQUEST_MAX_BYTES */

struct activity_route {
    char key[DIGEST_HEX_SIZE];
    unsigned exchanges; /* under way */
    bool exchanged;     /* an exchange was under way since the last report */
    bool stream_moved;  /* a WebSocket moved bytes since then */
    UT_hash_handle hh;
};

struct activity {
    struct provisioner_client *provisioner;
    struct event timer;
    struct activity_route *routes;
    int64_t streams;
    int64_t streams_reported;
};

/* One message of a report. */
struct message {
    struct json_object *routes; /* with an exchange */
    struct json_object *shells; /* with a WebSocket that moved bytes; a route may be in both */
    size_t keys;
};

static bool message_begin(struct message *message) {
    *message = (struct message){json_object_new_array(), json_object_new_array(), 0};
    return message->routes != NULL && message->shells != NULL;
}

/* Takes the lists over. NULL: no memory. */
static struct json_object *message_end(const struct activity *activity, struct message *message) {
    cleanup_json struct json_object *request = ipc_request("activity");
    bool ok = request != NULL && message->routes != NULL && message->shells != NULL &&
              json_add(request, "routes", json_object_get(message->routes)) &&
              json_add(request, "shells", json_object_get(message->shells)) &&
              json_add_int(request, "websockets", activity->streams);
    json_object_put(message->routes);
    json_object_put(message->shells);
    return ok ? steal_pointer(&request) : NULL;
}

static void message_send(struct activity *activity, struct message *message) {
    provisioner_client_tell(activity->provisioner, message_end(activity, message), false);
}

/* By its reports the provisioner knows the gate: without one it would call a gate that nobody has used yet away. */
static struct json_object *greet(void *context) {
    struct message message;
    message_begin(&message);
    return message_end(context, &message);
}

static bool add_key(struct message *message, struct json_object *list, const char *route_key) {
    struct json_object *key = json_object_new_string(route_key);
    if (key == NULL || json_object_array_add(list, key) != 0) {
        json_object_put(key);
        return false;
    }
    message->keys++;
    return true;
}

/* Routes are added until a message is full. */
static void report(struct activity *activity) {
    struct message message;
    bool ok = message_begin(&message);
    struct activity_route *route;
    struct activity_route *next;
    HASH_ITER(hh, activity->routes, route, next) {
        ok = ok && (!(route->exchanged || route->exchanges > 0) || add_key(&message, message.routes, route->key)) &&
             (!route->stream_moved || add_key(&message, message.shells, route->key));
        if (!ok) {
            break; /* the rest stays for the next report */
        }
        route->exchanged = route->stream_moved = false;
        if (route->exchanges == 0) {
            HASH_DEL(activity->routes, route);
            free(route);
        }
        if (message.keys >= KEYS_A_MESSAGE - 1) {
            message_send(activity, &message);
            ok = message_begin(&message);
        }
    }
    message_send(activity, &message);
    activity->streams_reported = activity->streams;
}

static void on_timer(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct activity *activity = context;
    bool has_news = activity->routes != NULL || activity->streams != activity->streams_reported;
    if ((has_news || activity->streams > 0) && provisioner_client_is_connected(activity->provisioner)) {
        report(activity);
    }
}

struct activity *activity_new(struct event_base *base, struct provisioner_client *provisioner) {
    struct activity *activity = calloc(1, sizeof *activity);
    if (activity == NULL) {
        return NULL;
    }
    activity->provisioner = provisioner;
    struct timeval second = {.tv_sec = 1};
    if (event_assign(&activity->timer, base, -1, EV_PERSIST, on_timer, activity) != 0 ||
        event_add(&activity->timer, &second) != 0) {
        free(activity);
        return NULL;
    }
    provisioner_client_greet_with(provisioner, greet, activity);
    return activity;
}

void activity_free(struct activity *activity) {
    if (activity == NULL) {
        return;
    }
    struct activity_route *route;
    struct activity_route *next;
    HASH_ITER(hh, activity->routes, route, next) {
        HASH_DEL(activity->routes, route);
        free(route);
    }
    event_del(&activity->timer);
    free(activity);
}

static struct activity_route *find_or_add(struct activity *activity, const char *route_key) {
    struct activity_route *route = NULL;
    if (strlen(route_key) != DIGEST_HEX_LENGTH) {
        return NULL;
    }
    HASH_FIND_STR(activity->routes, route_key, route);
    if (route != NULL) {
        return route;
    }
    route = calloc(1, sizeof *route);
    if (route == NULL) {
        return NULL;
    }
    memcpy(route->key, route_key, DIGEST_HEX_SIZE);
    HASH_ADD_STR(activity->routes, key, route);
    if (route->hh.tbl == NULL) {
        free(route);
        return NULL;
    }
    return route;
}

struct activity_route *activity_exchange_begin(struct activity *activity, const char *route_key) {
    struct activity_route *route = find_or_add(activity, route_key);
    if (route != NULL) {
        route->exchanges++;
        route->exchanged = true;
    }
    return route;
}

void activity_exchange_end(struct activity_route *route) {
    if (route != NULL) {
        route->exchanges--;
    }
}

void activity_stream_opened(struct activity *activity) {
    activity->streams++;
}

void activity_stream_closed(struct activity *activity) {
    activity->streams--;
}

void activity_stream_moved(struct activity *activity, const char *route_key) {
    struct activity_route *route = find_or_add(activity, route_key);
    if (route != NULL) {
        route->stream_moved = true;
    }
}
