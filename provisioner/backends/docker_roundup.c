#include "provisioner/backends/docker_roundup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/backends/docker_create.h"
#include "provisioner/backends/docker_instance.h"

#define LOOKS_AT_ONCE    16
#define PROBE_TIMEOUT_MS 10000
#define LIST_TIMEOUT_MS  120000
#define AGAIN_SECONDS    5
#define ID_RANDOM_BYTES  16
#define LIST_PATH                                                                                                      \
    "/containers/json?all=1&filters=%7B%22label%22%3A%5B%22app.kubernetes.io%2Fmanaged-by%3Dterminals%22%5D%7D"

/* A container that nobody knows. */
struct stranger {
    struct docker_roundup *roundup;
    char container_id[DOCKER_ID_SIZE];
    bool is_ours;  /* carries our deployment's label */
    bool is_begun; /* counts among those looked at */
    char *user_id; /* all these from its labels and environment */
    char *policy_id;
    char *context_id;
    char *instance_id;
    char *key;
    char *name;
    struct instance_address address;
    struct docker_call *call;
    struct health_probe *probe;
    struct stranger *prev, *next;
};

struct docker_roundup {
    struct backend *backend;
    bool is_allowed;
    struct event *again;
    struct docker_call *list;
    struct stranger *strangers;
    size_t looking;
};

static void look_at_more(struct docker_roundup *roundup);

/* --- strangers ---------------------------------------------------------------------------------------------------- */

static void stranger_free(struct stranger *stranger) {
    DL_DELETE(stranger->roundup->strangers, stranger);
    stranger->roundup->looking -= stranger->is_begun;
    docker_call_cancel(stranger->call);
    health_probe_cancel(stranger->probe);
    free(stranger->user_id);
    free(stranger->policy_id);
    free(stranger->context_id);
    free(stranger->instance_id);
    free(stranger->name);
    secret_free(stranger->key);
    explicit_bzero(&stranger->address, sizeof stranger->address);
    free(stranger);
}

static void done_with(struct stranger *stranger) {
    struct docker_roundup *roundup = stranger->roundup;
    stranger_free(stranger);
    look_at_more(roundup);
}

/* Nothing can be said, or done, of it now. */
static void leave_for_later(struct stranger *stranger) {
    docker_roundup_again(stranger->roundup);
    done_with(stranger);
}

static void on_removed(void *argument, const struct docker_answer *answer) {
    struct stranger *stranger = argument;
    struct error err;
    stranger->call = NULL;
    if (answer->status != 204 && answer->status != 404 && answer->status != 409) {
        docker_answer_error(answer, &err, "remove container %.12s", stranger->container_id);
        log_warning(NULL, "%s", err.message);
        leave_for_later(stranger);
        return;
    }
    done_with(stranger);
}

static void remove_it(struct stranger *stranger) {
    char path[DOCKER_ID_SIZE + 32];
    snprintf(path, sizeof path, "/containers/%s?force=1&v=1", stranger->container_id);
    const struct docker_request request = {.method = "DELETE", .path = path, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    stranger->call = docker_call_start(stranger->roundup->backend->engine, &request, on_removed, stranger);
    if (stranger->call == NULL) {
        leave_for_later(stranger);
    }
}

static void on_stopped(void *argument, const struct docker_answer *answer) {
    struct stranger *stranger = argument;
    (void)answer;
    stranger->call = NULL;
    remove_it(stranger);
}

/* Nobody wants it. */
static void send_away(struct stranger *stranger, const char *why) {
    char path[DOCKER_ID_SIZE + 32];
    if (!stranger->is_ours) {
        log_warning(NULL, "container `%s` is left alone: %s", stranger->name, why);
        done_with(stranger);
        return;
    }
    if (!backend_may_end_strangers(&stranger->roundup->backend->events)) {
        leave_for_later(stranger);
        return;
    }
    log_info(NULL, "ending container `%s`, which nobody owns: %s", stranger->name, why);
    snprintf(path, sizeof path, "/containers/%s/stop?t=3", stranger->container_id);
    const struct docker_request request = {.method = "POST", .path = path, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    stranger->call = docker_call_start(stranger->roundup->backend->engine, &request, on_stopped, stranger);
    if (stranger->call == NULL) {
        leave_for_later(stranger);
    }
}

/* Somebody may have started, or taken over, the very same meanwhile. */
static bool is_known(struct backend *backend, const char *container_id, const char *instance_id) {
    return docker_instance_of_container(backend, container_id) != NULL ||
           (instance_id != NULL && docker_instance_find(backend, instance_id) != NULL);
}

/* It answers, or has been silent for so long and runs: the owner decides. */
static void offer(struct stranger *stranger, int silent_ms) {
    struct backend *backend = stranger->roundup->backend;
    struct error err = {0};
    const struct instance_spec spec = {
        .instance_id = stranger->instance_id,
        .instance_name = stranger->name,
        .user_id = stranger->user_id,
        .policy_id = stranger->policy_id,
        .context_id = stranger->context_id,
        .key = stranger->key,
        .home = "/nonexistent",
    };
    if (is_known(backend, stranger->container_id, stranger->instance_id)) {
        done_with(stranger);
        return;
    }
    struct docker_instance *instance = docker_instance_new(backend, &spec);
    if (instance == NULL) {
        leave_for_later(stranger);
        return;
    }
    instance->state = DOCKER_READY;
    instance->is_adoption = true;
    instance->address = stranger->address;
    docker_instance_set_container(instance, stranger->container_id);
    snprintf(stranger->address.key, sizeof stranger->address.key, "%s", stranger->key);
    if (silent_ms > 0) {
        liveness_watch(&instance->liveness, silent_ms);
    }
    if (backend->events.found != NULL &&
        backend->events.found(backend->events.owner, &spec, stranger->container_id, &stranger->address, &err)) {
        done_with(stranger);
        return;
    }
    docker_instance_free(instance);
    if (backend_nobody_wants(&err)) {
        send_away(stranger, err.message);
    } else {
        log_warning(NULL, "container `%s` cannot be adopted at the moment: %s", stranger->name, err.message);
        leave_for_later(stranger);
    }
}

static void on_probed(void *argument, const struct error *err, bool is_refused) {
    struct stranger *stranger = argument;
    stranger->probe = NULL;
    if (err == NULL) {
        offer(stranger, 0);
    } else if (is_refused || !stranger->is_ours) {
        send_away(stranger, err->message);
    } else {
        log_warning(NULL, "container `%s` runs, but %s", stranger->name, err->message);
        offer(stranger, PROBE_TIMEOUT_MS);
    }
}

static bool copy_description(struct stranger *stranger, const struct docker_container *container) {
    const struct docker_labels *labels = &container->labels;
    char id[2 * ID_RANDOM_BYTES + 1];
    const char *instance_id = labels->instance_id;
    if (instance_id == NULL || strlen(instance_id) != 2 * ID_RANDOM_BYTES) {
        if (!digest_random_hex(ID_RANDOM_BYTES, id)) {
            return false;
        }
        instance_id = id;
    }
    stranger->user_id = strdup(labels->user_id);
    stranger->policy_id = strdup(labels->policy_id);
    stranger->context_id = strdup(labels->context_id);
    stranger->instance_id = strdup(instance_id);
    stranger->key = strdup(container->key);
    return stranger->user_id != NULL && stranger->policy_id != NULL && stranger->context_id != NULL &&
           stranger->instance_id != NULL && stranger->key != NULL;
}

/* It runs: does it answer? */
static void probe(struct stranger *stranger, const struct docker_container *container) {
    struct backend *backend = stranger->roundup->backend;
    const struct settings *settings = backend->settings;
    char network[DOCKER_NETWORK_NAME_SIZE];
    struct error err = {0};
    bool has_key = container->key != NULL && strlen(container->key) < sizeof stranger->address.key;
    if (container->labels.user_id == NULL || !has_key) {
        send_away(stranger, has_key ? "it does not say whose it is" : "it has no key");
        return;
    }
    docker_create_network(settings, stranger->name, network);
    bool published = settings->docker_publish != NULL && stranger->is_ours;
    if (!docker_container_address(container, published, network, &stranger->address, &err)) {
        send_away(stranger, err.message);
        return;
    }
    if (copy_description(stranger, container)) {
        stranger->probe = health_probe_start(backend->base, stranger->address.host, stranger->address.port,
                                             stranger->key, PROBE_TIMEOUT_MS, on_probed, stranger);
    }
    if (stranger->probe == NULL) {
        leave_for_later(stranger);
    }
}

static void judge(struct stranger *stranger, const struct docker_container *container) {
    const struct backend *backend = stranger->roundup->backend;
    const struct docker_labels *labels = &container->labels;
    const char *name = json_get_string(container->json, "Name");
    stranger->is_ours = labels->deployment != NULL && strcmp(labels->deployment, backend->deployment) == 0;
    stranger->name = strdup(name == NULL ? stranger->container_id : name + (name[0] == '/'));
    bool is_anothers = labels->deployment != NULL && !stranger->is_ours;
    if (stranger->name == NULL) {
        leave_for_later(stranger);
    } else if (!labels->is_managed || is_anothers ||
               is_known(stranger->roundup->backend, stranger->container_id, labels->instance_id)) {
        done_with(stranger);
    } else if (container->is_paused) {
        log_warning(NULL, "container `%s` is paused, and left alone", stranger->name);
        done_with(stranger);
    } else if (container->is_running) {
        probe(stranger, container);
    } else if (stranger->is_ours) {
        log_info(NULL, "removing container `%s`, which does not run and nobody owns", stranger->name);
        remove_it(stranger);
    } else {
        done_with(stranger); /* of the Python Terminals: replaced when its user comes */
    }
}

static void on_looked(void *argument, const struct docker_answer *answer) {
    struct stranger *stranger = argument;
    struct docker_container container;
    stranger->call = NULL;
    if (answer->status == 200 && docker_container_read(answer->json, &container)) {
        strcpy(stranger->container_id, container.id); /* it may have been asked for by its name, which passes on */
        judge(stranger, &container);
    } else if (answer->status == 404) {
        done_with(stranger);
    } else {
        leave_for_later(stranger);
    }
}

static void look_at_more(struct docker_roundup *roundup) {
    struct stranger *stranger = NULL;
    struct stranger *next = NULL;
    DL_FOREACH_SAFE(roundup->strangers, stranger, next) {
        if (roundup->looking >= LOOKS_AT_ONCE) {
            return;
        }
        if (stranger->is_begun) {
            continue;
        }
        char path[DOCKER_ID_SIZE + 32];
        snprintf(path, sizeof path, "/containers/%s/json", stranger->container_id);
        const struct docker_request request = {.method = "GET", .path = path, .timeout_ms = DOCKER_LOOK_TIMEOUT_MS};
        stranger->is_begun = true;
        roundup->looking++;
        stranger->call = docker_call_start(roundup->backend->engine, &request, on_looked, stranger);
        if (stranger->call == NULL) {
            docker_roundup_again(roundup);
            stranger_free(stranger);
        }
    }
}

void docker_roundup_look(struct docker_roundup *roundup, const char *container) {
    struct stranger *stranger = NULL;
    if (!roundup->is_allowed || strlen(container) >= DOCKER_ID_SIZE) {
        return;
    }
    DL_FOREACH(roundup->strangers, stranger) {
        if (strcmp(stranger->container_id, container) == 0 && !stranger->is_begun) {
            return;
        }
    }
    stranger = calloc(1, sizeof *stranger);
    if (stranger == NULL) {
        docker_roundup_again(roundup);
        return;
    }
    stranger->roundup = roundup;
    strcpy(stranger->container_id, container);
    DL_APPEND(roundup->strangers, stranger);
    look_at_more(roundup);
}

/* --- the list ----------------------------------------------------------------------------------------------------- */

static bool is_being_looked_at(const struct docker_roundup *roundup, const char *container_id) {
    const struct stranger *stranger = NULL;
    DL_FOREACH(roundup->strangers, stranger) {
        if (strcmp(stranger->container_id, container_id) == 0) {
            return true;
        }
    }
    return false;
}

static void compare_one(struct docker_roundup *roundup, struct json_object *entry) {
    struct docker_labels labels;
    const char *id = json_get_string(entry, "Id");
    const char *state = json_get_string(entry, "State");
    if (id == NULL || state == NULL) {
        return;
    }
    docker_labels_read(json_get_object(entry, "Labels"), &labels);
    struct docker_instance *instance = docker_instance_of_container(roundup->backend, id);
    if (instance != NULL) {
        instance->was_unlisted = false;
        if (strcmp(state, "paused") == 0) {
            docker_instance_paused(instance);
        } else if (strcmp(state, "exited") == 0 || strcmp(state, "dead") == 0) {
            docker_instance_ended(instance, -1, NULL);
        }
    } else if (!is_known(roundup->backend, id, labels.instance_id) && !is_being_looked_at(roundup, id)) {
        docker_roundup_look(roundup, id);
    }
}

static void on_list(void *argument, const struct docker_answer *answer) {
    struct docker_roundup *roundup = argument;
    struct docker_instance *instance = NULL;
    struct docker_instance *next = NULL;
    struct error err;
    roundup->list = NULL;
    if (answer->status != 200 || !json_object_is_type(answer->json, json_type_array)) {
        docker_answer_error(answer, &err, "list containers");
        log_warning(NULL, "%s", err.message);
        docker_roundup_again(roundup);
        return;
    }
    for (size_t i = 0; i < json_object_array_length(answer->json); i++) {
        compare_one(roundup, json_object_array_get_idx(answer->json, i));
    }
    HASH_ITER(hh, roundup->backend->instances, instance, next) {
        if (instance->was_unlisted && instance->state == DOCKER_READY) {
            docker_instance_ended(instance, -1, NULL);
        }
    }
}

void docker_roundup_begin(struct docker_roundup *roundup) {
    struct backend *backend = roundup->backend;
    const struct docker_request request = {.method = "GET", .path = LIST_PATH, .timeout_ms = LIST_TIMEOUT_MS};
    if (docker_link_state(backend->link) != DOCKER_LINK_UP) {
        return;
    }
    docker_call_cancel(roundup->list);
    for (struct docker_instance *instance = backend->instances; instance != NULL; instance = instance->hh.next) {
        instance->was_unlisted = instance->state == DOCKER_READY;
    }
    roundup->list = docker_call_start(backend->engine, &request, on_list, roundup);
    if (roundup->list == NULL) {
        log_error(NULL, "list containers: out of memory");
        docker_roundup_again(roundup);
    }
}

static void on_again(evutil_socket_t fd, short what, void *argument) {
    struct docker_roundup *roundup = argument;
    (void)fd;
    (void)what;
    if (roundup->list != NULL) {
        docker_roundup_again(roundup); /* the one under way may be older than what is looked for */
    } else {
        docker_roundup_begin(roundup); /* while the engine is away it begins when that is back */
    }
}

void docker_roundup_again(struct docker_roundup *roundup) {
    const struct timeval pause = {.tv_sec = AGAIN_SECONDS};
    if (evtimer_pending(roundup->again, NULL) == 0) {
        evtimer_add(roundup->again, &pause);
    }
}

void docker_roundup_allow(struct docker_roundup *roundup) {
    roundup->is_allowed = true;
    docker_roundup_begin(roundup);
}

void docker_roundup_abandon(struct docker_roundup *roundup) {
    docker_call_cancel(roundup->list);
    roundup->list = NULL;
    while (roundup->strangers != NULL) {
        stranger_free(roundup->strangers);
    }
}

struct docker_roundup *docker_roundup_open(struct backend *backend) {
    struct docker_roundup *roundup = calloc(1, sizeof *roundup);
    if (roundup == NULL) {
        return NULL;
    }
    roundup->backend = backend;
    roundup->again = evtimer_new(backend->base, on_again, roundup);
    if (roundup->again == NULL) {
        free(roundup);
        return NULL;
    }
    return roundup;
}

void docker_roundup_close(struct docker_roundup *roundup) {
    if (roundup != NULL) {
        docker_roundup_abandon(roundup);
        event_free(roundup->again);
        free(roundup);
    }
}
