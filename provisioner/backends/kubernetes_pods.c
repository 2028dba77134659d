#include "provisioner/backends/kubernetes_pods.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

#define LIST_TIMEOUT_MS 60000
#define RETRY_MIN_MS    50
#define RETRY_MAX_MS    2000
/* labelSelector=app.kubernetes.io/managed-by=terminals */
#define SELECTOR     "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dterminals"
#define PAGE_QUERY   "?" SELECTOR "&limit=500"
#define WATCH_QUERY  "?" SELECTOR "&watch=true&allowWatchBookmarks=true&timeoutSeconds=290"
#define VERSION_SIZE 128

struct kubernetes_pods {
    struct kubernetes_client *client;
    struct kubernetes_pods_callbacks callbacks;
    enum kubernetes_link_state state;
    struct kubernetes_pod *pods;   /* by name */
    struct kubernetes_pod *listed; /* while a list is under way: what it has told so far */
    struct kubernetes_call *list;
    struct kubernetes_call *watch;
    char version[VERSION_SIZE]; /* up to which everything is known; "": a list is needed */
    int64_t list_began_ms;
    bool has_expired; /* the watch says that its version is too old */
    struct event *retry_timer;
    int retry_ms;
    struct error problem; /* why it is not UP */
};

static void begin_list(struct kubernetes_pods *pods, const char *continuation);
static void begin_watch(struct kubernetes_pods *pods);

/* --- state -------------------------------------------------------------------------------------------------------- */

static void set_state(struct kubernetes_pods *pods, enum kubernetes_link_state state) {
    if (pods->state != state) {
        pods->state = state;
        pods->callbacks.changed(pods->callbacks.argument, state);
    }
}

static void free_all(struct kubernetes_pod **table) {
    struct kubernetes_pod *pod = NULL;
    struct kubernetes_pod *next = NULL;
    HASH_ITER(hh, *table, pod, next) {
        HASH_DEL(*table, pod);
        kubernetes_pod_free(pod);
    }
}

static void drop_calls(struct kubernetes_pods *pods) {
    kubernetes_call_cancel(pods->list);
    kubernetes_call_cancel(pods->watch);
    pods->list = pods->watch = NULL;
    free_all(&pods->listed);
}

static void try_later(struct kubernetes_pods *pods) {
    const struct timeval pause = {pods->retry_ms / 1000, pods->retry_ms % 1000 * 1000};
    pods->retry_ms = pods->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : pods->retry_ms * 2;
    if (evtimer_add(pods->retry_timer, &pause) != 0) {
        log_error(NULL, "no timer to ask the Kubernetes API server again: out of memory");
    }
}

static void go_away(struct kubernetes_pods *pods, const struct error *why) {
    drop_calls(pods);
    if (pods->state != KUBERNETES_LINK_AWAY) {
        log_error(NULL, "%s: instances that run go on, new ones have to wait", why->message);
    }
    pods->version[0] = '\0'; /* a list is answered at once, a watch only when something happens */
    pods->problem = *why;
    pods->problem.code = ERROR_CAPACITY; /* whatever it said, it cannot be worked with now */
    try_later(pods);
    set_state(pods, KUBERNETES_LINK_AWAY);
}

static void give_up(struct kubernetes_pods *pods, const struct kubernetes_answer *answer, const char *what) {
    struct error err;
    kubernetes_answer_error(answer, &err, what);
    go_away(pods, &err);
}

static void out_of_memory(struct kubernetes_pods *pods) {
    struct error err;
    error_set(&err, ERROR_CAPACITY, "ask the Kubernetes API server: out of memory");
    go_away(pods, &err);
}

static void on_retry(evutil_socket_t fd, short what, void *argument) {
    struct kubernetes_pods *pods = argument;
    (void)fd;
    (void)what;
    if (pods->version[0] == '\0') {
        begin_list(pods, NULL);
    } else {
        begin_watch(pods);
    }
}

static void go_up(struct kubernetes_pods *pods) {
    if (pods->state != KUBERNETES_LINK_UP) {
        log_info(NULL, "connected to the Kubernetes API server");
    }
    pods->retry_ms = RETRY_MIN_MS;
    set_state(pods, KUBERNETES_LINK_UP);
}

/* --- one pod ------------------------------------------------------------------------------------------------------ */

/* Takes over `pod`. */
static void put(struct kubernetes_pods *pods, struct kubernetes_pod *pod) {
    struct kubernetes_pod *old = NULL;
    HASH_FIND_STR(pods->pods, pod->name, old);
    if (old != NULL) {
        HASH_DEL(pods->pods, old);
    }
    /* Before anybody is told: whoever looks for the name finds the new one. */
    HASH_ADD_STR(pods->pods, name, pod);
    if (old != NULL && strcmp(old->uid, pod->uid) != 0) {
        pods->callbacks.pod(pods->callbacks.argument, old, true);
    }
    kubernetes_pod_free(old);
    pods->callbacks.pod(pods->callbacks.argument, pod, false);
}

/* The same, of one that is not there any more. */
static void take_away(struct kubernetes_pods *pods, struct kubernetes_pod *pod) {
    struct kubernetes_pod *old = NULL;
    HASH_FIND_STR(pods->pods, pod->name, old);
    if (old != NULL && strcmp(old->uid, pod->uid) == 0) {
        HASH_DEL(pods->pods, old);
        kubernetes_pod_free(old);
    }
    pods->callbacks.pod(pods->callbacks.argument, pod, true);
    kubernetes_pod_free(pod);
}

/* --- the list ----------------------------------------------------------------------------------------------------- */

/* What was there and is not listed is gone; the rest is told as it is now. */
static void end_list(struct kubernetes_pods *pods) {
    struct kubernetes_pod *listed = pods->listed;
    struct kubernetes_pod *pod = NULL;
    struct kubernetes_pod *next = NULL;
    pods->listed = NULL;
    HASH_ITER(hh, pods->pods, pod, next) {
        struct kubernetes_pod *now = NULL;
        HASH_FIND_STR(listed, pod->name, now);
        if (now == NULL) {
            HASH_DEL(pods->pods, pod);
            pods->callbacks.pod(pods->callbacks.argument, pod, true);
            kubernetes_pod_free(pod);
        }
    }
    HASH_ITER(hh, listed, pod, next) {
        HASH_DEL(listed, pod);
        put(pods, pod);
    }
}

static void take_page(struct kubernetes_pods *pods, struct json_object *items) {
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        struct kubernetes_pod *pod = kubernetes_pod_read(json_object_array_get_idx(items, i));
        struct kubernetes_pod *old = NULL;
        if (pod == NULL) {
            continue;
        }
        HASH_FIND_STR(pods->listed, pod->name, old);
        if (old != NULL) {
            HASH_DEL(pods->listed, old);
            kubernetes_pod_free(old);
        }
        HASH_ADD_STR(pods->listed, name, pod);
    }
}

static void on_list(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_pods *pods = argument;
    struct json_object *metadata = json_get_object(answer->json, "metadata");
    const char *version = json_get_string(metadata, "resourceVersion");
    const char *continuation = json_get_string(metadata, "continue");
    struct json_object *items = json_get_array(answer->json, "items");
    pods->list = NULL;
    if (answer->status == 410) {
        free_all(&pods->listed);
        try_later(pods); /* its pages have expired meanwhile: from the first again */
        return;
    }
    if (answer->status != 200 || items == NULL || version == NULL || strlen(version) >= sizeof pods->version) {
        give_up(pods, answer, "list pods");
        return;
    }
    take_page(pods, items);
    if (continuation != NULL && continuation[0] != '\0') {
        begin_list(pods, continuation);
        return;
    }
    snprintf(pods->version, sizeof pods->version, "%s", version);
    end_list(pods);
    begin_watch(pods);
    if (pods->watch != NULL) {
        go_up(pods);
        pods->callbacks.listed(pods->callbacks.argument, pods->list_began_ms);
    }
}

static void begin_list(struct kubernetes_pods *pods, const char *continuation) {
    cleanup_buffer struct buffer query = {0};
    buffer_append_string(&query, PAGE_QUERY);
    if (continuation == NULL) {
        free_all(&pods->listed);
        pods->version[0] = '\0';
        pods->list_began_ms = clock_monotonic_ms();
    } else {
        buffer_append_format(&query, "&continue=%s", continuation); /* unpadded base64url: nothing to escape */
    }
    const struct kubernetes_request request = {
        .method = "GET", .kind = "pods", .query = query.data, .timeout_ms = LIST_TIMEOUT_MS};
    pods->list = query.failed ? NULL : kubernetes_call_start(pods->client, &request, on_list, pods);
    if (pods->list == NULL) {
        out_of_memory(pods);
    }
}

/* --- the watch ---------------------------------------------------------------------------------------------------- */

static void on_line(void *argument, char *line, size_t length) {
    struct kubernetes_pods *pods = argument;
    cleanup_json struct json_object *event = json_parse_object(line, length, NULL);
    struct json_object *object = json_get_object(event, "object");
    const char *type = json_get_string(event, "type");
    if (type == NULL || object == NULL) {
        log_warning(NULL, "a line of the watch of pods is no event");
        return;
    }
    if (strcmp(type, "ERROR") == 0) {
        pods->has_expired = true; /* a Status, 410 as a rule: whatever it is, only a list helps */
        return;
    }
    go_up(pods);
    const char *version = json_get_string(json_get_object(object, "metadata"), "resourceVersion");
    if (version != NULL && strlen(version) < sizeof pods->version) {
        snprintf(pods->version, sizeof pods->version, "%s", version);
    }
    if (strcmp(type, "BOOKMARK") == 0) {
        return;
    }
    struct kubernetes_pod *pod = kubernetes_pod_read(object);
    if (pod == NULL) {
        log_warning(NULL, "a pod of the watch cannot be read");
    } else if (strcmp(type, "DELETED") == 0) {
        take_away(pods, pod);
    } else {
        put(pods, pod);
    }
}

static void on_watch_end(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_pods *pods = argument;
    pods->watch = NULL;
    if (answer->status == 410 || pods->has_expired) {
        log_debug(NULL, "the watch of pods has expired: they are listed anew");
        pods->version[0] = '\0';
        begin_list(pods, NULL);
    } else if (answer->status == 200) {
        go_up(pods);
        begin_watch(pods); /* every watch ends after some minutes */
    } else if (answer->status == 0 && pods->state == KUBERNETES_LINK_UP && pods->retry_ms == RETRY_MIN_MS) {
        log_debug(NULL, "the watch of pods broke off: %s", answer->failure);
        try_later(pods); /* once, before it counts as away */
    } else {
        give_up(pods, answer, "watch pods");
    }
}

static void begin_watch(struct kubernetes_pods *pods) {
    cleanup_buffer struct buffer query = {0};
    buffer_append_string(&query, WATCH_QUERY "&resourceVersion=");
    buffer_append_string(&query, pods->version);
    const struct kubernetes_request request = {.method = "GET", .kind = "pods", .query = query.data, .line = on_line};
    pods->has_expired = false;
    pods->watch = query.failed ? NULL : kubernetes_call_start(pods->client, &request, on_watch_end, pods);
    if (pods->watch == NULL) {
        out_of_memory(pods);
    }
}

/* --- open, close, questions --------------------------------------------------------------------------------------- */

struct kubernetes_pods *kubernetes_pods_open(struct kubernetes_client *client, struct event_base *base,
                                             const struct kubernetes_pods_callbacks *callbacks) {
    struct kubernetes_pods *pods = calloc(1, sizeof *pods);
    if (pods == NULL) {
        return NULL;
    }
    pods->client = client;
    pods->callbacks = *callbacks;
    pods->retry_ms = RETRY_MIN_MS;
    pods->state = KUBERNETES_LINK_CONNECTING;
    error_set(&pods->problem, ERROR_CAPACITY, "the Kubernetes API server has not answered yet");
    pods->retry_timer = evtimer_new(base, on_retry, pods);
    if (pods->retry_timer == NULL) {
        free(pods);
        return NULL;
    }
    const struct timeval now = {0, 0};
    evtimer_add(pods->retry_timer, &now); /* from the event loop: the callbacks must find their owner open */
    return pods;
}

void kubernetes_pods_close(struct kubernetes_pods *pods) {
    if (pods == NULL) {
        return;
    }
    drop_calls(pods);
    event_free(pods->retry_timer);
    free_all(&pods->pods);
    free(pods);
}

enum kubernetes_link_state kubernetes_pods_state(const struct kubernetes_pods *pods) {
    return pods->state;
}

void kubernetes_pods_away_error(const struct kubernetes_pods *pods, struct error *err) {
    *err = pods->problem;
}

const struct kubernetes_pod *kubernetes_pods_find(const struct kubernetes_pods *pods, const char *name) {
    struct kubernetes_pod *pod = NULL;
    HASH_FIND_STR(pods->pods, name, pod);
    return pod;
}

void kubernetes_pods_each(struct kubernetes_pods *pods, void (*each)(void *argument, const struct kubernetes_pod *pod),
                          void *argument) {
    struct kubernetes_pod *pod = NULL;
    struct kubernetes_pod *next = NULL;
    HASH_ITER(hh, pods->pods, pod, next) {
        each(argument, pod);
    }
}
