#include "provisioner/backends/kubernetes_instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/secret.h"
#include "provisioner/backends/kubernetes_operator.h"
#include "provisioner/backends/kubernetes_purge.h"
#include "provisioner/backends/kubernetes_roundup.h"

#define ADOPT_TIMEOUT_MS 10000
#define BLIND_TIMEOUT_MS 2000 /* for an adoption while the API server is away: it answers where it did, or not */

static void on_timer(evutil_socket_t fd, short what, void *argument);

/* --- whether it still answers ------------------------------------------------------------------------------------- */

static struct health_probe *start_probe(const void *instance, int timeout_ms, health_probe_done *done, void *argument) {
    const struct kubernetes_instance *asked = instance;
    return health_probe_start(asked->backend->base, asked->address.host, asked->address.port, asked->spec.key,
                              timeout_ms, done, argument);
}

static void end_unresponsive(void *instance) {
    kubernetes_instance_end_ready(instance, "its pod runs but does not answer");
}

static const char *name_of(const void *instance) {
    return ((const struct kubernetes_instance *)instance)->name;
}

static const struct liveness_kind liveness_kind = {.probe = start_probe, .end = end_unresponsive, .name = name_of};

/* --- entries ------------------------------------------------------------------------------------------------------ */

static bool copy_spec(struct kubernetes_instance *instance, const struct instance_spec *spec) {
    instance->spec = (struct instance_spec){
        .instance_id = instance->id,
        .instance_name = strdup(spec->instance_name),
        .user_id = strdup(spec->user_id),
        .policy_id = strdup(spec->policy_id),
        .context_id = strdup(spec->context_id),
        .key = strdup(spec->key),
    };
    if (spec->policy != NULL) {
        instance->policy = *spec->policy;
        json_object_get(instance->policy.data); /* the rest is borrowed from it */
        instance->spec.policy = &instance->policy;
    }
    if (spec->host != NULL && strlen(spec->host) < sizeof instance->address.host) {
        strcpy(instance->address.host, spec->host);
        instance->address.port = spec->port;
    }
    return instance->spec.instance_name != NULL && instance->spec.user_id != NULL && instance->spec.policy_id != NULL &&
           instance->spec.context_id != NULL && instance->spec.key != NULL;
}

struct kubernetes_instance *kubernetes_instance_new(struct backend *backend, const struct instance_spec *spec) {
    struct kubernetes_instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        return NULL;
    }
    instance->backend = backend;
    instance->liveness = (struct liveness){.kind = &liveness_kind, .instance = instance};
    snprintf(instance->id, sizeof instance->id, "%s", spec->instance_id);
    HASH_ADD_STR(backend->instances, id, instance);
    instance->timer = evtimer_new(backend->base, on_timer, instance);
    if (!copy_spec(instance, spec) || instance->timer == NULL ||
        !kubernetes_object_name(spec->user_id, spec->policy_id, spec->context_id, instance->name)) {
        kubernetes_instance_free(instance);
        return NULL;
    }
    return instance;
}

void kubernetes_instance_drop_calls(struct kubernetes_instance *instance) {
    kubernetes_call_cancel(instance->call);
    health_probe_cancel(instance->probe);
    liveness_cancel(&instance->liveness);
    evtimer_del(instance->timer);
    instance->call = NULL;
    instance->probe = NULL;
}

void kubernetes_instance_free(struct kubernetes_instance *instance) {
    struct backend *backend = instance->backend;
    if (instance->timer != NULL) {
        kubernetes_instance_drop_calls(instance);
        event_free(instance->timer);
    }
    if (kubernetes_instance_holder(backend, instance->name) == instance) {
        HASH_DELETE(by_name, backend->holders, instance);
    }
    HASH_DEL(backend->instances, instance);
    backend->freed++;
    liveness_drop(&instance->liveness);
    if (instance->spec.policy != NULL) {
        json_object_put(instance->policy.data);
    }
    free((char *)instance->spec.instance_name);
    free((char *)instance->spec.user_id);
    free((char *)instance->spec.policy_id);
    free((char *)instance->spec.context_id);
    secret_free((char *)instance->spec.key);
    explicit_bzero(&instance->address, sizeof instance->address);
    free(instance);
}

struct kubernetes_instance *kubernetes_instance_find(struct backend *backend, const char *id) {
    struct kubernetes_instance *instance = NULL;
    HASH_FIND_STR(backend->instances, id, instance);
    return instance;
}

struct kubernetes_instance *kubernetes_instance_holder(struct backend *backend, const char *name) {
    struct kubernetes_instance *instance = NULL;
    HASH_FIND(by_name, backend->holders, name, strlen(name), instance);
    return instance;
}

bool kubernetes_instance_hold(struct kubernetes_instance *instance) {
    struct kubernetes_instance *holder = kubernetes_instance_holder(instance->backend, instance->name);
    if (holder == NULL) {
        HASH_ADD(by_name, instance->backend->holders, name, (unsigned)strlen(instance->name), instance);
        return true;
    }
    return holder == instance;
}

void kubernetes_instance_set_timer(struct kubernetes_instance *instance, int after_ms) {
    const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000};
    if (evtimer_add(instance->timer, &after) != 0) {
        log_error(NULL, "pod `%s`: no timer: out of memory", instance->name);
    }
}

struct kubernetes_plan kubernetes_instance_plan(const struct kubernetes_instance *instance) {
    return (struct kubernetes_plan){
        .spec = &instance->spec,
        .settings = instance->backend->settings,
        .parsed = &instance->backend->parsed,
        .name = instance->name,
    };
}

void kubernetes_instance_call(struct kubernetes_instance *instance, const struct kubernetes_request *request,
                              kubernetes_done *done) {
    instance->call = kubernetes_call_start(instance->backend->client, request, done, instance);
    if (instance->call == NULL) {
        struct error err;
        error_set(&err, ERROR_INTERNAL, "ask the Kubernetes API server: out of memory");
        if (instance->state == KUBERNETES_REMOVING || instance->state == KUBERNETES_LEAVING) {
            log_error(NULL, "%s", err.message);
            kubernetes_instance_set_timer(instance, 1000);
        } else {
            kubernetes_instance_fail(instance, &err);
        }
    }
}

bool kubernetes_instance_may_go_on(struct kubernetes_instance *instance) {
    instance->call = NULL;
    if (instance->is_stop_wanted) {
        instance->is_stop_wanted = false;
        kubernetes_end_begin(instance, KUBERNETES_OUTCOME_STOPPED);
        return false;
    }
    return true;
}

void kubernetes_instance_fail(struct kubernetes_instance *instance, const struct error *err) {
    instance->failure = *err;
    kubernetes_end_begin(instance, KUBERNETES_OUTCOME_FAILED);
}

void kubernetes_instance_fail_leaving_all(struct kubernetes_instance *instance, const struct error *err) {
    kubernetes_roundup_again(instance->backend->roundup);
    instance->has_objects = false;
    kubernetes_instance_fail(instance, err);
}

/* --- it answers --------------------------------------------------------------------------------------------------- */

static void become_ready(struct kubernetes_instance *instance) {
    const struct backend_events *events = &instance->backend->events;
    struct instance_address address = instance->address;
    snprintf(address.key, sizeof address.key, "%s", instance->spec.key);
    instance->state = KUBERNETES_READY;
    instance->tries = 0;
    events->ready(events->owner, instance->id, &address);
    explicit_bzero(&address, sizeof address);
}

void kubernetes_instance_end_ready(struct kubernetes_instance *instance, const char *reason) {
    const struct backend_events *events = &instance->backend->events;
    char id[KUBERNETES_INSTANCE_ID_SIZE];
    memcpy(id, instance->id, sizeof id);
    kubernetes_instance_drop_calls(instance);
    instance->state = KUBERNETES_REMOVING; /* whoever is told now may not take it for ready, but may want it stopped */
    instance->outcome = KUBERNETES_OUTCOME_SAID;
    events->gone(events->owner, id, reason);
    liveness_answer(&instance->liveness, false);
    kubernetes_end_begin(instance, instance->outcome);
}

/* It ran before us and is silent, as all may be on the machine that ran out of memory and killed our predecessor. */
static bool is_kept(const struct kubernetes_instance *instance, bool is_refused) {
    return instance->is_adoption && !instance->is_blind && !is_refused;
}

static void on_probed(void *argument, const struct error *err, bool is_refused) {
    struct kubernetes_instance *instance = argument;
    instance->probe = NULL;
    if (err != NULL && instance->is_blind) {
        kubernetes_instance_fail_leaving_all(instance, err);
    } else if (err != NULL && !is_kept(instance, is_refused)) {
        kubernetes_instance_fail(instance, err);
    } else {
        if (err != NULL) {
            log_warning(NULL, "pod `%s` is kept, though %s", instance->name, err->message);
            liveness_watch(&instance->liveness, ADOPT_TIMEOUT_MS);
        }
        instance->has_objects = true;
        become_ready(instance);
    }
}

void kubernetes_instance_probe(struct kubernetes_instance *instance, const char *address, int timeout_ms) {
    struct error err;
    if (address != instance->address.host) {
        snprintf(instance->address.host, sizeof instance->address.host, "%s", address);
        instance->address.port = KUBERNETES_PORT;
    }
    instance->state = KUBERNETES_PROBING;
    instance->probe = start_probe(instance, timeout_ms, on_probed, instance);
    if (instance->probe == NULL) {
        error_set(&err, ERROR_INTERNAL, "out of memory or descriptors");
        kubernetes_instance_fail(instance, &err);
    }
}

/* --- adoption ----------------------------------------------------------------------------------------------------- */

void kubernetes_instance_adopt_blindly(struct kubernetes_instance *instance, const struct error *why) {
    if (instance->address.port == 0) {
        kubernetes_instance_fail_leaving_all(instance, why);
        return;
    }
    instance->is_blind = true;
    kubernetes_instance_hold(instance);
    kubernetes_instance_probe(instance, instance->address.host, BLIND_TIMEOUT_MS);
}

static bool is_this_instance(const struct kubernetes_instance *instance, const struct kubernetes_pod *pod) {
    return kubernetes_pod_matches(pod, &instance->spec) &&
           (instance->backend->has_operator || pod->instance_id == NULL || strcmp(pod->instance_id, instance->id) == 0);
}

static void adopt(struct kubernetes_instance *instance) {
    const struct kubernetes_pod *pod = kubernetes_pods_find(instance->backend->pods, instance->name);
    struct error err;
    if (!kubernetes_instance_hold(instance)) {
        error_set(&err, ERROR_CONFLICT, "another instance has its pod's name");
        kubernetes_instance_fail_leaving_all(instance, &err);
        return;
    }
    instance->has_objects = true;
    if (pod != NULL && !is_this_instance(instance, pod)) {
        error_set(&err, ERROR_BACKEND, "its pod is gone, and another has its name");
        kubernetes_instance_fail_leaving_all(instance, &err);
    } else if (pod == NULL) {
        error_set(&err, ERROR_BACKEND, "its pod is gone");
        kubernetes_instance_fail(instance, &err);
    } else {
        strcpy(instance->uid, pod->item.uid);
        if (pod->state == KUBERNETES_POD_RUNNING) {
            kubernetes_instance_probe(instance, pod->address, ADOPT_TIMEOUT_MS);
        } else {
            error_set(&err, ERROR_BACKEND, "its pod does not run%s%s", pod->reason[0] == '\0' ? "" : ": ", pod->reason);
            kubernetes_instance_fail(instance, &err);
        }
    }
}

void kubernetes_instance_begin(struct kubernetes_instance *instance) {
    enum kubernetes_link_state state = kubernetes_link_state(instance->backend);
    struct error err;
    if (state == KUBERNETES_LINK_CONNECTING) {
        instance->state = KUBERNETES_WAITING;
    } else if (instance->is_adoption) {
        if (state == KUBERNETES_LINK_AWAY) {
            kubernetes_away_error(instance->backend, &err);
            kubernetes_instance_adopt_blindly(instance, &err);
        } else if (instance->backend->has_operator) {
            kubernetes_operator_adopt(instance);
        } else {
            adopt(instance);
        }
    } else if (state == KUBERNETES_LINK_AWAY) {
        kubernetes_away_error(instance->backend, &err);
        kubernetes_instance_fail_leaving_all(instance, &err);
    } else if (!kubernetes_purge_is_under_way(instance->backend, instance->name) &&
               kubernetes_instance_hold(instance)) {
        if (instance->backend->has_operator) {
            kubernetes_operator_start(instance);
        } else {
            kubernetes_start_begin(instance);
        }
    } else {
        instance->state = KUBERNETES_WAITING; /* until what is left of the last one is gone, or its files are */
    }
}

/* --- what happens to its pod -------------------------------------------------------------------------------------- */

void kubernetes_instance_describe_end(const struct kubernetes_pod *pod, bool is_gone, char *text, size_t size) {
    const char *what = is_gone || pod->state == KUBERNETES_POD_TERMINATING ? "its pod was deleted" : "its pod ended";
    snprintf(text, size, "%s%s%s", what, pod->reason[0] == '\0' ? "" : ": ", pod->reason);
}

/* One that was adopted without asking turns out to be gone, or never to have been. */
static void not_it(struct kubernetes_instance *instance, const char *why) {
    struct error err;
    instance->is_blind = false;
    if (instance->state == KUBERNETES_READY) {
        instance->has_objects = false;
        kubernetes_instance_end_ready(instance, why);
    } else if (instance->state == KUBERNETES_PROBING) {
        error_set(&err, ERROR_BACKEND, "%s", why);
        kubernetes_instance_fail_leaving_all(instance, &err);
    }
}

bool kubernetes_instance_see_again(struct kubernetes_instance *instance, const struct kubernetes_pod *pod) {
    if (!is_this_instance(instance, pod) || strcmp(pod->address, instance->address.host) != 0) {
        not_it(instance, "its pod is another by now");
        return false;
    }
    instance->is_blind = false;
    strcpy(instance->uid, pod->item.uid);
    strcpy(instance->terminal_uid, pod->owner_uid);
    return true;
}

void kubernetes_instance_pod_changed(struct kubernetes_instance *instance, const struct kubernetes_pod *pod,
                                     bool is_gone) {
    char text[KUBERNETES_REASON_SIZE + 32];
    struct error err;
    if (instance->is_blind && !is_gone && !kubernetes_instance_see_again(instance, pod)) {
        return;
    }
    if (instance->backend->has_operator) {
        kubernetes_operator_pod_changed(instance, pod, is_gone);
        return;
    }
    if (instance->uid[0] == '\0' || strcmp(instance->uid, pod->item.uid) != 0) {
        return; /* another's, before it or after it */
    }
    /* One that ran may lack its address for a moment. */
    bool has_ended = is_gone || pod->state == KUBERNETES_POD_ENDED || pod->state == KUBERNETES_POD_TERMINATING ||
                     (pod->state == KUBERNETES_POD_STUCK && instance->state == KUBERNETES_PROBING);
    kubernetes_instance_describe_end(pod, is_gone, text, sizeof text);
    switch (instance->state) {
    case KUBERNETES_READY:
        if (has_ended) {
            kubernetes_instance_end_ready(instance, text);
        }
        break;
    case KUBERNETES_COMING:
    case KUBERNETES_PROBING:
        if (has_ended) {
            error_set(&err, ERROR_BACKEND, "%s", text);
            kubernetes_instance_fail(instance, &err);
        } else if (instance->state == KUBERNETES_COMING) {
            kubernetes_start_look(instance, pod);
        }
        break;
    case KUBERNETES_REMOVING:
    case KUBERNETES_LEAVING:
        if (is_gone) {
            kubernetes_end_pod_is_gone(instance);
        }
        break;
    default: /* its start looks for itself */
        break;
    }
}

void kubernetes_instance_listed(struct kubernetes_instance *instance, int64_t began_ms) {
    const struct kubernetes_pod *pod = kubernetes_pods_find(instance->backend->pods, instance->name);
    struct kubernetes_pod nothing = {.state = KUBERNETES_POD_ENDED};
    if (instance->is_blind) {
        if (pod == NULL) {
            not_it(instance, "its pod is gone");
        }
        return;
    }
    if (instance->uid[0] == '\0' || instance->created_ms >= began_ms ||
        (pod != NULL && strcmp(pod->item.uid, instance->uid) == 0)) {
        return;
    }
    strcpy(nothing.item.uid, instance->uid);
    kubernetes_instance_pod_changed(instance, &nothing, true);
}

/* --- stop, timer -------------------------------------------------------------------------------------------------- */

void kubernetes_instance_stop(struct kubernetes_instance *instance) {
    if (instance->state == KUBERNETES_REMOVING || instance->state == KUBERNETES_LEAVING) {
        instance->outcome = KUBERNETES_OUTCOME_STOPPED; /* it is on its way */
        return;
    }
    liveness_answer(&instance->liveness, false);
    if (instance->call != NULL && instance->state != KUBERNETES_CLAIM && instance->state != KUBERNETES_READY) {
        instance->is_stop_wanted = true; /* only when that is answered it is known what there is to stop */
        return;
    }
    kubernetes_end_begin(instance, KUBERNETES_OUTCOME_STOPPED);
}

static void on_timer(evutil_socket_t fd, short what, void *argument) {
    struct kubernetes_instance *instance = argument;
    (void)fd;
    (void)what;
    if (instance->state == KUBERNETES_REMOVING || instance->state == KUBERNETES_LEAVING) {
        kubernetes_end_timer(instance);
    } else if (instance->backend->has_operator && instance->state != KUBERNETES_CLAIM &&
               !kubernetes_operator_timer(instance)) {
        return;
    } else {
        kubernetes_start_timer(instance);
    }
}
