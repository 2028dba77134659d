/* docker_clear.c - a container cannot be created, because its name is taken. By whom decides:
 *
 *   nobody any more                                 it is created
 *   one of ours that is being removed               a moment later it is created
 *   this user's, running, ours or made by the       it is taken over: the user's shells and commands go on
 *   Python Terminals
 *   a warm one that nobody knows (docker_warm.h)    the same as the next
 *   this user's, not running (or paused)            it is removed, and a new one created: files are in the home
 *   another user's, whose hash begins alike         an error: nobody gets another's container
 *   another Terminals' on the same engine           an error that says so
 *   something else altogether                       an error that says what to do */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/secret.h"
#include "provisioner/backends/docker_instance.h"

#define TRIES_MAX    60
#define PAUSE_MIN_MS 20
#define PAUSE_MAX_MS 500

static void create_later(struct docker_instance *instance) {
    struct error err;
    if (instance->tries++ >= TRIES_MAX) {
        error_set(&err, ERROR_BACKEND, "the container `%s` is being removed, and does not go",
                  docker_instance_container(instance));
        docker_instance_fail(instance, &err);
        return;
    }
    int pause_ms = PAUSE_MIN_MS * instance->tries;
    docker_instance_set_timer(instance, pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS);
}

static void on_removed(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    struct error err;
    if (!docker_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 204 || answer->status == 404) {
        docker_start_create(instance);
    } else if (answer->status == 409 || answer->status == 500) {
        create_later(instance); /* somebody is removing it already, or it is busy */
    } else {
        docker_answer_error(answer, &err, "remove the old container");
        docker_instance_fail(instance, &err);
    }
}

static void remove_old(struct docker_instance *instance, const char *container_id) {
    char path[DOCKER_ID_SIZE + 32];
    snprintf(path, sizeof path, "/containers/%s?force=1&v=1", container_id);
    const struct docker_request request = {.method = "DELETE", .path = path, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    log_info(NULL, "removing what is left of container `%s`", docker_instance_container(instance));
    docker_instance_call(instance, &request, on_removed);
}

/* The instance is the one in this container from now on. */
static void take_over(struct docker_instance *instance, const struct docker_container *container) {
    const struct backend_events *events = &instance->backend->events;
    struct error err = {0};
    char *key = strdup(container->key);
    if (key == NULL) {
        error_set(&err, ERROR_INTERNAL, "out of memory");
        docker_instance_fail(instance, &err);
        return;
    }
    secret_free((char *)instance->spec.key);
    instance->spec.key = key;
    instance->is_adoption = true;
    docker_instance_set_container(instance, container->id);
    if (!events->created(events->owner, instance->id, container->id, &err)) {
        /* It ran before we came and goes on; nobody has written down that it is ours. */
        docker_instance_fail_leaving_all(instance, &err);
        return;
    }
    log_info(NULL, "container `%s` runs already: taking it over", docker_instance_container(instance));
    docker_instance_probe(instance, container);
}

static bool refuse(const struct docker_instance *instance, const struct docker_labels *labels, struct error *err) {
    const char *name = docker_instance_container(instance);
    if (!labels->is_managed) {
        return error_set(err, ERROR_BACKEND,
                         "the name `%s` is taken by a container that no Terminals made: remove or "
                         "rename it",
                         name);
    }
    if (!docker_labels_match(labels, &instance->spec)) {
        return error_set(err, ERROR_BACKEND, "the container `%s` is another user's, whose name only looks alike", name);
    }
    if (labels->deployment != NULL && strcmp(labels->deployment, instance->backend->deployment) != 0) {
        return error_set(err, ERROR_BACKEND, "the container `%s` belongs to another Terminals on this Docker engine",
                         name);
    }
    return true;
}

static void judge(struct docker_instance *instance, const struct docker_container *container) {
    struct error err;
    bool is_known = docker_instance_of_container(instance->backend, container->id) != NULL;
    const char *deployment = container->labels.deployment;
    if (container->labels.is_warm && !is_known && deployment != NULL &&
        strcmp(deployment, instance->backend->deployment) == 0) {
        remove_old(instance, container->id); /* it was this user's, but nobody has written down that it is */
    } else if (!refuse(instance, &container->labels, &err)) {
        docker_instance_fail(instance, &err);
    } else if (is_known) {
        create_later(instance);
    } else if (container->is_running && container->key != NULL) {
        take_over(instance, container);
    } else {
        remove_old(instance, container->id);
    }
}

static void on_looked(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    struct docker_container container;
    struct error err;
    if (!docker_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 404) {
        create_later(instance);
    } else if (answer->status == 200 && docker_container_read(answer->json, &container)) {
        judge(instance, &container);
    } else {
        docker_answer_error(answer, &err, "look at the container `%s`", docker_instance_container(instance));
        docker_instance_fail(instance, &err);
    }
}

void docker_clear_begin(struct docker_instance *instance) {
    char path[NAME_FOLDER_SIZE + 32];
    snprintf(path, sizeof path, "/containers/%s/json", docker_instance_container(instance));
    const struct docker_request request = {.method = "GET", .path = path, .timeout_ms = DOCKER_LOOK_TIMEOUT_MS};
    instance->state = DOCKER_CLEARING;
    docker_instance_call(instance, &request, on_looked);
}
