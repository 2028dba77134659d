/* docker.c - the `docker` backend: each instance is a container. The life of one is in docker_instance.c, what the
 * engine has to say in docker_link.c, and what becomes of containers that nobody knows in docker_roundup.c. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "provisioner/backends/docker_deployment.h"
#include "provisioner/backends/docker_instance.h"
#include "provisioner/backends/docker_objects.h"
#include "provisioner/backends/docker_roundup.h"

/* --- what the engine says ----------------------------------------------------------------------------------------- */

static void on_link_changed(void *argument, enum docker_link_state state) {
    struct backend *backend = argument;
    struct docker_instance *instance = NULL;
    struct docker_instance *next = NULL;
    if (state == DOCKER_LINK_UP) {
        docker_roundup_begin(backend->roundup);
    } else {
        docker_roundup_abandon(backend->roundup);
    }
    /* What is told about one may bring a new one, at the end of the table, or take away the one in hand: no other. */
    HASH_ITER(hh, backend->instances, instance, next) {
        docker_instance_link_changed(instance);
    }
}

/* A container that came to be, or to life, without us. Of one that we are making the instance's id is known before the
 * container's. */
static void on_appeared(struct backend *backend, const struct docker_event *event) {
    const char *id = event->labels.instance_id;
    if (docker_instance_of_container(backend, event->container_id) == NULL &&
        (id == NULL || docker_instance_find(backend, id) == NULL)) {
        docker_roundup_look(backend->roundup, event->container_id);
    }
}

static void on_event(void *argument, const struct docker_event *event) {
    struct backend *backend = argument;
    struct docker_instance *instance = docker_instance_of_container(backend, event->container_id);
    const char *action = event->action;
    if (strcmp(action, "create") == 0 || strcmp(action, "start") == 0 || strcmp(action, "unpause") == 0) {
        on_appeared(backend, event);
    } else if (instance == NULL) {
        return;
    } else if (strcmp(action, "die") == 0 || strcmp(action, "destroy") == 0) {
        docker_instance_ended(instance, event->exit_code, NULL);
    } else if (strcmp(action, "oom") == 0) {
        log_warning(NULL, "container `%s` has used up its memory", docker_instance_container(instance));
    } else if (strcmp(action, "pause") == 0) {
        docker_instance_paused(instance);
    }
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static void docker_close(struct backend *backend) {
    struct docker_instance *instance = NULL;
    struct docker_instance *next = NULL;
    docker_roundup_close(backend->roundup);
    HASH_ITER(hh, backend->instances, instance, next) {
        docker_instance_free(instance);
    }
    docker_pull_free_all(&backend->pulls);
    docker_link_close(backend->link);
    docker_engine_close(backend->engine);
    free(backend);
}

static bool open_parts(struct backend *backend, struct error *err) {
    const struct settings *settings = backend->settings;
    const struct docker_link_callbacks callbacks = {backend, on_link_changed, on_event};
    if (!docker_deployment_read(settings->data_dir, backend->deployment, err)) {
        return false;
    }
    backend->engine = docker_engine_open(settings->docker_host, backend->base, err);
    if (backend->engine == NULL) {
        return false;
    }
    backend->roundup = docker_roundup_open(backend);
    backend->link = docker_link_open(backend->engine, backend->base, settings->docker_network == NULL, &callbacks);
    return (backend->roundup != NULL && backend->link != NULL) || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* An engine that is away is no reason not to open: it may be started after us. */
static struct backend *docker_open(const struct settings *settings, struct event_base *base,
                                   const struct backend_events *events, struct error *err) {
    struct backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    backend->base = base;
    backend->events = *events;
    backend->settings = settings;
    if (!open_parts(backend, err)) {
        docker_close(backend);
        return NULL;
    }
    return backend;
}

/* --- operations --------------------------------------------------------------------------------------------------- */

/* A new entry for `spec`, or NULL after raising `failed`. */
static struct docker_instance *add_instance(struct backend *backend, const struct instance_spec *spec) {
    struct error err;
    struct docker_instance *instance = NULL;
    if (docker_instance_find(backend, spec->instance_id) != NULL ||
        strlen(spec->instance_id) >= DOCKER_INSTANCE_ID_SIZE) {
        error_set(&err, ERROR_CONFLICT, "it is known already");
    } else {
        instance = docker_instance_new(backend, spec);
        error_set(&err, ERROR_INTERNAL, "out of memory");
    }
    if (instance == NULL) {
        backend->events.failed(backend->events.owner, spec->instance_id, &err);
    }
    return instance;
}

static void docker_start(struct backend *backend, const struct instance_spec *spec) {
    struct docker_instance *instance = add_instance(backend, spec);
    if (instance != NULL) {
        docker_instance_start(instance);
    }
}

static void docker_adopt(struct backend *backend, const struct instance_spec *spec, const char *reference) {
    struct docker_instance *instance = add_instance(backend, spec);
    if (instance == NULL) {
        return;
    }
    if (reference != NULL && strlen(reference) < DOCKER_ID_SIZE &&
        docker_instance_of_container(backend, reference) == NULL) {
        docker_instance_set_container(instance, reference);
    }
    docker_instance_adopt(instance);
}

static void docker_stop(struct backend *backend, const char *instance_id) {
    struct docker_instance *instance = docker_instance_find(backend, instance_id);
    if (instance == NULL) {
        backend->events.stopped(backend->events.owner, instance_id);
    } else {
        docker_instance_stop(instance);
    }
}

static void docker_check(struct backend *backend, const char *instance_id, void (*checked)(void *argument, bool alive),
                         void *argument) {
    struct docker_instance *instance = docker_instance_find(backend, instance_id);
    if (instance == NULL || instance->state != DOCKER_READY) {
        checked(argument, false);
    } else {
        liveness_check(&instance->liveness, checked, argument);
    }
}

static void docker_hand_over(struct backend *backend, const struct instance_spec *spec,
                             void (*done)(void *argument, const struct error *err), void *argument) {
    struct docker_instance *instance = docker_instance_find(backend, spec->instance_id);
    struct error err;
    if (instance == NULL || instance->state != DOCKER_READY || instance->handover != NULL) {
        error_set(&err, ERROR_BACKEND, "the instance does not run");
        done(argument, &err);
        return;
    }
    docker_instance_hand_over(instance, spec, done, argument);
}

static void docker_sweep(struct backend *backend) {
    docker_roundup_allow(backend->roundup);
}

static void docker_openapi(struct backend *backend, void (*done)(void *argument, const char *document),
                           void *argument) {
    (void)backend;
    done(argument, NULL); /* whatever an instance says may come from its user */
}

static bool docker_is_away(const struct backend *backend, struct error *err) {
    if (docker_link_state(backend->link) != DOCKER_LINK_AWAY) {
        return false;
    }
    docker_link_away_error(backend->link, err);
    return true;
}

const struct backend_operations backend_docker = {
    .name = "docker",
    .open = docker_open,
    .close = docker_close,
    .start = docker_start,
    .adopt = docker_adopt,
    .stop = docker_stop,
    .check = docker_check,
    .sweep = docker_sweep,
    .openapi = docker_openapi,
    .hand_over = docker_hand_over,
    .is_away = docker_is_away,
    .list_objects = docker_objects_list,
    .remove_object = docker_objects_remove,
    .runs_images = true,
};
