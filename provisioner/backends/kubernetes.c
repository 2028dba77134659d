/* kubernetes.c - the backends `kubernetes` and `kubernetes-operator`: each instance is a pod, with a service, a secret
 * and (as a rule) a claim. We make them, or ask an operator to, by a Terminal resource (kubernetes_operator.h). The
 * life of one is in kubernetes_instance.c, what the API server tells in kubernetes_pods.c, and what becomes of objects
 * that nobody knows in kubernetes_roundup.c. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "provisioner/backends/kubernetes_instance.h"
#include "provisioner/backends/kubernetes_objects.h"
#include "provisioner/backends/kubernetes_operator.h"
#include "provisioner/backends/kubernetes_purge.h"
#include "provisioner/backends/kubernetes_roundup.h"
#include "provisioner/backends/kubernetes_unanswered.h"

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

enum kubernetes_link_state kubernetes_link_state(const struct backend *backend) {
    enum kubernetes_link_state pods = kubernetes_watch_state(backend->pods);
    enum kubernetes_link_state terminals =
        backend->has_operator ? kubernetes_watch_state(backend->terminals) : KUBERNETES_LINK_UP;
    return pods == KUBERNETES_LINK_AWAY || terminals == KUBERNETES_LINK_AWAY ? KUBERNETES_LINK_AWAY
           : pods == KUBERNETES_LINK_UP                                      ? terminals
                                                                             : pods;
}

void kubernetes_away_error(const struct backend *backend, struct error *err) {
    bool is_pods = !backend->has_operator || kubernetes_watch_state(backend->pods) != KUBERNETES_LINK_UP;
    kubernetes_watch_away_error(is_pods ? backend->pods : backend->terminals, err);
}

static void on_changed(void *argument, enum kubernetes_link_state state) {
    struct backend *backend = argument;
    if (state != KUBERNETES_LINK_UP) {
        kubernetes_roundup_abandon(backend->roundup);
    }
    each_instance(backend, link_changed, 0);
}

static void on_pod(void *argument, const struct kubernetes_item *item, bool is_gone) {
    struct backend *backend = argument;
    const struct kubernetes_pod *pod = kubernetes_pod_of(item);
    struct kubernetes_instance *instance = kubernetes_instance_holder(backend, pod->item.name);
    if (is_gone) {
        kubernetes_roundup_pod_is_gone(backend->roundup, pod);
    }
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
    kubernetes_purge_listed(backend, began_ms);
    kubernetes_roundup_begin(backend->roundup);
}

static void on_terminal(void *argument, const struct kubernetes_item *item, bool is_gone) {
    struct backend *backend = argument;
    const struct kubernetes_terminal *terminal = kubernetes_terminal_of(item);
    struct kubernetes_instance *instance = kubernetes_instance_holder(backend, item->name);
    const struct kubernetes_pod *pod = kubernetes_pods_find(backend->pods, item->name);
    if (instance != NULL) {
        kubernetes_operator_terminal_changed(instance, terminal, is_gone);
    } else if (!is_gone && pod != NULL) {
        kubernetes_roundup_look(backend->roundup, pod);
    }
}

static void terminals_listed(struct kubernetes_instance *instance, int64_t began_ms) {
    const struct kubernetes_terminal *terminal =
        kubernetes_terminals_find(instance->backend->terminals, instance->name);
    struct kubernetes_terminal nothing = {0};
    bool is_there = terminal != NULL && strcmp(terminal->item.uid, instance->terminal_uid) == 0;
    if (instance->terminal_uid[0] == '\0' || instance->is_blind || is_there || instance->wrote_ms >= began_ms) {
        return;
    }
    strcpy(nothing.item.uid, instance->terminal_uid);
    kubernetes_operator_terminal_changed(instance, &nothing, true);
}

static void on_terminals_listed(void *argument, int64_t began_ms) {
    struct backend *backend = argument;
    each_instance(backend, terminals_listed, began_ms);
    kubernetes_roundup_begin(backend->roundup);
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static void kubernetes_close(struct backend *backend) {
    if (backend->roundup != NULL) {
        kubernetes_roundup_close(backend->roundup);
    }
    kubernetes_purge_free_all(backend);
    kubernetes_unanswered_free_all(backend);
    while (backend->instances != NULL) {
        kubernetes_instance_free(backend->instances);
    }
    kubernetes_watch_close(backend->pods);
    kubernetes_watch_close(backend->terminals);
    if (backend->touch_timer != NULL) {
        event_free(backend->touch_timer);
    }
    free(backend->terminals_api);
    free(backend->terminals_version);
    kubernetes_client_close(backend->client);
    kubernetes_settings_free(&backend->parsed);
    free(backend);
}

static bool open_terminals(struct backend *backend) {
    const struct kubernetes_watch_callbacks callbacks = {backend, on_changed, on_terminal, on_terminals_listed};
    backend->terminals_api = kubernetes_terminals_api(backend->settings);
    backend->terminals_version = kubernetes_terminals_api_version(backend->settings);
    if (backend->terminals_api == NULL || backend->terminals_version == NULL) {
        return false;
    }
    const struct kubernetes_watch_kind kind = kubernetes_terminals_kind(backend->terminals_api);
    backend->terminals = kubernetes_watch_open(backend->client, backend->base, &kind, &callbacks);
    return backend->terminals != NULL && kubernetes_operator_touches_open(backend);
}

static bool open_parts(struct backend *backend, struct error *err) {
    const struct kubernetes_watch_callbacks callbacks = {backend, on_changed, on_pod, on_listed};
    if (!kubernetes_settings_read(backend->settings, &backend->parsed, err)) {
        return false;
    }
    backend->client = kubernetes_client_connect(backend->settings, backend->base, err);
    if (backend->client == NULL) {
        return false;
    }
    backend->roundup = kubernetes_roundup_open(backend);
    backend->pods = backend->roundup == NULL
                        ? NULL
                        : kubernetes_watch_open(backend->client, backend->base, &kubernetes_pods_kind, &callbacks);
    return (backend->pods != NULL && (!backend->has_operator || open_terminals(backend))) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

/* An API server that is away is no reason not to open: instances that run can be adopted without it. */
static struct backend *open_backend(const struct settings *settings, struct event_base *base,
                                    const struct backend_events *events, bool has_operator, struct error *err) {
    struct backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    backend->base = base;
    backend->events = *events;
    backend->settings = settings;
    backend->has_operator = has_operator;
    if (!open_parts(backend, err)) {
        kubernetes_close(backend);
        return NULL;
    }
    return backend;
}

static struct backend *kubernetes_open(const struct settings *settings, struct event_base *base,
                                       const struct backend_events *events, struct error *err) {
    return open_backend(settings, base, events, false, err);
}

static struct backend *operator_open(const struct settings *settings, struct event_base *base,
                                     const struct backend_events *events, struct error *err) {
    return open_backend(settings, base, events, true, err);
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
        liveness_check(&instance->liveness, checked, argument);
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
    if (kubernetes_link_state(backend) != KUBERNETES_LINK_AWAY) {
        return false;
    }
    kubernetes_away_error(backend, err);
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
    .list_objects = kubernetes_objects_list,
    .remove_object = kubernetes_objects_remove,
    .runs_images = true,
};

const struct backend_operations backend_kubernetes_operator = {
    .name = "kubernetes-operator",
    .open = operator_open,
    .close = kubernetes_close,
    .start = kubernetes_start,
    .adopt = kubernetes_adopt,
    .stop = kubernetes_stop,
    .check = kubernetes_check,
    .sweep = kubernetes_sweep,
    .openapi = kubernetes_openapi,
    .touch = kubernetes_operator_touch,
    .purge = kubernetes_purge_begin,
    .forget = kubernetes_purge_terminal,
    .is_away = kubernetes_is_away,
    .name_instance = kubernetes_name,
    .list_objects = kubernetes_objects_list,
    .remove_object = kubernetes_objects_remove,
    .runs_images = true,
};
