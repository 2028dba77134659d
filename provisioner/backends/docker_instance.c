#include "provisioner/backends/docker_instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/secret.h"
#include "provisioner/backends/docker_create.h"
#include "provisioner/backends/docker_network.h"
#include "provisioner/backends/docker_warm.h"

#define ADOPT_TIMEOUT_MS 10000

static void on_timer(evutil_socket_t fd, short what, void *argument);

/* --- whether it still answers ------------------------------------------------------------------------------------- */

static struct health_probe *start_probe(const void *instance, int timeout_ms, health_probe_done *done, void *argument) {
    const struct docker_instance *asked = instance;
    return health_probe_start(asked->backend->base, asked->address.host, asked->address.port, asked->spec.key,
                              timeout_ms, done, argument);
}

static void end_unresponsive(void *instance) {
    docker_instance_ended(instance, -1, "it runs but does not answer");
}

static const char *name_of(const void *instance) {
    return docker_instance_container(instance);
}

static const struct liveness_kind liveness_kind = {.probe = start_probe, .end = end_unresponsive, .name = name_of};

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
    instance->liveness = (struct liveness){.kind = &liveness_kind, .instance = instance};
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

void docker_instance_drop_calls(struct docker_instance *instance) {
    docker_call_cancel(instance->call);
    docker_pull_leave(instance->pull);
    docker_network_cancel(instance->network);
    health_probe_cancel(instance->probe);
    liveness_cancel(&instance->liveness);
    evtimer_del(instance->timer);
    instance->call = NULL;
    instance->pull = NULL;
    instance->network = NULL;
    instance->probe = NULL;
}

void docker_instance_free(struct docker_instance *instance) {
    if (instance->timer != NULL) {
        docker_instance_drop_calls(instance);
        event_free(instance->timer);
    }
    docker_warm_cancel(instance);
    docker_instance_set_container(instance, "");
    HASH_DEL(instance->backend->instances, instance);
    liveness_drop(&instance->liveness);
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

void docker_instance_call(struct docker_instance *instance, const struct docker_request *request, docker_done *done) {
    instance->call = docker_call_start(instance->backend->engine, request, done, instance);
    if (instance->call == NULL) {
        struct error err;
        error_set(&err, ERROR_INTERNAL, "ask the Docker engine: out of memory");
        if (instance->state == DOCKER_STOPPING || instance->state == DOCKER_REMOVING) {
            log_error(NULL, "%s", err.message);
            docker_instance_set_timer(instance, DOCKER_RETRY_MAX_MS);
        } else if (instance->is_adoption) {
            docker_instance_fail_leaving_all(instance, &err);
        } else {
            docker_instance_fail(instance, &err);
        }
    }
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

/* It ran before us and is silent, as all may be on the machine that ran out of memory and killed our predecessor. */
static bool is_kept(const struct docker_instance *instance, bool is_refused) {
    return instance->is_adoption && !instance->is_blind && !is_refused;
}

static void on_probed(void *argument, const struct error *err, bool is_refused) {
    struct docker_instance *instance = argument;
    struct error refusal;
    instance->probe = NULL;
    if (err != NULL && instance->is_blind) {
        docker_instance_fail_leaving_all(instance, err);
    } else if (err != NULL && !is_kept(instance, is_refused)) {
        docker_instance_fail(instance, err);
    } else if (!docker_warm_may_be_ready(instance, &refusal)) {
        docker_instance_fail(instance, &refusal);
    } else {
        if (err != NULL) {
            log_warning(NULL, "container `%s` is kept, though %s", docker_instance_container(instance), err->message);
            liveness_watch(&instance->liveness, ADOPT_TIMEOUT_MS);
        }
        become_ready(instance);
    }
}

void docker_instance_await_answer(struct docker_instance *instance, int timeout_ms) {
    struct error err;
    instance->state = DOCKER_PROBING;
    instance->probe = start_probe(instance, timeout_ms, on_probed, instance);
    if (instance->probe == NULL) {
        error_set(&err, ERROR_INTERNAL, "out of memory or descriptors");
        if (instance->is_adoption) {
            docker_instance_fail_leaving_all(instance, &err);
        } else {
            docker_instance_fail(instance, &err);
        }
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
    docker_instance_await_answer(instance, instance->is_adoption ? ADOPT_TIMEOUT_MS
                                                                 : (int)settings->start_timeout_seconds * 1000);
}

/* --- the engine, the timer --------------------------------------------------------------------------------------- */

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

static void on_timer(evutil_socket_t fd, short what, void *argument) {
    struct docker_instance *instance = argument;
    (void)fd;
    (void)what;
    switch (instance->state) {
    case DOCKER_STOPPING:
    case DOCKER_REMOVING:
        docker_end_go_on(instance);
        break;
    case DOCKER_CLEARING: /* the name was still taken a moment ago */
        docker_start_create(instance);
        break;
    default:
        break;
    }
}
