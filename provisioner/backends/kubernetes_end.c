/* kubernetes_end.c - the end of an instance: pod, service and secret are deleted, the claim stays. */
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_end.h"
#include "provisioner/backends/kubernetes_instance.h"
#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_options.h"
#include "provisioner/backends/kubernetes_roundup.h"
#include "provisioner/backends/kubernetes_terminal.h"
#include "provisioner/backends/kubernetes_unanswered.h"

#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 5000
/* After the pod's own grace: a node that is gone confirms nothing, and the pod has to be given up without it. */
#define FORCE_AFTER_MS ((KUBERNETES_STOP_GRACE_S + 15) * 1000)

/* What there is to delete: of a Terminal the operator deletes the rest. NULL: nothing more. */
static const char *kind_of(const struct kubernetes_instance *instance) {
    static const char *const kinds[] = {"pods", "services", "secrets"};
    if (instance->backend->has_operator) {
        return instance->removal == 0 ? KUBERNETES_TERMINALS : NULL;
    }
    return instance->removal < (int)(sizeof kinds / sizeof kinds[0]) ? kinds[instance->removal] : NULL;
}

static void step_remove(struct kubernetes_instance *instance);

void kubernetes_end_pass_name_on(struct backend *backend, const char *name) {
    for (struct kubernetes_instance *next = backend->instances; next != NULL; next = next->hh.next) {
        if (next->state == KUBERNETES_WAITING && strcmp(next->name, name) == 0) {
            kubernetes_instance_begin(next);
            return;
        }
    }
}

/* Nothing of it is left, or what is left is for the roundup: tells the outcome, as the last thing. */
static void forget(struct kubernetes_instance *instance) {
    struct backend *backend = instance->backend;
    enum kubernetes_outcome outcome = instance->outcome;
    struct error failure = instance->failure;
    char id[KUBERNETES_INSTANCE_ID_SIZE];
    char name[KUBERNETES_NAME_SIZE];
    if (outcome == KUBERNETES_OUTCOME_START) {
        instance->uid[0] = '\0';
        instance->has_objects = false;
        instance->state = KUBERNETES_WAITING;
        kubernetes_instance_begin(instance);
        return;
    }
    memcpy(id, instance->id, sizeof id);
    memcpy(name, instance->name, sizeof name);
    kubernetes_instance_free(instance);
    if (outcome == KUBERNETES_OUTCOME_FAILED) {
        backend->events.failed(backend->events.owner, id, &failure);
    } else if (outcome == KUBERNETES_OUTCOME_STOPPED) {
        backend->events.stopped(backend->events.owner, id);
    }
    kubernetes_end_pass_name_on(backend, name);
}

static void leave_to_roundup(struct kubernetes_instance *instance) {
    kubernetes_roundup_again(instance->backend->roundup);
    if (instance->terminal_uid[0] != '\0') { /* a roundup looks for pods */
        kubernetes_unanswered_add(instance->backend, instance->name, instance->terminal_uid);
    }
    forget(instance);
}

static bool is_forgettable(const struct kubernetes_instance *instance) {
    return instance->outcome == KUBERNETES_OUTCOME_SAID || instance->outcome == KUBERNETES_OUTCOME_FAILED;
}

static void retry_later(struct kubernetes_instance *instance) {
    int pause_ms = RETRY_MIN_MS << (instance->tries < 7 ? instance->tries : 7);
    instance->tries++;
    kubernetes_instance_set_timer(instance, pause_ms < RETRY_MAX_MS ? pause_ms : RETRY_MAX_MS);
}

/* All three have been asked to go: a pod takes its time. */
static void step_leave(struct kubernetes_instance *instance) {
    if (instance->uid[0] == '\0') {
        forget(instance);
        return;
    }
    instance->state = KUBERNETES_LEAVING;
    kubernetes_instance_set_timer(instance, FORCE_AFTER_MS);
}

void kubernetes_end_pod_is_gone(struct kubernetes_instance *instance) {
    instance->uid[0] = '\0';
    instance->pod_is_gone = true;
    if (instance->state == KUBERNETES_LEAVING) {
        forget(instance);
    }
}

/* A pod whose creation was never answered turns up: it is waited for, too. */
static void take_uid(struct kubernetes_instance *instance, struct json_object *pod) {
    struct json_object *metadata = json_get_object(pod, "metadata");
    const char *uid = json_get_string(metadata, "uid");
    if (instance->uid[0] == '\0' && !instance->pod_is_gone && uid != NULL && strlen(uid) < sizeof instance->uid &&
        json_get_int(metadata, "deletionGracePeriodSeconds", 0) > 0) {
        strcpy(instance->uid, uid);
    }
}

static void on_removed(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    struct error err;
    instance->call = NULL;
    bool is_pod = instance->removal == 0 && !instance->backend->has_operator;
    /* 409: the name is another one's by now. */
    bool is_gone = answer->status == 404 || (instance->removal == 0 && answer->status == 409);
    if (is_gone || (answer->status >= 200 && answer->status < 300)) {
        if (is_pod && is_gone) {
            instance->uid[0] = '\0';
        } else if (is_pod) {
            take_uid(instance, answer->json);
        }
        instance->tries = 0;
        instance->removal++;
        step_remove(instance);
    } else if (answer->status == 0 && is_forgettable(instance)) {
        leave_to_roundup(instance); /* nobody shall wait for the API server to come back */
    } else {
        if (instance->tries % 10 == 3) {
            kubernetes_answer_error(answer, &err, "remove what is left of an instance");
            log_warning(NULL, "pod `%s`: %s (tried again)", instance->name, err.message);
        }
        retry_later(instance);
    }
}

static void ask_to_remove(struct kubernetes_instance *instance, int grace_s, kubernetes_done *done) {
    const struct backend *backend = instance->backend;
    bool is_first = instance->removal == 0; /* which may be another one's by now */
    cleanup_json struct json_object *options = !is_first ? NULL
                                               : backend->has_operator
                                                   ? kubernetes_delete_options(instance->terminal_uid, -1)
                                                   : kubernetes_delete_options(instance->uid, grace_s);
    const struct kubernetes_request request = {.method = "DELETE",
                                               .api = backend->terminals_api, /* NULL without an operator */
                                               .kind = kind_of(instance),
                                               .name = instance->name,
                                               .body = options,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    if (is_first && options == NULL) {
        retry_later(instance);
    } else {
        kubernetes_instance_call(instance, &request, done);
    }
}

static void step_remove(struct kubernetes_instance *instance) {
    instance->state = KUBERNETES_REMOVING;
    if (!instance->has_objects) {
        forget(instance);
    } else if (kind_of(instance) != NULL) {
        ask_to_remove(instance, KUBERNETES_STOP_GRACE_S, on_removed);
    } else {
        step_leave(instance);
    }
}

void kubernetes_end_begin(struct kubernetes_instance *instance, enum kubernetes_outcome outcome) {
    kubernetes_instance_drop_calls(instance);
    instance->outcome = outcome;
    if (instance->is_stop_wanted) { /* and waits for an answer that nobody awaits any more */
        instance->is_stop_wanted = false;
        instance->outcome = KUBERNETES_OUTCOME_STOPPED;
        instance->has_objects = instance->has_objects || instance->uid[0] != '\0' || instance->terminal_uid[0] != '\0';
    }
    instance->tries = 0;
    instance->removal = 0;
    instance->pod_is_gone = false;
    step_remove(instance);
}

/* --- a pod that does not go --------------------------------------------------------------------------------------- */

static void on_forced(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    instance->call = NULL;
    if (answer->status == 404 || answer->status == 409) {
        kubernetes_end_pod_is_gone(instance);
    } else if (answer->status == 0 && is_forgettable(instance)) {
        leave_to_roundup(instance);
    } else {
        kubernetes_instance_set_timer(instance, RETRY_MAX_MS);
    }
}

void kubernetes_end_timer(struct kubernetes_instance *instance) {
    if (instance->state == KUBERNETES_REMOVING) {
        step_remove(instance);
        return;
    }
    if (instance->backend->has_operator) {
        log_warning(NULL, "pod `%s` does not go: it is left to the operator", instance->name);
        kubernetes_end_pod_is_gone(instance);
        return;
    }
    log_warning(NULL, "pod `%s` does not go: it is deleted without waiting for its node", instance->name);
    instance->removal = 0;
    ask_to_remove(instance, 0, on_forced);
}
