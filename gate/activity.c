#include "gate/activity.h"

#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1 /* uthash would exit() */
#include <uthash.h>

#include "common/digest.h"
#include "common/ipc.h"

#define ROUTES_A_MESSAGE 10000 /* 67 bytes each: below IPC_REQUEST_MAX_BYTES */

struct activity_route {
    char key[DIGEST_HEX_SIZE];
    unsigned exchanges; /* under way; an entry without any is reported once more, then dropped */
    UT_hash_handle hh;
};

struct activity {
    struct provisioner_client *provisioner;
    struct event timer;
    struct activity_route *routes;
    int64_t streams;
    int64_t streams_reported;
};

/* The messages of a report: routes are added until one is full. */
static void tell(struct activity *activity, struct json_object *keys) {
    struct json_object *message = ipc_request("activity");
    if (message == NULL) {
        json_object_put(keys);
        return;
    }
    if (!json_add(message, "routes", keys) || !json_add_int(message, "websockets", activity->streams)) {
        json_object_put(message);
        return;
    }
    provisioner_client_tell(activity->provisioner, message, false);
}

static void report(struct activity *activity) {
    struct json_object *keys = json_object_new_array();
    struct activity_route *route;
    struct activity_route *next;
    HASH_ITER(hh, activity->routes, route, next) {
        struct json_object *key = json_object_new_string(route->key);
        if (keys == NULL || key == NULL || json_object_array_add(keys, key) != 0) {
            json_object_put(key);
            break; /* the rest stays for the next report */
        }
        if (route->exchanges == 0) {
            HASH_DEL(activity->routes, route);
            free(route);
        }
        if (json_object_array_length(keys) == ROUTES_A_MESSAGE) {
            tell(activity, keys);
            keys = json_object_new_array();
        }
    }
    if (keys != NULL) {
        tell(activity, keys);
    }
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
    find_or_add(activity, route_key); /* being in the table is the mark */
}
