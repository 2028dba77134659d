/* kubernetes_start.c - the steps of a start: the claim, the secret, the pod, the service, and what the kubelet does. */
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_instance.h"
#include "provisioner/backends/kubernetes_operator.h"

#define CREATE_QUERY "?fieldManager=terminals&fieldValidation=Strict"
/* A pod that no node takes may find one in a moment: another is just leaving. */
#define UNSCHEDULABLE_GRACE_MS 3000
#define CLAIM_PAUSE_MS         250
#define CLAIM_TRIES_MAX        200

static void step_secret(struct kubernetes_instance *instance);
static void step_pod(struct kubernetes_instance *instance);

/* The answer to a step as the failure of the start. */
static void fail_with(struct kubernetes_instance *instance, const struct kubernetes_answer *answer, const char *what) {
    struct error err;
    kubernetes_answer_error(answer, &err, what);
    kubernetes_instance_fail(instance, &err);
}

static void fail_saying(struct kubernetes_instance *instance, enum error_code code, const char *text) {
    struct error err;
    error_set(&err, code, "%s", text);
    kubernetes_instance_fail(instance, &err);
}

static void say_progress(struct kubernetes_instance *instance, const char *text) {
    const struct backend_events *events = &instance->backend->events;
    if (events->progress != NULL) {
        events->progress(events->owner, instance->id, text);
    }
}

/* POSTs what `make` makes, as the last thing: where that cannot be the instance fails. */
static void create(struct kubernetes_instance *instance, const char *kind,
                   struct json_object *(*make)(const struct kubernetes_plan *plan, struct error *err),
                   kubernetes_done *done) {
    struct error err = {0};
    const struct kubernetes_plan plan = kubernetes_instance_plan(instance);
    cleanup_json struct json_object *body = make(&plan, &err);
    if (body == NULL) {
        err.code = err.code == ERROR_INVALID ? ERROR_BACKEND : err.code;
        kubernetes_instance_fail(instance, &err);
        return;
    }
    const struct kubernetes_request request = {
        .method = "POST", .kind = kind, .query = CREATE_QUERY, .body = body, .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    kubernetes_instance_call(instance, &request, done);
}

static bool exists_already(const struct kubernetes_answer *answer) {
    return answer->status == 409 && strcmp(answer->reason, "AlreadyExists") == 0;
}

/* --- what the kubelet does ---------------------------------------------------------------------------------------- */

void kubernetes_start_look(struct kubernetes_instance *instance, const struct kubernetes_pod *pod) {
    const struct settings *settings = instance->backend->settings;
    char text[KUBERNETES_REASON_SIZE + 32];
    switch (pod->state) {
    case KUBERNETES_POD_RUNNING:
        evtimer_del(instance->timer);
        kubernetes_instance_probe(instance, pod->address, (int)settings->start_timeout_seconds * 1000);
        break;
    case KUBERNETES_POD_STUCK:
        snprintf(text, sizeof text, "its pod cannot start: %s", pod->reason);
        fail_saying(instance, ERROR_BACKEND, text);
        break;
    case KUBERNETES_POD_UNSCHEDULABLE:
        say_progress(instance, pod->reason);
        /* A claim is bound, or seen by the scheduler, a moment after the pod has come. */
        if (strstr(pod->reason, "ersistent") == NULL && evtimer_pending(instance->timer, NULL) == 0) {
            kubernetes_instance_set_timer(instance, UNSCHEDULABLE_GRACE_MS);
        }
        break;
    case KUBERNETES_POD_PENDING:
        evtimer_del(instance->timer);
        say_progress(instance, pod->reason[0] == '\0' ? "the pod is coming" : pod->reason);
        break;
    case KUBERNETES_POD_ENDED:
    case KUBERNETES_POD_TERMINATING:
        break; /* kubernetes_instance_pod_changed() has dealt with it */
    }
}

static void step_coming(struct kubernetes_instance *instance) {
    const struct kubernetes_pod *pod = kubernetes_pods_find(instance->backend->pods, instance->name);
    instance->state = KUBERNETES_COMING;
    say_progress(instance, "the pod is coming");
    if (pod != NULL) {
        kubernetes_instance_pod_changed(instance, pod, false);
    }
}

/* --- service, pod, secret ----------------------------------------------------------------------------------------- */

static void on_service(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 201 || exists_already(answer)) {
        instance->has_service = true;
        step_coming(instance); /* one that is left over leads nowhere, and is removed with this instance */
    } else {
        fail_with(instance, answer, "create the service");
    }
}

static void take_pod(struct kubernetes_instance *instance, const struct kubernetes_answer *answer) {
    const char *uid = json_get_string(json_get_object(answer->json, "metadata"), "uid");
    if (uid == NULL || strlen(uid) >= sizeof instance->uid) {
        fail_saying(instance, ERROR_BACKEND, "the API server made a pod without a uid");
        return;
    }
    strcpy(instance->uid, uid);
    instance->created_ms = clock_monotonic_ms();
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    instance->state = KUBERNETES_SERVICE;
    create(instance, "services", kubernetes_service_manifest, on_service);
}

static void on_pod(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    instance->call = NULL;
    if (answer->status == 201) {
        take_pod(instance, answer);
    } else if (kubernetes_instance_may_go_on(instance)) {
        fail_with(instance, answer, "create the pod");
    }
}

static void step_pod(struct kubernetes_instance *instance) {
    instance->state = KUBERNETES_POD;
    create(instance, "pods", kubernetes_pod_manifest, on_pod);
}

static void on_old_secret_gone(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 200 || answer->status == 404) {
        step_secret(instance);
    } else {
        fail_with(instance, answer, "remove the old secret");
    }
}

/* It holds the key of an instance that is no more: this name is this instance's now. */
static void remove_old_secret(struct kubernetes_instance *instance) {
    const struct kubernetes_request request = {
        .method = "DELETE", .kind = "secrets", .name = instance->name, .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    kubernetes_instance_call(instance, &request, on_old_secret_gone);
}

static void on_secret(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 201) {
        step_pod(instance);
    } else if (exists_already(answer) && instance->tries++ < 3) {
        remove_old_secret(instance);
    } else {
        fail_with(instance, answer, "create the secret");
    }
}

static void step_secret(struct kubernetes_instance *instance) {
    instance->state = KUBERNETES_SECRET;
    create(instance, "secrets", kubernetes_secret_manifest, on_secret);
}

/* --- the claim ---------------------------------------------------------------------------------------------------- */

static void claim_is_there(struct kubernetes_instance *instance) {
    instance->tries = 0;
    if (instance->backend->has_operator) {
        kubernetes_operator_create(instance);
    } else {
        step_secret(instance);
    }
}

static void on_claim_made(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 201) {
        claim_is_there(instance);
    } else if (exists_already(answer) && instance->tries++ < CLAIM_TRIES_MAX) {
        kubernetes_start_claim(instance); /* the shared one, which another instance has just made */
    } else {
        fail_with(instance, answer, "create the claim");
    }
}

/* A claim that somebody deletes goes when its last pod has gone. */
static void claim_is_going(struct kubernetes_instance *instance) {
    if (instance->tries++ >= CLAIM_TRIES_MAX) {
        fail_saying(instance, ERROR_BACKEND, "its claim is being deleted, and does not go");
        return;
    }
    say_progress(instance, "its old claim is being deleted");
    kubernetes_instance_set_timer(instance, CLAIM_PAUSE_MS);
}

static void take_claim(struct kubernetes_instance *instance, struct json_object *metadata) {
    const struct kubernetes_plan plan = kubernetes_instance_plan(instance);
    struct kubernetes_identity identity;
    bool is_own = strcmp(kubernetes_claim_name(&plan), instance->name) == 0;
    kubernetes_identity_read(metadata, &identity);
    if (is_own && !kubernetes_identity_matches(&identity, &instance->spec)) {
        fail_saying(instance, ERROR_BACKEND, "the claim of its name is another user's, whose name only looks alike");
    } else if (json_get_string(metadata, "deletionTimestamp") != NULL) {
        claim_is_going(instance);
    } else {
        claim_is_there(instance);
    }
}

/* Asked for first: where a quota is used up, a creation is refused even if the claim exists. */
static void on_claim(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 200) {
        take_claim(instance, json_get_object(answer->json, "metadata"));
    } else if (answer->status == 404) {
        create(instance, "persistentvolumeclaims", kubernetes_claim_manifest, on_claim_made);
    } else {
        fail_with(instance, answer, "look for the claim");
    }
}

void kubernetes_start_claim(struct kubernetes_instance *instance) {
    const struct kubernetes_plan plan = kubernetes_instance_plan(instance);
    const struct kubernetes_request request = {.method = "GET",
                                               .kind = "persistentvolumeclaims",
                                               .name = kubernetes_claim_name(&plan),
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    instance->state = KUBERNETES_CLAIM;
    kubernetes_instance_call(instance, &request, on_claim);
}

/* --- the beginning ------------------------------------------------------------------------------------------------ */

void kubernetes_start_timer(struct kubernetes_instance *instance) {
    const struct kubernetes_pod *pod = kubernetes_pods_find(instance->backend->pods, instance->name);
    if (instance->state == KUBERNETES_CLAIM) {
        kubernetes_start_claim(instance);
    } else if (instance->state == KUBERNETES_COMING && pod != NULL && pod->state == KUBERNETES_POD_UNSCHEDULABLE) {
        char text[KUBERNETES_REASON_SIZE + 32];
        snprintf(text, sizeof text, "its pod finds no node: %s", pod->reason);
        fail_saying(instance, ERROR_CAPACITY, text);
    }
}

/* A pod that a predecessor left: it is this user's and not known to run, so it makes room. */
static void clear(struct kubernetes_instance *instance, const struct kubernetes_pod *pod) {
    struct error err;
    if (!kubernetes_pod_matches(pod, &instance->spec) || pod->has_controller) {
        instance->has_objects = false;
        error_set(&err, ERROR_BACKEND, "the pod `%s` is %s", instance->name,
                  pod->has_controller ? "looked after by another controller"
                                      : "another user's, whose name only looks alike");
        kubernetes_instance_fail(instance, &err);
        return;
    }
    log_info(NULL, "removing what is left of pod `%s`", instance->name);
    strcpy(instance->uid, pod->item.uid);
    instance->has_objects = true;
    kubernetes_end_begin(instance, KUBERNETES_OUTCOME_START);
}

void kubernetes_start_begin(struct kubernetes_instance *instance) {
    const struct backend_events *events = &instance->backend->events;
    const struct kubernetes_pod *pod = kubernetes_pods_find(instance->backend->pods, instance->name);
    char reference[2 * KUBERNETES_NAME_SIZE + 2];
    struct error err = {0};
    if (pod != NULL) {
        clear(instance, pod);
        return;
    }
    snprintf(reference, sizeof reference, "%s/%s", instance->backend->settings->kubernetes_namespace, instance->name);
    /* A pod runs as soon as it is made: it is written down before. */
    if (!events->created(events->owner, instance->id, reference, &err)) {
        instance->has_objects = false;
        kubernetes_instance_fail(instance, &err);
        return;
    }
    instance->has_objects = true;
    instance->tries = 0;
    kubernetes_start_claim(instance);
}
