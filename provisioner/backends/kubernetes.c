/* kubernetes.c - the `kubernetes` backend: each instance is a pod, with a service, a secret and (as a rule) a claim.
 * The life of one is in kubernetes_instance.c, what the API server tells in kubernetes_pods.c, and what becomes of
 * objects that nobody knows in kubernetes_roundup.c. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "provisioner/backends/kubernetes_instance.h"
#include "provisioner/backends/kubernetes_purge.h"
#include "provisioner/backends/kubernetes_roundup.h"

/* --- what the API server says ------------------------------------------------------------------------------------- */

/* For each instance once. What is told about one may take others away: then the walk starts over. */
static void each_instance(struct backend *backend, void (*each)(struct kubernetes_instance *instance, int64_t value),
                          int64_t value) {
    unsigned round = ++backend->round;
    struct kubernetes_instance *instance = backend->instances;
    while (instance != NULL) {
        unsigned freed = backend->freed;
        struct kubernetes_instance *next = instance->hh.next;
        if (instance->round != round) {
            instance->round = round;
            each(instance, value);
        }
        instance = backend->freed == freed ? next : backend->instances;
    }
}

static void link_changed(struct kubernetes_instance *instance, int64_t value) {
    (void)value;
    if (instance->state == KUBERNETES_WAITING) {
        kubernetes_instance_begin(instance);
    }
}

static void on_changed(void *argument, enum kubernetes_link_state state) {
    struct backend *backend = argument;
    if (state != KUBERNETES_LINK_UP) {
        kubernetes_roundup_abandon(backend->roundup);
    }
    each_instance(backend, link_changed, 0);
}

static void on_pod(void *argument, const struct kubernetes_pod *pod, bool is_gone) {
    struct backend *backend = argument;
    struct kubernetes_instance *instance = kubernetes_instance_holder(backend, pod->name);
    if (pod->is_purge) {
        kubernetes_purge_pod_changed(backend, pod, is_gone);
    } else if (instance != NULL) {
        kubernetes_instance_pod_changed(instance, pod, is_gone);
    } else if (!is_gone) {
        kubernetes_roundup_look(backend->roundup, pod);
    }
}

static void on_listed(void *argument, int64_t began_ms) {
    struct backend *backend = argument;
    each_instance(backend, kubernetes_instance_listed, began_ms);
    kubernetes_roundup_begin(backend->roundup);
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static void kubernetes_close(struct backend *backend) {
    if (backend->roundup != NULL) {
        kubernetes_roundup_close(backend->roundup);
    }
    kubernetes_purge_free_all(backend);
    while (backend->instances != NULL) {
        kubernetes_instance_free(backend->instances);
    }
    kubernetes_pods_close(backend->pods);
    kubernetes_client_close(backend->client);
    kubernetes_settings_free(&backend->parsed);
    free(backend);
}

static bool open_client(struct backend *backend, struct error *err) {
    const struct settings *settings = backend->settings;
    struct kubernetes_config config;
    const char *host = getenv("KUBERNETES_SERVICE_HOST");
    const char *port = getenv("KUBERNETES_SERVICE_PORT");
    bool ok = settings->kubernetes_kubeconfig != NULL
                  ? kubernetes_config_read(settings->kubernetes_kubeconfig, &config, err)
                  : kubernetes_config_in_cluster(host, port, KUBERNETES_SERVICE_ACCOUNT, &config, err);
    if (!ok) {
        return false;
    }
    log_info(NULL, "instances are pods in namespace `%s` of %s", settings->kubernetes_namespace, config.server);
    backend->client = kubernetes_client_open(&config, settings->kubernetes_namespace, backend->base, err);
    return backend->client != NULL;
}

static bool open_parts(struct backend *backend, struct error *err) {
    const struct kubernetes_pods_callbacks callbacks = {backend, on_changed, on_pod, on_listed};
    if (!kubernetes_settings_read(backend->settings, &backend->parsed, err) || !open_client(backend, err)) {
        return false;
    }
    backend->roundup = kubernetes_roundup_open(backend);
    backend->pods = backend->roundup == NULL ? NULL : kubernetes_pods_open(backend->client, backend->base, &callbacks);
    return backend->pods != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* An API server that is away is no reason not to open: instances that run can be adopted without it. */
static struct backend *kubernetes_open(const struct settings *settings, struct event_base *base,
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
        kubernetes_close(backend);
        return NULL;
    }
    return backend;
}

/* --- operations --------------------------------------------------------------------------------------------------- */

/* A new entry for `spec`, or NULL after raising `failed`. */
static struct kubernetes_instance *add_instance(struct backend *backend, const struct instance_spec *spec) {
    struct error err;
    struct kubernetes_instance *instance = NULL;
    if (kubernetes_instance_find(backend, spec->instance_id) != NULL ||
        strlen(spec->instance_id) >= KUBERNETES_INSTANCE_ID_SIZE) {
        error_set(&err, ERROR_CONFLICT, "it is known already");
    } else {
        instance = kubernetes_instance_new(backend, spec);
        error_set(&err, ERROR_INTERNAL, "out of memory");
    }
    if (instance == NULL) {
        backend->events.failed(backend->events.owner, spec->instance_id, &err);
    }
    return instance;
}

static void kubernetes_start(struct backend *backend, const struct instance_spec *spec) {
    struct kubernetes_instance *instance = add_instance(backend, spec);
    if (instance != NULL) {
        kubernetes_instance_begin(instance);
    }
}

/* Whether a reference, `namespace/name`, is of our namespace. */
static bool is_here(const struct backend *backend, const char *reference) {
    const char *name = backend->settings->kubernetes_namespace;
    return strncmp(reference, name, strlen(name)) == 0 && reference[strlen(name)] == '/';
}

static void kubernetes_adopt(struct backend *backend, const struct instance_spec *spec, const char *reference) {
    struct error err;
    if (reference != NULL && !is_here(backend, reference)) {
        error_set(&err, ERROR_BACKEND, "its pod is `%.120s`, in a namespace that is not ours any more", reference);
        backend->events.failed(backend->events.owner, spec->instance_id, &err);
        return;
    }
    struct kubernetes_instance *instance = add_instance(backend, spec);
    if (instance != NULL) {
        instance->is_adoption = true;
        kubernetes_instance_begin(instance);
    }
}

static void kubernetes_stop(struct backend *backend, const char *instance_id) {
    struct kubernetes_instance *instance = kubernetes_instance_find(backend, instance_id);
    if (instance == NULL) {
        backend->events.stopped(backend->events.owner, instance_id);
    } else {
        kubernetes_instance_stop(instance);
    }
}

static void kubernetes_check(struct backend *backend, const char *instance_id,
                             void (*checked)(void *argument, bool alive), void *argument) {
    struct kubernetes_instance *instance = kubernetes_instance_find(backend, instance_id);
    if (instance == NULL || instance->state != KUBERNETES_READY) {
        checked(argument, false);
    } else {
        kubernetes_instance_check(instance, checked, argument);
    }
}

static void kubernetes_sweep(struct backend *backend) {
    kubernetes_roundup_allow(backend->roundup);
}

static void kubernetes_openapi(struct backend *backend, void (*done)(void *argument, const char *document),
                               void *argument) {
    (void)backend;
    done(argument, NULL); /* whatever an instance says may come from its user */
}

static bool kubernetes_name(const char *user_id, const char *policy_id, const char *context_id,
                            char out[NAME_FOLDER_SIZE]) {
    return kubernetes_object_name(user_id, policy_id, context_id, out);
}

static bool kubernetes_is_away(const struct backend *backend, struct error *err) {
    if (kubernetes_pods_state(backend->pods) != KUBERNETES_LINK_AWAY) {
        return false;
    }
    kubernetes_pods_away_error(backend->pods, err);
    return true;
}

const struct backend_operations backend_kubernetes = {
    .name = "kubernetes",
    .open = kubernetes_open,
    .close = kubernetes_close,
    .start = kubernetes_start,
    .adopt = kubernetes_adopt,
    .stop = kubernetes_stop,
    .check = kubernetes_check,
    .sweep = kubernetes_sweep,
    .openapi = kubernetes_openapi,
    .purge = kubernetes_purge_begin,
    .is_away = kubernetes_is_away,
    .name_instance = kubernetes_name,
    .runs_images = true,
};
