#include "provisioner/backends/kubernetes_watch.h"

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
#define WATCH_QUERY     "watch=true&allowWatchBookmarks=true&timeoutSeconds=290"
#define PAGE_QUERY      "limit=500"

struct kubernetes_watch {
    struct kubernetes_client *client;
    struct kubernetes_watch_kind kind;
    struct kubernetes_watch_callbacks callbacks;
    enum kubernetes_link_state state;
    struct kubernetes_item *items;  /* by name */
    struct kubernetes_item *listed; /* while a list is under way: what it has told so far */
    struct kubernetes_call *list;
    struct kubernetes_call *call;
    char version[KUBERNETES_VERSION_SIZE]; /* up to which everything is known; "": a list is needed */
    int64_t list_began_ms;
    bool has_expired; /* the watch says that its version is too old */
    struct event *retry_timer;
    int retry_ms;
    struct error problem; /* why it is not UP */
};

static void begin_list(struct kubernetes_watch *watch, const char *continuation);
static void begin_watch(struct kubernetes_watch *watch);

/* --- state -------------------------------------------------------------------------------------------------------- */

static void set_state(struct kubernetes_watch *watch, enum kubernetes_link_state state) {
    if (watch->state != state) {
        watch->state = state;
        watch->callbacks.changed(watch->callbacks.argument, state);
    }
}

static void free_item(struct kubernetes_watch *watch, struct kubernetes_item *item) {
    if (item != NULL) {
        watch->kind.free(item);
    }
}

static void free_all(struct kubernetes_watch *watch, struct kubernetes_item **table) {
    struct kubernetes_item *item = NULL;
    struct kubernetes_item *next = NULL;
    HASH_ITER(hh, *table, item, next) {
        HASH_DEL(*table, item);
        free_item(watch, item);
    }
}

static void drop_calls(struct kubernetes_watch *watch) {
    kubernetes_call_cancel(watch->list);
    kubernetes_call_cancel(watch->call);
    watch->list = watch->call = NULL;
    free_all(watch, &watch->listed);
}

static void try_later(struct kubernetes_watch *watch) {
    const struct timeval pause = {watch->retry_ms / 1000, watch->retry_ms % 1000 * 1000};
    watch->retry_ms = watch->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : watch->retry_ms * 2;
    if (evtimer_add(watch->retry_timer, &pause) != 0) {
        log_error(NULL, "no timer to ask the Kubernetes API server again: out of memory");
    }
}

static void go_away(struct kubernetes_watch *watch, const struct error *why) {
    drop_calls(watch);
    if (watch->state != KUBERNETES_LINK_AWAY) {
        log_error(NULL, "%s: instances that run go on, new ones have to wait", why->message);
    }
    watch->version[0] = '\0'; /* a list is answered at once, a watch only when something happens */
    watch->problem = *why;
    watch->problem.code = ERROR_CAPACITY; /* whatever it said, it cannot be worked with now */
    try_later(watch);
    set_state(watch, KUBERNETES_LINK_AWAY);
}

static void give_up(struct kubernetes_watch *watch, const struct kubernetes_answer *answer, const char *verb) {
    struct error err;
    char what[64];
    snprintf(what, sizeof what, "%s %s", verb, watch->kind.kind);
    kubernetes_answer_error(answer, &err, what);
    go_away(watch, &err);
}

static void out_of_memory(struct kubernetes_watch *watch) {
    struct error err;
    error_set(&err, ERROR_CAPACITY, "ask the Kubernetes API server: out of memory");
    go_away(watch, &err);
}

static void on_retry(evutil_socket_t fd, short what, void *argument) {
    struct kubernetes_watch *watch = argument;
    (void)fd;
    (void)what;
    if (watch->version[0] == '\0') {
        begin_list(watch, NULL);
    } else {
        begin_watch(watch);
    }
}

static void go_up(struct kubernetes_watch *watch) {
    if (watch->state != KUBERNETES_LINK_UP) {
        log_info(NULL, "connected to the Kubernetes API server: watching %s", watch->kind.kind);
    }
    watch->retry_ms = RETRY_MIN_MS;
    set_state(watch, KUBERNETES_LINK_UP);
}

/* --- one item ----------------------------------------------------------------------------------------------------- */

/* Resource versions are numbers that grow (KEP-5504); "" is 0. */
static unsigned long long number_of(const char *version) {
    return strtoull(version, NULL, 10);
}

/* An event may be older than what we have been answered. */
static bool is_older(const struct kubernetes_item *item, const struct kubernetes_item *than) {
    return strcmp(item->uid, than->uid) == 0 && item->version[0] != '\0' &&
           number_of(item->version) < number_of(than->version);
}

/* Takes over `item`. */
static void put(struct kubernetes_watch *watch, struct kubernetes_item *item) {
    struct kubernetes_item *old = NULL;
    HASH_FIND_STR(watch->items, item->name, old);
    if (old != NULL && is_older(item, old)) {
        free_item(watch, item);
        return;
    }
    if (old != NULL) {
        HASH_DEL(watch->items, old);
    }
    /* Before anybody is told: whoever looks for the name finds the new one. */
    HASH_ADD_STR(watch->items, name, item);
    if (old != NULL && strcmp(old->uid, item->uid) != 0) {
        watch->callbacks.item(watch->callbacks.argument, old, true);
    }
    free_item(watch, old);
    watch->callbacks.item(watch->callbacks.argument, item, false);
}

/* The same, of one that is not there any more. */
static void take_away(struct kubernetes_watch *watch, struct kubernetes_item *item) {
    struct kubernetes_item *old = NULL;
    HASH_FIND_STR(watch->items, item->name, old);
    if (old != NULL && strcmp(old->uid, item->uid) == 0) {
        HASH_DEL(watch->items, old);
        free_item(watch, old);
    }
    watch->callbacks.item(watch->callbacks.argument, item, true);
    free_item(watch, item);
}

/* --- the list ----------------------------------------------------------------------------------------------------- */

/* What was there and is not listed is gone, unless we were answered that it is younger than the list
 * (kubernetes_watch_note); the rest is told as it is now. */
static void end_list(struct kubernetes_watch *watch) {
    struct kubernetes_item *listed = watch->listed;
    struct kubernetes_item *item = NULL;
    struct kubernetes_item *next = NULL;
    watch->listed = NULL;
    HASH_ITER(hh, watch->items, item, next) {
        struct kubernetes_item *now = NULL;
        HASH_FIND_STR(listed, item->name, now);
        if (now == NULL && number_of(item->version) <= number_of(watch->version)) {
            HASH_DEL(watch->items, item);
            watch->callbacks.item(watch->callbacks.argument, item, true);
            free_item(watch, item);
        }
    }
    HASH_ITER(hh, listed, item, next) {
        HASH_DEL(listed, item);
        put(watch, item);
    }
}

static void take_page(struct kubernetes_watch *watch, struct json_object *items) {
    for (size_t i = 0; i < json_object_array_length(items); i++) {
        struct kubernetes_item *item = watch->kind.read(json_object_array_get_idx(items, i));
        struct kubernetes_item *old = NULL;
        if (item == NULL) {
            continue;
        }
        HASH_FIND_STR(watch->listed, item->name, old);
        if (old != NULL) {
            HASH_DEL(watch->listed, old);
            free_item(watch, old);
        }
        HASH_ADD_STR(watch->listed, name, item);
    }
}

static void on_list(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_watch *watch = argument;
    struct json_object *metadata = json_get_object(answer->json, "metadata");
    const char *version = json_get_string(metadata, "resourceVersion");
    const char *continuation = json_get_string(metadata, "continue");
    struct json_object *items = json_get_array(answer->json, "items");
    watch->list = NULL;
    if (answer->status == 410) {
        free_all(watch, &watch->listed);
        try_later(watch); /* its pages have expired meanwhile: from the first again */
        return;
    }
    if (answer->status != 200 || items == NULL || version == NULL || strlen(version) >= sizeof watch->version) {
        give_up(watch, answer, "list");
        return;
    }
    take_page(watch, items);
    if (continuation != NULL && continuation[0] != '\0') {
        begin_list(watch, continuation);
        return;
    }
    snprintf(watch->version, sizeof watch->version, "%s", version);
    end_list(watch);
    begin_watch(watch);
    if (watch->call != NULL) {
        go_up(watch);
        watch->callbacks.listed(watch->callbacks.argument, watch->list_began_ms);
    }
}

static void append_selector(struct buffer *query, const struct kubernetes_watch *watch, const char *rest) {
    const char *selector = watch->kind.selector;
    buffer_append_format(query, "?%s%s%s", selector == NULL ? "" : selector, selector == NULL ? "" : "&", rest);
}

static void begin_list(struct kubernetes_watch *watch, const char *continuation) {
    cleanup_buffer struct buffer query = {0};
    append_selector(&query, watch, PAGE_QUERY);
    if (continuation == NULL) {
        free_all(watch, &watch->listed);
        watch->version[0] = '\0';
        watch->list_began_ms = clock_monotonic_ms();
    } else {
        buffer_append_format(&query, "&continue=%s", continuation); /* unpadded base64url: nothing to escape */
    }
    const struct kubernetes_request request = {.method = "GET",
                                               .api = watch->kind.api,
                                               .kind = watch->kind.kind,
                                               .query = query.data,
                                               .form = watch->kind.is_metadata_only ? KUBERNETES_METADATA_LIST
                                                                                    : KUBERNETES_WHOLE,
                                               .timeout_ms = LIST_TIMEOUT_MS};
    watch->list = query.failed ? NULL : kubernetes_call_start(watch->client, &request, on_list, watch);
    if (watch->list == NULL) {
        out_of_memory(watch);
    }
}

/* --- the watch ---------------------------------------------------------------------------------------------------- */

static void on_line(void *argument, char *line, size_t length) {
    struct kubernetes_watch *watch = argument;
    cleanup_json struct json_object *event = json_parse_object(line, length, NULL);
    struct json_object *object = json_get_object(event, "object");
    const char *type = json_get_string(event, "type");
    if (type == NULL || object == NULL) {
        log_warning(NULL, "a line of the watch of %s is no event", watch->kind.kind);
        return;
    }
    if (strcmp(type, "ERROR") == 0) {
        watch->has_expired = true; /* a Status, 410 as a rule: whatever it is, only a list helps */
        return;
    }
    go_up(watch);
    const char *version = json_get_string(json_get_object(object, "metadata"), "resourceVersion");
    if (version != NULL && strlen(version) < sizeof watch->version) {
        snprintf(watch->version, sizeof watch->version, "%s", version);
    }
    if (strcmp(type, "BOOKMARK") == 0) {
        return;
    }
    struct kubernetes_item *item = watch->kind.read(object);
    if (item == NULL) {
        log_warning(NULL, "one of the watched %s cannot be read", watch->kind.kind);
    } else if (strcmp(type, "DELETED") == 0) {
        take_away(watch, item);
    } else {
        put(watch, item);
    }
}

static void on_watch_end(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_watch *watch = argument;
    watch->call = NULL;
    if (answer->status == 410 || watch->has_expired) {
        log_debug(NULL, "the watch of %s has expired: they are listed anew", watch->kind.kind);
        watch->version[0] = '\0';
        begin_list(watch, NULL);
    } else if (answer->status == 200) {
        go_up(watch);
        begin_watch(watch); /* every watch ends after some minutes */
    } else if (answer->status == 0 && watch->state == KUBERNETES_LINK_UP && watch->retry_ms == RETRY_MIN_MS) {
        log_debug(NULL, "the watch of %s broke off: %s", watch->kind.kind, answer->failure);
        try_later(watch); /* once, before it counts as away */
    } else {
        give_up(watch, answer, "watch");
    }
}

static void begin_watch(struct kubernetes_watch *watch) {
    cleanup_buffer struct buffer query = {0};
    append_selector(&query, watch, WATCH_QUERY "&resourceVersion=");
    buffer_append_string(&query, watch->version);
    const struct kubernetes_request request = {.method = "GET",
                                               .api = watch->kind.api,
                                               .kind = watch->kind.kind,
                                               .query = query.data,
                                               .form = watch->kind.is_metadata_only ? KUBERNETES_METADATA
                                                                                    : KUBERNETES_WHOLE,
                                               .line = on_line};
    watch->has_expired = false;
    watch->call = query.failed ? NULL : kubernetes_call_start(watch->client, &request, on_watch_end, watch);
    if (watch->call == NULL) {
        out_of_memory(watch);
    }
}

/* --- open, close, questions --------------------------------------------------------------------------------------- */

bool kubernetes_item_read(struct kubernetes_item *item, struct json_object *metadata) {
    const char *name = json_get_string(metadata, "name");
    const char *uid = json_get_string(metadata, "uid");
    const char *version = json_get_string(metadata, "resourceVersion");
    version = version == NULL ? "" : version;
    if (name == NULL || uid == NULL || strlen(name) >= sizeof item->name || strlen(uid) >= sizeof item->uid ||
        strlen(version) >= sizeof item->version) {
        return false;
    }
    strcpy(item->name, name);
    strcpy(item->uid, uid);
    strcpy(item->version, version);
    return true;
}

struct kubernetes_watch *kubernetes_watch_open(struct kubernetes_client *client, struct event_base *base,
                                               const struct kubernetes_watch_kind *kind,
                                               const struct kubernetes_watch_callbacks *callbacks) {
    struct kubernetes_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        return NULL;
    }
    watch->client = client;
    watch->kind = *kind;
    watch->callbacks = *callbacks;
    watch->retry_ms = RETRY_MIN_MS;
    watch->state = KUBERNETES_LINK_CONNECTING;
    error_set(&watch->problem, ERROR_CAPACITY, "the Kubernetes API server has not answered yet");
    watch->retry_timer = evtimer_new(base, on_retry, watch);
    if (watch->retry_timer == NULL) {
        free(watch);
        return NULL;
    }
    const struct timeval now = {0, 0};
    evtimer_add(watch->retry_timer, &now); /* from the event loop: the callbacks must find their owner open */
    return watch;
}

void kubernetes_watch_close(struct kubernetes_watch *watch) {
    if (watch == NULL) {
        return;
    }
    drop_calls(watch);
    event_free(watch->retry_timer);
    free_all(watch, &watch->items);
    free(watch);
}

enum kubernetes_link_state kubernetes_watch_state(const struct kubernetes_watch *watch) {
    return watch->state;
}

void kubernetes_watch_away_error(const struct kubernetes_watch *watch, struct error *err) {
    *err = watch->problem;
}

const struct kubernetes_item *kubernetes_watch_find(const struct kubernetes_watch *watch, const char *name) {
    struct kubernetes_item *item = NULL;
    HASH_FIND_STR(watch->items, name, item);
    return item;
}

void kubernetes_watch_each(struct kubernetes_watch *watch,
                           void (*each)(void *argument, const struct kubernetes_item *item), void *argument) {
    struct kubernetes_item *item = NULL;
    struct kubernetes_item *next = NULL;
    HASH_ITER(hh, watch->items, item, next) {
        each(argument, item);
    }
}

void kubernetes_watch_note(struct kubernetes_watch *watch, struct json_object *json) {
    struct kubernetes_item *item = json == NULL ? NULL : watch->kind.read(json);
    struct kubernetes_item *old = NULL;
    if (item == NULL) {
        return;
    }
    if (number_of(item->version) <= number_of(watch->version)) {
        free_item(watch, item); /* that has been told, and perhaps that it is gone since */
        return;
    }
    HASH_FIND_STR(watch->items, item->name, old);
    if (old != NULL) {
        HASH_DEL(watch->items, old);
        free_item(watch, old);
    }
    HASH_ADD_STR(watch->items, name, item);
}
