#include "provisioner/operator/reconcile.h"

#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_options.h"
#include "provisioner/backends/kubernetes_pods.h"
#include "provisioner/operator/blueprint.h"
#include "provisioner/operator/child.h"
#include "provisioner/operator/controller.h"
#include "provisioner/operator/status.h"

#define CREATE_QUERY      "?fieldManager=terminals-operator&fieldValidation=Strict"
#define UPDATE_QUERY      "?fieldManager=terminals-operator"
#define STEPS_MAX         24
#define SOON_MS           250   /* what is being deleted is about to go, and its watch tells */
#define FORCE_SLACK_MS    15000 /* after a pod's own grace: a node that is gone confirms nothing */
#define POD_LASTING_MS    600000
#define POD_PAUSE_MIN_MS  500
#define POD_PAUSE_MAX_MS  300000
#define POD_DOUBLINGS_MAX 10

/* What a step came to. */
enum outcome {
    OUTCOME_NOTHING, /* it is as it shall be: the next step */
    OUTCOME_ASKED,   /* a call is under way, whose answer continues */
    OUTCOME_WAIT,    /* something is on its way: to be looked at again */
    OUTCOME_FAILED,  /* work->problem says why */
};

/* One look at a Terminal and at what there is of its name. Lives as long as a step. */
struct look {
    struct controller *controller;
    struct work *work;
    const struct kubernetes_terminal *terminal; /* NULL: there is none */
    const struct kubernetes_pod *pod;
    const struct child *service;
    const struct child *secret;
    const struct child *claim;
    struct blueprint blueprint;
    bool sleeps;      /* nobody has used it for long */
    int64_t again_ms; /* when to look again; negative: only when something happens */
};

static void step(struct work *work);

/* --- calls -------------------------------------------------------------------------------------------------------- */

static void on_answer(void *argument, const struct kubernetes_answer *answer) {
    struct work *work = argument;
    work->call = NULL;
    work->answered(work, answer);
}

static enum outcome ask(struct look *look, const struct kubernetes_request *request,
                        void (*answered)(struct work *work, const struct kubernetes_answer *answer)) {
    struct work *work = look->work;
    if (++work->steps > STEPS_MAX) {
        error_set(&work->problem, ERROR_BACKEND, "what is made does not stay");
        return OUTCOME_FAILED;
    }
    work->answered = answered;
    work->call = kubernetes_call_start(look->controller->client, request, on_answer, work);
    if (work->call == NULL) {
        error_set(&work->problem, ERROR_INTERNAL, "out of memory");
        return OUTCOME_FAILED;
    }
    return OUTCOME_ASKED;
}

static void again_from_watch(struct work *work) {
    memset(&work->problem, 0, sizeof work->problem);
    work_failed(work); /* a short pause, that grows */
}

/* What could not be done; the status says it, unless nobody can be asked anyway. */
static void fail(struct work *work, const struct kubernetes_answer *answer, const char *what) {
    struct controller *controller = work->owner;
    const struct kubernetes_terminal *terminal =
        kubernetes_terminals_find(controller->watches[WATCH_TERMINALS], work->name);
    kubernetes_answer_error(answer, &work->problem, what);
    log_warning(NULL, "Terminal `%s`: %s", work->name, work->problem.message);
    if (answer->status == 0 || answer->status == 401 || terminal == NULL) {
        work_failed(work);
    } else {
        step(work); /* which sees the problem and writes the status */
    }
}

/* --- deleting ----------------------------------------------------------------------------------------------------- */

static void on_deleted(struct work *work, const struct kubernetes_answer *answer) {
    /* 409: it is another one by now. */
    if ((answer->status >= 200 && answer->status < 300) || answer->status == 404 || answer->status == 409) {
        again_from_watch(work);
    } else {
        fail(work, answer, "delete what is left of an instance");
    }
}

static enum outcome delete_item(struct look *look, const char *kind, const struct kubernetes_item *item, int grace_s) {
    cleanup_json struct json_object *options = kubernetes_delete_options(item->uid, grace_s);
    const struct kubernetes_request request = {.method = "DELETE",
                                               .kind = kind,
                                               .name = item->name,
                                               .body = options,
                                               .timeout_ms = CONTROLLER_CALL_TIMEOUT_MS};
    if (options == NULL) {
        error_set(&look->work->problem, ERROR_INTERNAL, "out of memory");
        return OUTCOME_FAILED;
    }
    log_debug(NULL, "Terminal `%s`: deleting of %s `%s`", look->work->name, kind, item->uid);
    return ask(look, &request, on_deleted);
}

/* A pod that is going: its time is over when its node does not say that it has gone. */
static enum outcome await_end(struct look *look) {
    int64_t since_ms = clock_monotonic_ms() - look->work->going_since_ms;
    int64_t grace_ms = look->pod->grace_s * 1000 + FORCE_SLACK_MS;
    if (strcmp(look->work->going_uid, look->pod->item.uid) != 0) {
        strcpy(look->work->going_uid, look->pod->item.uid);
        look->work->going_since_ms = clock_monotonic_ms();
        since_ms = 0;
    }
    if (since_ms < grace_ms) {
        look->again_ms = grace_ms - since_ms;
        return OUTCOME_WAIT;
    }
    log_warning(NULL, "pod `%s` does not go: it is deleted without waiting for its node", look->pod->item.name);
    look->work->going_since_ms = clock_monotonic_ms();
    return delete_item(look, "pods", &look->pod->item, 0);
}

static enum outcome end_pod(struct look *look, int grace_s) {
    return look->pod->is_going ? await_end(look) : delete_item(look, "pods", &look->pod->item, grace_s);
}

/* --- what nobody owns --------------------------------------------------------------------------------------------- */

static bool owns(const struct look *look, const char *owner_uid) {
    return look->terminal != NULL && !look->terminal->is_going && strcmp(owner_uid, look->terminal->item.uid) == 0;
}

/* The cluster's garbage collector would come to the same end, later; and not where somebody took the owners away. */
static enum outcome remove_orphans(struct look *look) {
    if (look->pod != NULL && look->pod->is_operators && !owns(look, look->pod->owner_uid)) {
        return end_pod(look, -1);
    }
    if (look->service != NULL && look->service->is_operators && !owns(look, look->service->owner_uid)) {
        return delete_item(look, "services", &look->service->item, -1);
    }
    if (look->secret != NULL && look->secret->is_operators && !owns(look, look->secret->owner_uid)) {
        return delete_item(look, "secrets", &look->secret->item, -1);
    }
    return OUTCOME_NOTHING;
}

/* --- making ------------------------------------------------------------------------------------------------------- */

static enum controller_watch watch_of(const char *kind) {
    return strcmp(kind, "pods") == 0       ? WATCH_PODS
           : strcmp(kind, "services") == 0 ? WATCH_SERVICES
           : strcmp(kind, "secrets") == 0  ? WATCH_SECRETS
                                           : WATCH_CLAIMS;
}

static void on_made(struct work *work, const struct kubernetes_answer *answer) {
    struct controller *controller = work->owner;
    char what[64];
    if (answer->status == 201) {
        if (work->making == WATCH_PODS) {
            work->pod_made_ms = clock_monotonic_ms();
        }
        memset(&work->problem, 0, sizeof work->problem);
        kubernetes_watch_note(controller->watches[work->making], answer->json);
        step(work);
    } else if (answer->status == 409) {
        again_from_watch(work); /* the watch is about to tell of it */
    } else {
        static const char *const names[] = {"Terminal", "pod", "service", "secret", "claim"};
        snprintf(what, sizeof what, "create the %s", names[work->making]);
        fail(work, answer, what);
    }
}

/* Takes over `body`. Of a secret not even the answer comes back to us. */
static enum outcome make(struct look *look, const char *kind, struct json_object *body, const struct error *err) {
    cleanup_json struct json_object *owned = body;
    const struct kubernetes_request request = {.method = "POST",
                                               .kind = kind,
                                               .query = CREATE_QUERY,
                                               .body = owned,
                                               .form = watch_of(kind) == WATCH_PODS ? KUBERNETES_WHOLE
                                                                                    : KUBERNETES_METADATA,
                                               .timeout_ms = CONTROLLER_CALL_TIMEOUT_MS};
    if (owned == NULL) {
        look->work->problem = *err;
        return OUTCOME_FAILED;
    }
    look->work->making = watch_of(kind);
    return ask(look, &request, on_made);
}

static enum outcome refuse_foreign(struct look *look, const char *kind) {
    error_set(&look->work->problem, ERROR_BACKEND, "the %s of its name is not this Terminal's", kind);
    return OUTCOME_FAILED;
}

/* One that nobody looks after but that is the same user's: the backend without operator made it. */
static bool is_same_users(const struct look *look, struct json_object *metadata) {
    struct kubernetes_identity identity;
    kubernetes_identity_read(metadata, &identity);
    return kubernetes_identity_matches(&identity, &look->blueprint.spec);
}

static enum outcome tend_claim(struct look *look) {
    struct error err = {0};
    if (!look->blueprint.has_claim || look->sleeps) {
        return OUTCOME_NOTHING;
    }
    if (look->claim == NULL) {
        return make(look, "persistentvolumeclaims", blueprint_claim(&look->blueprint, &err), &err);
    }
    if (!is_same_users(look, look->claim->metadata)) {
        error_set(&look->work->problem, ERROR_BACKEND,
                  "the claim of its name is another user's, whose name only looks alike");
        return OUTCOME_FAILED;
    }
    if (look->claim->is_going && look->pod == NULL) {
        look->again_ms = SOON_MS;
        return OUTCOME_WAIT;
    }
    return OUTCOME_NOTHING;
}

/* A child of ours, or one to be made, or in the way. */
static enum outcome tend_child(struct look *look, const char *kind, const struct child *child,
                               struct json_object *(*blueprint)(const struct blueprint *, struct error *err)) {
    struct error err = {0};
    if (child == NULL) {
        return make(look, kind, blueprint(&look->blueprint, &err), &err);
    }
    if (owns(look, child->owner_uid)) {
        return OUTCOME_NOTHING;
    }
    return child->owner_uid[0] == '\0' && is_same_users(look, child->metadata)
               ? delete_item(look, kind, &child->item, -1)
               : refuse_foreign(look, kind);
}

/* --- the pod ------------------------------------------------------------------------------------------------------ */

/* Somebody has asked for it since its status was written last. */
static bool is_woken(const struct look *look) {
    return strcmp(kubernetes_terminal_phase(look->terminal), KUBERNETES_PHASE_PENDING) == 0;
}

/* Pods that end soon are made anew with pauses that double, as the kubelet does with containers; but somebody who asks
 * for it now is not told of a pod that ended before. */
static enum outcome replace_pod(struct look *look, const char *why) {
    struct work *work = look->work;
    bool lasted = work->pod_made_ms == 0 || clock_monotonic_ms() - work->pod_made_ms > POD_LASTING_MS;
    work->pod_failures = lasted ? 0 : work->pod_failures;
    int doublings = work->pod_failures < POD_DOUBLINGS_MAX ? work->pod_failures : POD_DOUBLINGS_MAX;
    int64_t pause_ms = work->pod_failures == 0 || is_woken(look) ? 0 : (int64_t)POD_PAUSE_MIN_MS << doublings;
    int64_t rest_ms =
        work->pod_made_ms + (pause_ms < POD_PAUSE_MAX_MS ? pause_ms : POD_PAUSE_MAX_MS) - clock_monotonic_ms();
    if (rest_ms > 0) {
        look->again_ms = rest_ms;
        return OUTCOME_WAIT;
    }
    work->pod_failures++;
    event_record(look->controller->recorder, look->terminal, true, "Replaced", why);
    log_info(NULL, "Terminal `%s`: its pod is made anew: %s", work->name, why);
    return end_pod(look, look->pod->state == KUBERNETES_POD_ENDED ? 0 : -1);
}

static enum outcome tend_pod(struct look *look) {
    const struct kubernetes_pod *pod = look->pod;
    struct error err = {0};
    char why[KUBERNETES_REASON_SIZE + 32];
    if (pod == NULL) {
        return look->sleeps ? OUTCOME_NOTHING
                            : make(look, "pods", blueprint_pod(&look->blueprint, look->secret->item.uid, &err), &err);
    }
    if (!owns(look, pod->owner_uid)) {
        return !pod->has_controller && kubernetes_pod_matches(pod, &look->blueprint.spec) ? end_pod(look, -1)
                                                                                          : refuse_foreign(look, "pod");
    }
    if (pod->is_going) {
        return await_end(look);
    }
    if (look->sleeps) {
        return OUTCOME_NOTHING; /* the status says so first */
    }
    if (pod->state == KUBERNETES_POD_ENDED) {
        snprintf(why, sizeof why, "it ended%s%s", pod->reason[0] == '\0' ? "" : ": ", pod->reason);
        return replace_pod(look, why);
    }
    return strcmp(pod->secret_uid, look->secret->item.uid) == 0
               ? OUTCOME_NOTHING
               : replace_pod(look, "its secret is another, with another key");
}

/* --- the status --------------------------------------------------------------------------------------------------- */

static void describe_pod(const struct look *look, struct status *status) {
    const struct kubernetes_pod *pod = look->pod;
    status->phase = KUBERNETES_PHASE_PROVISIONING;
    status->reason = "PodIsComing";
    if (pod == NULL || pod->is_going) {
        return;
    }
    snprintf(status->message, sizeof status->message, "%s", pod->reason);
    if (pod->state == KUBERNETES_POD_RUNNING) {
        status->phase = KUBERNETES_PHASE_RUNNING;
        status->is_ready = true;
        status->reason = "PodRuns";
        status->message[0] = '\0';
    } else if (pod->state == KUBERNETES_POD_STUCK) {
        status->phase = KUBERNETES_PHASE_ERROR;
        status->reason = KUBERNETES_REASON_POD_STUCK;
        snprintf(status->message, sizeof status->message, "its pod cannot start: %s", pod->reason);
    } else if (pod->state == KUBERNETES_POD_ENDED) {
        status->phase = KUBERNETES_PHASE_ERROR;
        status->reason = KUBERNETES_REASON_POD_ENDED;
        snprintf(status->message, sizeof status->message, "its pod ended: %s", pod->reason);
    }
}

static struct status describe(const struct look *look) {
    const struct error *problem = &look->work->problem;
    struct status status = {.namespace_name = look->controller->settings->kubernetes_namespace,
                            .has_pod = look->pod != NULL && owns(look, look->pod->owner_uid),
                            .has_service = look->service != NULL && owns(look, look->service->owner_uid),
                            .has_secret = look->secret != NULL && owns(look, look->secret->owner_uid)};
    if (problem->code != ERROR_NONE) {
        bool is_for_later = problem->code == ERROR_CAPACITY;
        status.phase = KUBERNETES_PHASE_ERROR;
        status.reason = problem->code == ERROR_INVALID ? "SpecIsInvalid"
                        : is_for_later                 ? KUBERNETES_REASON_CAPACITY
                                                       : "CannotBeMade";
        snprintf(status.message, sizeof status.message, "%s", problem->message);
    } else if (look->sleeps) {
        status.phase = KUBERNETES_PHASE_IDLE;
        status.reason = "NobodyUsesIt";
        status.has_pod = false;
    } else {
        describe_pod(look, &status);
    }
    return status;
}

static void tell_people(const struct controller *controller, const struct kubernetes_terminal *terminal,
                        const char *before, struct json_object *told) {
    struct json_object *status = json_get_object(told, "status");
    const char *phase = json_get_string(status, "phase");
    const char *message = json_get_string(status, "message");
    static const char *const texts[][3] = {
        {KUBERNETES_PHASE_PROVISIONING, "Started", "the pod was made"},
        {KUBERNETES_PHASE_RUNNING, "Running", "the pod runs"},
        {KUBERNETES_PHASE_IDLE, "Idle", "nobody has used it for long: its pod goes, its files stay"},
        {KUBERNETES_PHASE_ERROR, "Failed", ""},
    };
    for (size_t i = 0; terminal != NULL && phase != NULL && i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(phase, texts[i][0]) == 0 && strcmp(phase, before) != 0) {
            bool is_error = texts[i][2][0] == '\0';
            event_record(controller->recorder, terminal, is_error, texts[i][1],
                         is_error && message != NULL ? message : texts[i][2]);
        }
    }
}

static void on_status_written(struct work *work, const struct kubernetes_answer *answer) {
    struct controller *controller = work->owner;
    struct kubernetes_watch *terminals = controller->watches[WATCH_TERMINALS];
    if (answer->status == 200) {
        tell_people(controller, kubernetes_terminals_find(terminals, work->name), work->phase, answer->json);
        kubernetes_watch_note(terminals, answer->json);
        step(work);
    } else if (answer->status == 404 || answer->status == 409) {
        again_from_watch(work); /* it is gone, or was used or woken at this very moment */
    } else {
        kubernetes_answer_error(answer, &work->problem, "write the status");
        log_warning(NULL, "Terminal `%s`: %s", work->name, work->problem.message);
        memset(&work->problem, 0, sizeof work->problem);
        work_failed(work);
    }
}

static enum outcome tend_status(struct look *look) {
    const struct status status = describe(look);
    bool is_needed = false;
    cleanup_json struct json_object *patch = status_patch(&status, look->terminal, &is_needed);
    const struct kubernetes_request request = {.method = "PATCH",
                                               .api = look->controller->api,
                                               .kind = KUBERNETES_TERMINALS,
                                               .name = look->work->name,
                                               .subresource = "status",
                                               .query = UPDATE_QUERY,
                                               .body = patch,
                                               .timeout_ms = CONTROLLER_CALL_TIMEOUT_MS};
    if (!is_needed) {
        return OUTCOME_NOTHING;
    }
    /* By the time of the answer the watch may have told us of it. */
    snprintf(look->work->phase, sizeof look->work->phase, "%s", kubernetes_terminal_phase(look->terminal));
    return patch == NULL ? OUTCOME_WAIT : ask(look, &request, on_status_written);
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static void look_at_clock(struct look *look) {
    const struct kubernetes_terminal *terminal = look->terminal;
    int64_t used_ms = terminal->active_ms > terminal->created_ms ? terminal->active_ms : terminal->created_ms;
    if (look->blueprint.idle_ms <= 0) {
        return;
    }
    int64_t rest_ms = used_ms + look->blueprint.idle_ms + RECONCILE_IDLE_SLACK_MS - clock_unix_ms();
    look->sleeps = rest_ms <= 0;
    look->again_ms = look->sleeps ? -1 : rest_ms;
}

static enum outcome tend_objects(struct look *look) {
    enum outcome outcome = tend_claim(look);
    outcome = outcome != OUTCOME_NOTHING ? outcome : tend_child(look, "secrets", look->secret, blueprint_secret);
    outcome = outcome != OUTCOME_NOTHING ? outcome : tend_pod(look);
    return outcome != OUTCOME_NOTHING ? outcome : tend_child(look, "services", look->service, blueprint_service);
}

/* A failure is written down before it is tried again. */
static enum outcome tend_terminal(struct look *look) {
    struct error err = {0};
    bool has_failed = look->work->problem.code != ERROR_NONE;
    if (!has_failed && !blueprint_read(&look->blueprint, look->controller, look->terminal, &err)) {
        look->work->problem = err;
        has_failed = true;
    }
    enum outcome outcome = OUTCOME_FAILED;
    if (!has_failed) {
        look_at_clock(look);
        outcome = tend_objects(look);
    }
    if (outcome == OUTCOME_ASKED) {
        return outcome;
    }
    enum outcome written = tend_status(look);
    if (written != OUTCOME_NOTHING) {
        return written;
    }
    return look->sleeps && outcome == OUTCOME_NOTHING && look->pod != NULL ? end_pod(look, -1) : outcome;
}

static struct look look_around(struct work *work) {
    struct controller *controller = work->owner;
    return (struct look){
        .controller = controller,
        .work = work,
        .terminal = kubernetes_terminals_find(controller->watches[WATCH_TERMINALS], work->name),
        .pod = kubernetes_pods_find(controller->watches[WATCH_PODS], work->name),
        .service = child_find(controller->watches[WATCH_SERVICES], work->name),
        .secret = child_find(controller->watches[WATCH_SECRETS], work->name),
        .claim = child_find(controller->watches[WATCH_CLAIMS], work->name),
        .again_ms = -1,
    };
}

static void step(struct work *work) {
    struct look look = look_around(work);
    bool is_whole = look.terminal != NULL && !look.terminal->is_going;
    enum outcome outcome = remove_orphans(&look);
    if (outcome == OUTCOME_NOTHING && is_whole) {
        outcome = tend_terminal(&look);
    }
    blueprint_free(&look.blueprint);
    switch (outcome) {
    case OUTCOME_ASKED:
        break;
    case OUTCOME_FAILED:
        memset(&work->problem, 0, sizeof work->problem);
        work_failed(work);
        break;
    case OUTCOME_WAIT:
        work_done(work, look.again_ms < 0 ? SOON_MS : look.again_ms);
        break;
    case OUTCOME_NOTHING:
        if (look.terminal == NULL) {
            work_over(work);
        } else {
            work_done(work, look.again_ms);
        }
        break;
    }
}

void reconcile_run(struct work *work) {
    step(work);
}
