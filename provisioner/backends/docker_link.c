#include "provisioner/backends/docker_link.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/backends/docker_network.h"
#include "provisioner/backends/docker_paths.h"

#define STEP_TIMEOUT_MS 10000
#define RETRY_MIN_MS    50
#define RETRY_MAX_MS    1000
/* {"type":["container"],"label":["app.kubernetes.io/managed-by=terminals"]} */
#define EVENTS_PATH                                                                                                    \
    "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22label%22%3A%5B%22app.kubernetes.io%2Fmanaged-by"       \
    "%3Dterminals%22%5D%7D"

struct docker_link {
    struct docker_engine *engine;
    struct docker_link_callbacks callbacks;
    bool makes_network;
    enum docker_link_state state;
    struct docker_call *step; /* towards UP */
    struct docker_network_call *network;
    struct docker_call *events;
    struct event *retry_timer;
    int retry_ms;
    int64_t cpus;
    int64_t engine_time_ms;             /* what its clock said when it was asked what it is like */
    char own_container[DOCKER_ID_SIZE]; /* the container we run in; "": none */
    struct json_object *mounts;         /* of that container, as the engine tells; NULL: none, or unknown to it */
    struct error problem;               /* why it is not UP */
};

static void step_version(struct docker_link *link);

/* --- state -------------------------------------------------------------------------------------------------------- */

static void drop_calls(struct docker_link *link) {
    docker_call_cancel(link->step);
    docker_call_cancel(link->events);
    docker_network_cancel(link->network);
    link->step = link->events = NULL;
    link->network = NULL;
}

static void set_state(struct docker_link *link, enum docker_link_state state) {
    if (link->state != state) {
        link->state = state;
        link->callbacks.changed(link->callbacks.argument, state);
    }
}

static void go_away(struct docker_link *link, const struct error *why) {
    drop_calls(link);
    if (link->state != DOCKER_LINK_AWAY) {
        log_error(NULL, "%s: instances that run go on, new ones have to wait", why->message);
    }
    link->problem = *why;
    const struct timeval pause = {link->retry_ms / 1000, link->retry_ms % 1000 * 1000};
    link->retry_ms = link->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : link->retry_ms * 2;
    if (evtimer_add(link->retry_timer, &pause) != 0) {
        log_error(NULL, "no timer to ask the Docker engine again: out of memory");
    }
    set_state(link, DOCKER_LINK_AWAY);
}

static void give_up(struct docker_link *link, const struct docker_answer *answer, const char *what) {
    struct error err;
    docker_answer_error(answer, &err, "%s", what);
    err.code = ERROR_CAPACITY; /* whatever it said, it cannot be worked with now */
    go_away(link, &err);
}

static void out_of_memory(struct docker_link *link) {
    struct error err;
    error_set(&err, ERROR_CAPACITY, "ask the Docker engine: out of memory");
    go_away(link, &err);
}

static void on_retry(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    step_version(argument);
}

/* --- events ------------------------------------------------------------------------------------------------------- */

bool docker_event_read(struct json_object *json, struct docker_event *out) {
    struct json_object *actor = json_get_object(json, "Actor");
    struct json_object *attributes = json_get_object(actor, "Attributes");
    const char *exit_code = json_get_string(attributes, "exitCode");
    *out = (struct docker_event){
        .action = json_get_string(json, "Action"),
        .container_id = json_get_string(actor, "ID"),
        .exit_code = exit_code == NULL ? -1 : strtol(exit_code, NULL, 10),
    };
    docker_labels_read(attributes, &out->labels);
    return out->action != NULL && out->container_id != NULL && out->labels.is_managed;
}

static void on_event_line(void *argument, char *line, size_t length) {
    struct docker_link *link = argument;
    struct docker_event event;
    cleanup_json struct json_object *json = json_parse_object(line, length, NULL);
    if (docker_event_read(json, &event)) {
        link->callbacks.event(link->callbacks.argument, &event);
    }
}

static void on_events_end(void *argument, const struct docker_answer *answer) {
    struct docker_link *link = argument;
    link->events = NULL;
    if (answer->status != 200 && answer->status != 0) {
        give_up(link, answer, "listen to what happens to containers");
        return;
    }
    log_warning(NULL, "the Docker engine ended the stream of events: %s",
                answer->status == 0 ? answer->failure : "it stops");
    drop_calls(link);
    set_state(link, DOCKER_LINK_CONNECTING);
    step_version(link);
}

static void go_up(struct docker_link *link) {
    char path[sizeof EVENTS_PATH + 64];
    /* From a moment that is past: what happens between now and when the engine has this request is not lost. */
    snprintf(path, sizeof path, "%s&since=%" PRId64 ".%03d", EVENTS_PATH, link->engine_time_ms / 1000,
             (int)(link->engine_time_ms % 1000));
    const struct docker_request request = {.method = "GET", .path = path, .line = on_event_line};
    link->events = docker_call_start(link->engine, &request, on_events_end, link);
    if (link->events == NULL) {
        out_of_memory(link);
        return;
    }
    log_info(NULL, "connected to the Docker engine");
    link->retry_ms = RETRY_MIN_MS;
    set_state(link, DOCKER_LINK_UP);
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

static bool step(struct docker_link *link, const char *path, bool without_version, docker_done *done) {
    const struct docker_request request = {
        .method = "GET", .path = path, .timeout_ms = STEP_TIMEOUT_MS, .without_version = without_version};
    link->step = docker_call_start(link->engine, &request, done, link);
    if (link->step == NULL) {
        out_of_memory(link);
    }
    return link->step != NULL;
}

static void on_network(void *argument, const struct error *problem) {
    struct docker_link *link = argument;
    link->network = NULL;
    if (problem != NULL) {
        struct error err = *problem;
        err.code = ERROR_CAPACITY;
        go_away(link, &err);
        return;
    }
    go_up(link);
}

static void step_network(struct docker_link *link) {
    if (!link->makes_network) {
        go_up(link);
        return;
    }
    link->network = docker_network_ensure(link->engine, on_network, link);
    if (link->network == NULL) {
        out_of_memory(link);
    }
}

static void on_own_container(void *argument, const struct docker_answer *answer) {
    struct docker_link *link = argument;
    link->step = NULL;
    if (answer->status == 404) {
        log_warning(NULL, "we run in a container that this Docker engine does not know: paths are taken as they are");
    } else if (answer->status != 200) {
        give_up(link, answer, "look at our own container");
        return;
    } else {
        json_object_put(link->mounts);
        link->mounts = json_object_get(json_get_array(answer->json, "Mounts"));
    }
    step_network(link);
}

static void on_info(void *argument, const struct docker_answer *answer) {
    struct docker_link *link = argument;
    char path[DOCKER_ID_SIZE + 32];
    link->step = NULL;
    if (answer->status != 200) {
        give_up(link, answer, "ask what the Docker engine is like");
        return;
    }
    link->cpus = json_get_int(answer->json, "NCPU", 0);
    const char *engine_time = json_get_string(answer->json, "SystemTime");
    if (engine_time == NULL || !clock_parse_rfc3339(engine_time, &link->engine_time_ms)) {
        link->engine_time_ms = clock_unix_ms();
    }
    if (link->own_container[0] == '\0') {
        step_network(link);
        return;
    }
    snprintf(path, sizeof path, "/containers/%s/json", link->own_container);
    step(link, path, false, on_own_container);
}

static void on_version(void *argument, const struct docker_answer *answer) {
    struct docker_link *link = argument;
    link->step = NULL;
    if (answer->status != 200) {
        give_up(link, answer, "ask the Docker engine's version");
        return;
    }
    docker_engine_set_version(link->engine, json_get_string(answer->json, "ApiVersion"),
                              json_get_string(answer->json, "MinAPIVersion"));
    step(link, "/info", false, on_info);
}

static void step_version(struct docker_link *link) {
    step(link, "/version", true, on_version);
}

/* --- open, close, questions --------------------------------------------------------------------------------------- */

struct docker_link *docker_link_open(struct docker_engine *engine, struct event_base *base, bool makes_network,
                                     const struct docker_link_callbacks *callbacks) {
    struct docker_link *link = calloc(1, sizeof *link);
    if (link == NULL) {
        return NULL;
    }
    link->engine = engine;
    link->callbacks = *callbacks;
    link->makes_network = makes_network;
    link->retry_ms = RETRY_MIN_MS;
    link->state = DOCKER_LINK_CONNECTING;
    error_set(&link->problem, ERROR_CAPACITY, "the Docker engine has not answered yet");
    if (!docker_paths_own_container(link->own_container)) {
        link->own_container[0] = '\0';
    }
    link->retry_timer = evtimer_new(base, on_retry, link);
    if (link->retry_timer == NULL) {
        free(link);
        return NULL;
    }
    const struct timeval now = {0, 0};
    evtimer_add(link->retry_timer, &now); /* from the event loop: `changed` must find its owner open */
    return link;
}

void docker_link_close(struct docker_link *link) {
    if (link == NULL) {
        return;
    }
    drop_calls(link);
    event_free(link->retry_timer);
    json_object_put(link->mounts);
    free(link);
}

enum docker_link_state docker_link_state(const struct docker_link *link) {
    return link->state;
}

void docker_link_away_error(const struct docker_link *link, struct error *err) {
    *err = link->problem;
}

int64_t docker_link_cpus(const struct docker_link *link) {
    return link->cpus;
}

char *docker_link_translate(const struct docker_link *link, const char *path, struct error *err) {
    if (link->mounts != NULL) {
        return docker_paths_translate(link->mounts, path, err);
    }
    char *copy = strdup(path);
    if (copy == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return copy;
}
