#include "provisioner/backends/docker_instance.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/secret.h"
#include "provisioner/backends/docker_create.h"
#include "provisioner/backends/docker_logs.h"
#include "provisioner/backends/docker_network.h"
#include "provisioner/backends/docker_warm.h"

#define STOP_GRACE_S     3
#define ADOPT_TIMEOUT_MS 10000
#define BLIND_TIMEOUT_MS 2000 /* for an adoption while the engine is away: it answers where it did, or not */
#define CHECK_TIMEOUT_MS 2000
#define RETRY_MIN_MS     50
#define RETRY_MAX_MS     5000
#define LOG_LINES        "5"
#define LOG_TEXT_SIZE    360

static void step_remove(struct docker_instance *instance);
static void on_timer(evutil_socket_t fd, short what, void *argument);

/* --- entries ------------------------------------------------------------------------------------------------------ */

const char *docker_instance_container(const struct docker_instance *instance) {
    return instance->spec.instance_name;
}

static void free_texts(struct instance_spec *spec) {
    free((char *)spec->instance_name);
    free((char *)spec->user_id);
    free((char *)spec->policy_id);
    free((char *)spec->context_id);
    secret_free((char *)spec->key);
    free((char *)spec->home);
}

bool docker_instance_set_spec(struct docker_instance *instance, const struct instance_spec *spec) {
    struct instance_spec copy = {
        .instance_id = instance->id,
        .instance_name = strdup(spec->instance_name),
        .user_id = strdup(spec->user_id),
        .policy_id = strdup(spec->policy_id),
        .context_id = strdup(spec->context_id),
        .key = strdup(spec->key),
        .home = spec->home == NULL ? NULL : strdup(spec->home),
    };
    if (copy.instance_name == NULL || copy.user_id == NULL || copy.policy_id == NULL || copy.context_id == NULL ||
        copy.key == NULL || (copy.home == NULL && spec->home != NULL)) {
        free_texts(&copy);
        return false;
    }
    if (instance->spec.policy != NULL) {
        json_object_put(instance->policy.data);
    }
    free_texts(&instance->spec);
    if (spec->policy != NULL) {
        instance->policy = *spec->policy;
        json_object_get(instance->policy.data); /* the rest is borrowed from it */
        copy.policy = &instance->policy;
    }
    instance->spec = copy;
    if (spec->host != NULL && strlen(spec->host) < sizeof instance->address.host) {
        strcpy(instance->address.host, spec->host);
        instance->address.port = spec->port;
    }
    return true;
}

struct docker_instance *docker_instance_new(struct backend *backend, const struct instance_spec *spec) {
    struct docker_instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        return NULL;
    }
    instance->backend = backend;
    instance->exit_code = -1;
    snprintf(instance->id, sizeof instance->id, "%s", spec->instance_id);
    HASH_ADD_STR(backend->instances, id, instance);
    instance->timer = evtimer_new(backend->base, on_timer, instance);
    if (!docker_instance_set_spec(instance, spec) || instance->timer == NULL) {
        docker_instance_free(instance);
        return NULL;
    }
    return instance;
}

/* Leaves what is under way alone: the engine may finish it. */
static void drop_calls(struct docker_instance *instance) {
    docker_call_cancel(instance->call);
    docker_pull_leave(instance->pull);
    docker_network_cancel(instance->network);
    health_probe_cancel(instance->probe);
    evtimer_del(instance->timer);
    instance->call = NULL;
    instance->pull = NULL;
    instance->network = NULL;
    instance->probe = NULL;
}

void docker_instance_free(struct docker_instance *instance) {
    if (instance->timer != NULL) {
        drop_calls(instance);
        event_free(instance->timer);
    }
    docker_warm_cancel(instance);
    docker_instance_set_container(instance, "");
    HASH_DEL(instance->backend->instances, instance);
    waiting_checks_drop(&instance->checks);
    if (instance->spec.policy != NULL) {
        json_object_put(instance->policy.data);
    }
    free_texts(&instance->spec);
    free(instance->image_user);
    free(instance->image_id);
    explicit_bzero(&instance->address, sizeof instance->address);
    free(instance);
}

struct docker_instance *docker_instance_find(struct backend *backend, const char *id) {
    struct docker_instance *instance = NULL;
    HASH_FIND_STR(backend->instances, id, instance);
    return instance;
}

struct docker_instance *docker_instance_of_container(struct backend *backend, const char *container_id) {
    struct docker_instance *instance = NULL;
    HASH_FIND(by_container, backend->with_containers, container_id, strlen(container_id), instance);
    return instance;
}

void docker_instance_set_container(struct docker_instance *instance, const char *container_id) {
    struct backend *backend = instance->backend;
    if (instance->container_id[0] != '\0') {
        HASH_DELETE(by_container, backend->with_containers, instance);
    }
    snprintf(instance->container_id, sizeof instance->container_id, "%s", container_id);
    if (instance->container_id[0] != '\0') {
        HASH_ADD(by_container, backend->with_containers, container_id, (unsigned)strlen(instance->container_id),
                 instance);
    }
}

void docker_instance_set_timer(struct docker_instance *instance, int after_ms) {
    const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000};
    if (evtimer_add(instance->timer, &after) != 0) {
        log_error(NULL, "container `%s`: no timer: out of memory", docker_instance_container(instance));
    }
}

bool docker_instance_call(struct docker_instance *instance, const struct docker_request *request, docker_done *done) {
    instance->call = docker_call_start(instance->backend->engine, request, done, instance);
    if (instance->call == NULL) {
        struct error err;
        error_set(&err, ERROR_INTERNAL, "ask the Docker engine: out of memory");
        if (instance->state == DOCKER_STOPPING || instance->state == DOCKER_REMOVING) {
            log_error(NULL, "%s", err.message);
            docker_instance_set_timer(instance, RETRY_MAX_MS);
        } else {
            docker_instance_fail(instance, &err);
        }
    }
    return instance->call != NULL;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

/* Nothing of it is left, or what is left is for the roundup: tells the outcome, as the last thing. */
static void forget(struct docker_instance *instance) {
    struct backend *backend = instance->backend;
    enum docker_outcome outcome = instance->outcome;
    struct error failure = instance->failure;
    char id[DOCKER_INSTANCE_ID_SIZE];
    memcpy(id, instance->id, sizeof id);
    docker_instance_free(instance);
    if (outcome == DOCKER_OUTCOME_FAILED) {
        backend->events.failed(backend->events.owner, id, &failure);
    } else if (outcome == DOCKER_OUTCOME_STOPPED) {
        backend->events.stopped(backend->events.owner, id);
    }
}

static void retry_later(struct docker_instance *instance) {
    int pause_ms = RETRY_MIN_MS << (instance->tries < 7 ? instance->tries : 7);
    instance->tries++;
    docker_instance_set_timer(instance, pause_ms < RETRY_MAX_MS ? pause_ms : RETRY_MAX_MS);
}

static void on_removed(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    struct error err;
    instance->call = NULL;
    if (answer->status == 204 || answer->status == 404) {
        forget(instance);
    } else if (answer->status == 0 && instance->outcome != DOCKER_OUTCOME_STOPPED) {
        forget(instance); /* nobody shall wait for the engine to come back: the roundup deals with the rest */
    } else {
        /* 409: somebody is removing it already. Else it is busy: it goes on being tried, as nothing else can be done.
         */
        if (answer->status != 409 && instance->tries % 10 == 3) {
            docker_answer_error(answer, &err, "remove container `%s`", docker_instance_container(instance));
            log_warning(NULL, "%s (tried again)", err.message);
        }
        retry_later(instance);
    }
}

static void step_remove(struct docker_instance *instance) {
    char path[DOCKER_ID_SIZE + 32];
    instance->state = DOCKER_REMOVING;
    if (instance->container_id[0] == '\0') {
        forget(instance);
        return;
    }
    snprintf(path, sizeof path, "/containers/%s?force=1&v=1", instance->container_id);
    const struct docker_request request = {.method = "DELETE", .path = path, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    docker_instance_call(instance, &request, on_removed);
}

static void on_stopped(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    instance->call = NULL;
    if (answer->status == 0) {
        retry_later(instance); /* the engine is away: what runs may go on running, so it is not stopped */
        return;
    }
    instance->tries = 0;
    step_remove(instance);
}

static void step_stop(struct docker_instance *instance) {
    char path[DOCKER_ID_SIZE + 32];
    instance->state = DOCKER_STOPPING;
    if (instance->container_id[0] == '\0') {
        forget(instance);
        return;
    }
    snprintf(path, sizeof path, "/containers/%s/stop?t=%d", instance->container_id, STOP_GRACE_S);
    const struct docker_request request = {.method = "POST", .path = path, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    docker_instance_call(instance, &request, on_stopped);
}

void docker_instance_stop(struct docker_instance *instance) {
    instance->outcome = DOCKER_OUTCOME_STOPPED;
    if (instance->state == DOCKER_STOPPING || instance->state == DOCKER_REMOVING) {
        return; /* it is on its way */
    }
    docker_warm_fail(instance);
    waiting_checks_answer(&instance->checks, false);
    if (instance->call != NULL && (instance->state == DOCKER_CREATING || instance->state == DOCKER_STARTING)) {
        instance->is_stop_wanted = true; /* only when that is answered it is known what there is to stop */
        return;
    }
    drop_calls(instance);
    instance->tries = 0;
    step_stop(instance);
}

void docker_instance_fail(struct docker_instance *instance, const struct error *err) {
    drop_calls(instance);
    instance->outcome = DOCKER_OUTCOME_FAILED;
    instance->failure = *err;
    instance->tries = 0;
    step_remove(instance);
}

bool docker_instance_may_go_on(struct docker_instance *instance) {
    instance->call = NULL;
    if (instance->is_stop_wanted) {
        instance->is_stop_wanted = false;
        step_stop(instance);
        return false;
    }
    if (instance->has_ended && instance->container_id[0] != '\0' && instance->state != DOCKER_CREATING) {
        instance->has_ended = false;
        docker_instance_ended(instance, instance->exit_code, NULL);
        return false;
    }
    return true;
}

/* --- it has ended by itself --------------------------------------------------------------------------------------- */

static void describe_end(const struct docker_instance *instance, const char *reason, char *text, size_t size) {
    if (reason != NULL) {
        snprintf(text, size, "%s", reason);
    } else if (instance->exit_code >= 0) {
        snprintf(text, size, "its container ended with status %" PRId64, instance->exit_code);
    } else {
        snprintf(text, size, "its container is gone");
    }
}

static void on_logs(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    char text[LOG_TEXT_SIZE] = "";
    char end[96];
    struct error err;
    instance->call = NULL;
    if (answer->status == 200) {
        docker_logs_join(answer->body, answer->length, text, sizeof text);
    }
    describe_end(instance, NULL, end, sizeof end);
    error_set(&err, ERROR_BACKEND, "%s%s%s", end, text[0] == '\0' ? "" : ": ", text);
    docker_instance_fail(instance, &err);
}

/* Before it was ready: its last words say why. */
static void step_logs(struct docker_instance *instance) {
    char path[DOCKER_ID_SIZE + 64];
    snprintf(path, sizeof path, "/containers/%s/logs?stdout=1&stderr=1&tail=" LOG_LINES, instance->container_id);
    const struct docker_request request = {.method = "GET", .path = path, .timeout_ms = DOCKER_LOOK_TIMEOUT_MS};
    instance->state = DOCKER_LOGS;
    docker_instance_call(instance, &request, on_logs);
}

/* It was ready and is not any more; what is left of it is removed without anybody waiting. */
static void end_ready(struct docker_instance *instance, const char *reason) {
    const struct backend_events *events = &instance->backend->events;
    char id[DOCKER_INSTANCE_ID_SIZE];
    char text[160];
    memcpy(id, instance->id, sizeof id);
    describe_end(instance, reason, text, sizeof text);
    docker_warm_fail(instance);
    drop_calls(instance);
    instance->state = DOCKER_REMOVING;
    instance->outcome = DOCKER_OUTCOME_SAID;
    instance->tries = 0;
    events->gone(events->owner, id, text);
    waiting_checks_answer(&instance->checks, false);
    step_remove(instance);
}

void docker_instance_ended(struct docker_instance *instance, int64_t exit_code, const char *reason) {
    instance->exit_code = exit_code;
    switch (instance->state) {
    case DOCKER_READY:
        end_ready(instance, reason);
        break;
    case DOCKER_STARTING:
    case DOCKER_CREATING:
        if (instance->call != NULL) {
            instance->has_ended = true;
            break;
        }
        /* fall through */
    case DOCKER_LOOKING:
    case DOCKER_PROBING:
    case DOCKER_ADOPTING:
        drop_calls(instance);
        step_logs(instance);
        break;
    default: /* nothing of it runs, or it is being ended anyway */
        break;
    }
}

void docker_instance_paused(struct docker_instance *instance) {
    const struct backend_events *events = &instance->backend->events;
    char id[DOCKER_INSTANCE_ID_SIZE];
    if (instance->state != DOCKER_READY) {
        return;
    }
    memcpy(id, instance->id, sizeof id);
    docker_warm_fail(instance);
    drop_calls(instance);
    waiting_checks_answer(&instance->checks, false);
    docker_instance_free(instance);
    events->gone(events->owner, id, "its container was paused");
}

/* --- it answers --------------------------------------------------------------------------------------------------- */

static void become_ready(struct docker_instance *instance) {
    const struct backend_events *events = &instance->backend->events;
    struct instance_address address = instance->address;
    snprintf(address.key, sizeof address.key, "%s", instance->spec.key);
    instance->state = DOCKER_READY;
    instance->tries = 0;
    events->ready(events->owner, instance->id, &address);
    explicit_bzero(&address, sizeof address);
}

static void on_probed(void *argument, const struct error *err) {
    struct docker_instance *instance = argument;
    struct error refusal;
    instance->probe = NULL;
    if (instance->state == DOCKER_READY) {
        if (err == NULL) {
            waiting_checks_answer(&instance->checks, true);
        } else {
            end_ready(instance, "it runs but does not answer");
        }
    } else if (err == NULL && docker_warm_may_be_ready(instance, &refusal)) {
        become_ready(instance);
    } else if (err == NULL) {
        docker_instance_fail(instance, &refusal);
    } else {
        docker_instance_fail(instance, err);
    }
}

static void start_probe(struct docker_instance *instance, int timeout_ms) {
    struct error err;
    instance->probe = health_probe_start(instance->backend->base, instance->address.host, instance->address.port,
                                         instance->spec.key, timeout_ms, on_probed, instance);
    if (instance->probe == NULL) {
        error_set(&err, ERROR_INTERNAL, "out of memory or descriptors");
        docker_instance_fail(instance, &err);
    }
}

void docker_instance_probe(struct docker_instance *instance, const struct docker_container *container) {
    const struct settings *settings = instance->backend->settings;
    char network[DOCKER_NETWORK_NAME_SIZE];
    struct error err;
    instance->pid = container->pid;
    docker_create_network(settings, instance->spec.instance_name, network);
    /* What others made is not published as we would. */
    bool published = settings->docker_publish != NULL && container->labels.deployment != NULL;
    if (!docker_container_address(container, published, network, &instance->address, &err)) {
        docker_instance_fail(instance, &err);
        return;
    }
    instance->state = DOCKER_PROBING;
    start_probe(instance, instance->is_adoption ? ADOPT_TIMEOUT_MS : (int)settings->start_timeout_seconds * 1000);
}

/* --- adoption ----------------------------------------------------------------------------------------------------- */

static void not_adopted(struct docker_instance *instance, enum error_code code, const char *why) {
    struct error err;
    error_set(&err, code, "%s", why);
    docker_instance_fail(instance, &err);
}

/* Without removing anything: what is there is not this instance. */
static void not_there(struct docker_instance *instance, const char *why) {
    docker_instance_set_container(instance, "");
    not_adopted(instance, ERROR_BACKEND, why);
}

/* The engine is away: whoever answers where the instance did, and to its key, is it. */
static void adopt_blindly(struct docker_instance *instance) {
    if (instance->address.port == 0) {
        struct error err;
        docker_link_away_error(instance->backend->link, &err);
        docker_instance_set_container(instance, "");
        docker_instance_fail(instance, &err);
        return;
    }
    instance->state = DOCKER_PROBING;
    start_probe(instance, BLIND_TIMEOUT_MS);
}

static bool is_this_instance(const struct docker_instance *instance, const struct docker_container *container) {
    const char *id = container->labels.instance_id;
    bool is_known = instance->container_id[0] != '\0'; /* written down: then it need not carry our id */
    bool carries_id = id != NULL && strcmp(id, instance->id) == 0;
    if (container->labels.is_warm) { /* nobody's, or somebody's whom its labels cannot name: it is its id that tells */
        return is_known && carries_id && container->labels.is_managed;
    }
    return docker_labels_match(&container->labels, &instance->spec) && (is_known || carries_id);
}

static void on_adopted(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    struct docker_container container;
    instance->call = NULL;
    if (answer->status == 404) {
        not_there(instance, "its container is gone");
    } else if (answer->status == 0) {
        adopt_blindly(instance);
    } else if (answer->status != 200 || !docker_container_read(answer->json, &container)) {
        struct error err;
        docker_answer_error(answer, &err, "look at its container");
        docker_instance_set_container(instance, "");
        docker_instance_fail(instance, &err);
    } else if (!is_this_instance(instance, &container)) {
        not_there(instance, "it never had a container");
    } else if (container.is_paused) {
        not_there(instance, "its container is paused");
    } else {
        docker_instance_set_container(instance, container.id);
        if (container.is_running) {
            docker_instance_probe(instance, &container);
        } else {
            not_adopted(instance, ERROR_BACKEND, "its container does not run");
        }
    }
}

static void step_adopt(struct docker_instance *instance) {
    char path[NAME_FOLDER_SIZE + 32];
    const char *name = instance->container_id[0] != '\0' ? instance->container_id : docker_instance_container(instance);
    snprintf(path, sizeof path, "/containers/%s/json", name);
    const struct docker_request request = {.method = "GET", .path = path, .timeout_ms = DOCKER_LOOK_TIMEOUT_MS};
    instance->state = DOCKER_ADOPTING;
    docker_instance_call(instance, &request, on_adopted);
}

void docker_instance_adopt(struct docker_instance *instance) {
    enum docker_link_state state = docker_link_state(instance->backend->link);
    instance->is_adoption = true;
    if (state == DOCKER_LINK_AWAY) {
        adopt_blindly(instance);
    } else if (state == DOCKER_LINK_UP) {
        step_adopt(instance);
    } /* else WAITING */
}

void docker_instance_link_changed(struct docker_instance *instance) {
    if (instance->state != DOCKER_WAITING || docker_link_state(instance->backend->link) == DOCKER_LINK_CONNECTING) {
        return;
    }
    if (instance->is_adoption) {
        docker_instance_adopt(instance);
    } else {
        docker_instance_start(instance);
    }
}

/* --- check, timer ------------------------------------------------------------------------------------------------- */

void docker_instance_check(struct docker_instance *instance, void (*checked)(void *argument, bool alive),
                           void *argument) {
    if (!waiting_checks_add(&instance->checks, checked, argument)) {
        checked(argument, true); /* we cannot look: no reason to give up what was fine a moment ago */
        return;
    }
    if (instance->probe == NULL) {
        instance->probe = health_probe_start(instance->backend->base, instance->address.host, instance->address.port,
                                             instance->spec.key, CHECK_TIMEOUT_MS, on_probed, instance);
    }
    if (instance->probe == NULL) {
        waiting_checks_answer(&instance->checks, true);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *argument) {
    struct docker_instance *instance = argument;
    (void)fd;
    (void)what;
    switch (instance->state) {
    case DOCKER_STOPPING:
        step_stop(instance);
        break;
    case DOCKER_REMOVING:
        step_remove(instance);
        break;
    case DOCKER_CLEARING: /* the name was still taken a moment ago */
        docker_start_create(instance);
        break;
    default:
        break;
    }
}
