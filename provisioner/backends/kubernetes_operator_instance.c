/* kubernetes_operator_instance.c - an instance's life where terminals-operator makes the pods: the Terminal, the key,
 * and what becomes of its pod. */
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/backends/kubernetes_operator.h"
#include "provisioner/backends/kubernetes_secret.h"

#define CREATE_QUERY      "?fieldManager=terminals&fieldValidation=Strict"
#define UPDATE_QUERY      "?fieldManager=terminals"
#define RETRY_MS          50
#define TRIES_MAX         100
#define ADOPT_PATIENCE_MS 10000 /* a pod that is just being made anew */

static void look(struct kubernetes_instance *instance);

static const struct kubernetes_terminal *terminal_of(const struct kubernetes_instance *instance) {
    return kubernetes_terminals_find(instance->backend->terminals, instance->name);
}

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

/* --- the key ------------------------------------------------------------------------------------------------------ */

/* What ran before us is not ended for that, and mostly has the key that its last provisioner wrote down. */
static void has_no_key(struct kubernetes_instance *instance, const struct kubernetes_answer *answer) {
    struct error err;
    if (answer->status == 200) {
        error_set(&err, ERROR_BACKEND, "the secret that its Terminal names holds no key");
    } else {
        kubernetes_answer_error(answer, &err, "read the instance's key");
    }
    if (instance->is_adoption) {
        kubernetes_instance_adopt_blindly(instance, &err);
    } else {
        kubernetes_instance_fail(instance, &err);
    }
}

static void on_secret(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    cleanup_secret char *key = answer->status == 200 ? kubernetes_secret_key_of(answer->json, NULL) : NULL;
    if (answer->status == 404 && instance->tries++ < TRIES_MAX) {
        instance->is_key_missing = true;
        kubernetes_instance_set_timer(instance, RETRY_MS); /* somebody deleted it: the operator makes another */
    } else if (key == NULL) {
        has_no_key(instance, answer);
    } else {
        secret_free((char *)instance->spec.key);
        instance->spec.key = steal_pointer(&key);
        instance->has_key = true;
        instance->tries = 0;
        look(instance);
    }
}

/* True: it is there. */
static bool has_key(struct kubernetes_instance *instance, const struct kubernetes_terminal *terminal) {
    const char *secret = json_get_string(terminal->status, "apiKeySecret");
    if (!instance->has_key && instance->call == NULL && secret != NULL && !instance->is_key_missing) {
        const struct kubernetes_request request = {
            .method = "GET", .kind = "secrets", .name = secret, .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
        kubernetes_instance_call(instance, &request, on_secret);
    }
    return instance->has_key;
}

/* --- what the operator and the kubelet do ------------------------------------------------------------------------- */

/* Of the condition Ready. */
static bool has_reason(const struct kubernetes_terminal *terminal, const char *wanted) {
    struct json_object *conditions = json_get_array(terminal->status, "conditions");
    for (size_t i = 0; conditions != NULL && i < json_object_array_length(conditions); i++) {
        const char *reason = json_get_string(json_object_array_get_idx(conditions, i), "reason");
        if (reason != NULL && strcmp(reason, wanted) == 0) {
            return true;
        }
    }
    return false;
}

/* Pods are watched here, too. The operator may speak of one that ended before it was asked for another. */
static bool is_about_a_pod(const struct kubernetes_terminal *terminal) {
    return has_reason(terminal, KUBERNETES_REASON_POD_ENDED) || has_reason(terminal, KUBERNETES_REASON_POD_STUCK);
}

/* A start fails with what the operator says. Of what ran before us, its pod tells: an `Error` may be about a service
 * that could not be changed at the moment, say. */
static bool has_failed(struct kubernetes_instance *instance, const struct kubernetes_terminal *terminal) {
    const char *message = json_get_string(terminal->status, "message");
    if (instance->is_adoption || strcmp(kubernetes_terminal_phase(terminal), KUBERNETES_PHASE_ERROR) != 0 ||
        is_about_a_pod(terminal)) {
        return false;
    }
    fail_saying(instance, has_reason(terminal, KUBERNETES_REASON_CAPACITY) ? ERROR_CAPACITY : ERROR_BACKEND,
                message == NULL || message[0] == '\0' ? "the operator cannot start it" : message);
    return true;
}

static bool is_alive(const struct kubernetes_pod *pod) {
    return pod->state != KUBERNETES_POD_ENDED && !pod->is_going;
}

/* While COMING: what there is by now. */
static void look(struct kubernetes_instance *instance) {
    const struct kubernetes_terminal *terminal = terminal_of(instance);
    const struct kubernetes_pod *pod = kubernetes_pods_find(instance->backend->pods, instance->name);
    if (instance->is_adoption && evtimer_pending(instance->timer, NULL) == 0) {
        kubernetes_instance_set_timer(instance, ADOPT_PATIENCE_MS); /* a probe ends that; whoever waits has an end */
    }
    if (terminal == NULL || strcmp(terminal->item.uid, instance->terminal_uid) != 0 || has_failed(instance, terminal)) {
        return;
    }
    bool is_ours = pod != NULL && strcmp(pod->owner_uid, instance->terminal_uid) == 0 && is_alive(pod);
    if (is_ours) {
        strcpy(instance->uid, pod->item.uid);
    }
    if (is_ours && instance->is_adoption && pod->state != KUBERNETES_POD_RUNNING) {
        return; /* it has a moment, and fails without consequences */
    }
    if (is_ours && (pod->state != KUBERNETES_POD_RUNNING || has_key(instance, terminal))) {
        kubernetes_start_look(instance, pod);
    } else if (!is_ours) {
        has_key(instance, terminal); /* meanwhile */
    }
}

static void come(struct kubernetes_instance *instance) {
    const struct backend_events *events = &instance->backend->events;
    instance->state = KUBERNETES_COMING;
    instance->tries = 0;
    if (events->progress != NULL) {
        events->progress(events->owner, instance->id, "the operator has been asked");
    }
    look(instance);
}

/* The pod that was being waited for is gone, and the operator makes another. */
static void wait_for_another(struct kubernetes_instance *instance) {
    health_probe_cancel(instance->probe);
    instance->probe = NULL;
    instance->uid[0] = '\0';
    instance->state = KUBERNETES_COMING;
    look(instance);
}

void kubernetes_operator_pod_changed(struct kubernetes_instance *instance, const struct kubernetes_pod *pod,
                                     bool is_gone) {
    char text[KUBERNETES_REASON_SIZE + 32];
    bool is_it = instance->uid[0] != '\0' && strcmp(instance->uid, pod->item.uid) == 0;
    kubernetes_instance_describe_end(pod, is_gone, text, sizeof text);
    switch (instance->state) {
    case KUBERNETES_READY:
        if (is_it && (is_gone || pod->is_going || pod->state != KUBERNETES_POD_RUNNING)) {
            instance->has_objects = false; /* its Terminal stays: the operator makes another pod, or lets it sleep */
            kubernetes_instance_end_ready(instance, text);
        }
        break;
    case KUBERNETES_COMING:
    case KUBERNETES_PROBING:
        if (is_it && (is_gone || pod->is_going)) {
            wait_for_another(instance);
        } else if (is_it && pod->state == KUBERNETES_POD_ENDED) {
            fail_saying(instance, ERROR_BACKEND, text);
        } else if (instance->state == KUBERNETES_COMING && !is_gone) {
            look(instance);
        }
        break;
    case KUBERNETES_REMOVING:
    case KUBERNETES_LEAVING:
        if (is_it && is_gone) {
            kubernetes_end_pod_is_gone(instance);
        }
        break;
    default: /* its start looks for itself */
        break;
    }
}

static void terminal_is_gone(struct kubernetes_instance *instance) {
    struct error err;
    instance->has_objects = false;
    if (instance->state == KUBERNETES_READY) {
        kubernetes_instance_end_ready(instance, "its Terminal was deleted");
    } else if (instance->state == KUBERNETES_COMING || instance->state == KUBERNETES_PROBING) {
        error_set(&err, ERROR_BACKEND, "its Terminal was deleted");
        kubernetes_instance_fail_leaving_all(instance, &err);
    }
}

void kubernetes_operator_terminal_changed(struct kubernetes_instance *instance,
                                          const struct kubernetes_terminal *terminal, bool is_gone) {
    if (strcmp(instance->terminal_uid, terminal->item.uid) != 0) {
        return;
    }
    if (is_gone) {
        terminal_is_gone(instance);
    } else if (instance->state == KUBERNETES_COMING) {
        look(instance);
    }
}

/* --- the Terminal ------------------------------------------------------------------------------------------------- */

static void again_in_a_moment(struct kubernetes_instance *instance, const char *why) {
    if (instance->tries++ < TRIES_MAX) {
        kubernetes_instance_set_timer(instance, RETRY_MS);
    } else {
        fail_saying(instance, ERROR_BACKEND, why);
    }
}

static void take(struct kubernetes_instance *instance, const struct kubernetes_answer *answer) {
    const char *uid = json_get_string(json_get_object(answer->json, "metadata"), "uid");
    if (uid != NULL && strlen(uid) < sizeof instance->terminal_uid) {
        strcpy(instance->terminal_uid, uid);
        kubernetes_watch_note(instance->backend->terminals, answer->json);
    }
}

static void on_created(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    if (answer->status == 201) {
        take(instance, answer);
    }
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 201) {
        come(instance);
    } else if (answer->status == 409) {
        again_in_a_moment(instance, "another Terminal of its name comes and goes"); /* the watch is about to tell */
    } else {
        fail_with(instance, answer, "create the Terminal");
    }
}

static void on_woken(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 200) {
        take(instance, answer);
        come(instance);
    } else if (answer->status == 404) {
        again_in_a_moment(instance, "its Terminal comes and goes");
    } else {
        fail_with(instance, answer, "wake the Terminal");
    }
}

/* It may sleep: who was used just now shall run. `Pending` also ends what an old failure says. */
static void wake(struct kubernetes_instance *instance) {
    int64_t now_ms = clock_unix_ms();
    cleanup_json struct json_object *patch = kubernetes_terminal_activity(now_ms, KUBERNETES_PHASE_PENDING);
    const struct kubernetes_request request = {.method = "PATCH",
                                               .api = instance->backend->terminals_api,
                                               .kind = KUBERNETES_TERMINALS,
                                               .name = instance->name,
                                               .subresource = "status",
                                               .query = UPDATE_QUERY,
                                               .body = patch,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    if (patch == NULL) {
        fail_saying(instance, ERROR_INTERNAL, "out of memory");
        return;
    }
    kubernetes_operator_is_used(instance, now_ms);
    kubernetes_instance_call(instance, &request, on_woken);
}

static void on_replaced(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_instance *instance = argument;
    if (!kubernetes_instance_may_go_on(instance)) {
        return;
    }
    if (answer->status == 200) {
        take(instance, answer);
        wake(instance);
    } else if (answer->status == 409 || answer->status == 404) {
        again_in_a_moment(instance, "its Terminal is being changed all the time");
    } else {
        fail_with(instance, answer, "update the Terminal");
    }
}

/* What it says may be of yesterday's policy, and its label of yesterday's instance. */
static struct json_object *changed(const struct kubernetes_terminal *terminal, struct json_object *manifest) {
    struct json_object *body = NULL;
    const char *version = json_get_string(manifest, "apiVersion");
    if (json_object_deep_copy(terminal->json, &body, NULL) != 0) {
        return NULL;
    }
    struct json_object *metadata = json_get_object(body, "metadata");
    struct json_object *labels = kubernetes_json_object(metadata, "labels");
    struct json_object *wanted = json_get_object(json_get_object(manifest, "metadata"), "labels");
    /* Where a list told of it, it does not say what it is. */
    if (labels == NULL || !kubernetes_json_overlay(labels, wanted) || !json_add_string(body, "apiVersion", version) ||
        !json_add_string(body, "kind", KUBERNETES_TERMINAL_KIND) ||
        !json_add(body, "spec", json_object_get(json_get_object(manifest, "spec")))) {
        json_object_put(body);
        return NULL;
    }
    json_object_object_del(body, "status");
    return body;
}

static void replace(struct kubernetes_instance *instance, const struct kubernetes_terminal *terminal,
                    struct json_object *manifest) {
    cleanup_json struct json_object *body = changed(terminal, manifest);
    if (body == NULL) {
        fail_saying(instance, ERROR_INTERNAL, "out of memory");
        return;
    }
    const struct kubernetes_request request = {.method = "PUT",
                                               .api = instance->backend->terminals_api,
                                               .kind = KUBERNETES_TERMINALS,
                                               .name = instance->name,
                                               .query = CREATE_QUERY,
                                               .body = body,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    kubernetes_instance_call(instance, &request, on_replaced);
}

static struct json_object *make_manifest(struct kubernetes_instance *instance) {
    struct error err = {0};
    const struct kubernetes_plan plan = kubernetes_instance_plan(instance);
    struct json_object *manifest = kubernetes_terminal_manifest(&plan, instance->backend->terminals_version, &err);
    if (manifest == NULL) {
        err.code = err.code == ERROR_INVALID ? ERROR_BACKEND : err.code;
        kubernetes_instance_fail(instance, &err);
    }
    return manifest;
}

/* There is one already: of an instance that sleeps, or whose pod was lost. */
static void use(struct kubernetes_instance *instance, const struct kubernetes_terminal *terminal) {
    struct error err;
    if (!kubernetes_terminal_matches(terminal, &instance->spec)) {
        error_set(&err, ERROR_BACKEND, "the Terminal of its name is another user's, whose name only looks alike");
        kubernetes_instance_fail_leaving_all(instance, &err);
        return;
    }
    cleanup_json struct json_object *manifest = make_manifest(instance);
    if (manifest == NULL) {
        return;
    }
    strcpy(instance->terminal_uid, terminal->item.uid);
    instance->has_objects = true;
    replace(instance, terminal, manifest);
}

void kubernetes_operator_create(struct kubernetes_instance *instance) {
    const struct kubernetes_terminal *terminal = terminal_of(instance);
    instance->state = KUBERNETES_TERMINAL;
    if (terminal != NULL && terminal->is_going) {
        again_in_a_moment(instance, "its old Terminal is being deleted, and does not go");
        return;
    }
    if (terminal != NULL) {
        use(instance, terminal);
        return;
    }
    cleanup_json struct json_object *manifest = make_manifest(instance);
    if (manifest == NULL) {
        return; /* it has failed, and may be gone */
    }
    const struct kubernetes_request request = {.method = "POST",
                                               .api = instance->backend->terminals_api,
                                               .kind = KUBERNETES_TERMINALS,
                                               .query = CREATE_QUERY,
                                               .body = manifest,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    instance->has_objects = true;
    kubernetes_operator_is_used(instance, clock_unix_ms()); /* the operator counts from its creation */
    kubernetes_instance_call(instance, &request, on_created);
}

void kubernetes_operator_start(struct kubernetes_instance *instance) {
    const struct backend *backend = instance->backend;
    const struct backend_events *events = &backend->events;
    char reference[2 * KUBERNETES_NAME_SIZE + 2];
    struct error err = {0};
    snprintf(reference, sizeof reference, "%s/%s", backend->settings->kubernetes_namespace, instance->name);
    /* A pod runs soon after this is made: it is written down before. */
    if (!events->created(events->owner, instance->id, reference, &err)) {
        kubernetes_instance_fail_leaving_all(instance, &err);
        return;
    }
    instance->tries = 0;
    if (kubernetes_storage_mode(backend->settings, instance->spec.policy) == STORAGE_PER_USER) {
        kubernetes_operator_create(instance);
    } else {
        kubernetes_start_claim(instance); /* the operator knows only claims of one instance */
    }
}

/* Why it cannot be adopted; NULL: it can. */
static const char *obstacle(struct kubernetes_instance *instance, const struct kubernetes_terminal *terminal) {
    if (!kubernetes_instance_hold(instance)) {
        return "another instance has its Terminal's name";
    }
    if (terminal == NULL || terminal->is_going) {
        return "its Terminal is gone";
    }
    if (!kubernetes_terminal_matches(terminal, &instance->spec)) {
        return "its Terminal is gone, and another has its name";
    }
    bool sleeps = strcmp(kubernetes_terminal_phase(terminal), KUBERNETES_PHASE_IDLE) == 0;
    return sleeps ? "the operator has let it sleep" : NULL;
}

void kubernetes_operator_adopt(struct kubernetes_instance *instance) {
    const struct kubernetes_terminal *terminal = terminal_of(instance);
    const char *why = obstacle(instance, terminal);
    struct error err;
    if (why != NULL) {
        error_set(&err, ERROR_BACKEND, "%s", why);
        kubernetes_instance_fail_leaving_all(instance, &err);
        return;
    }
    strcpy(instance->terminal_uid, terminal->item.uid);
    instance->has_objects = true;
    come(instance);
}

/* Its pod does not run, or its key is not told: by the API server, or by a Terminal that does not name its secret. */
static void has_no_more_patience(struct kubernetes_instance *instance, const struct kubernetes_pod *pod) {
    bool runs = pod != NULL && pod->state == KUBERNETES_POD_RUNNING && strcmp(pod->item.uid, instance->uid) == 0;
    struct error err;
    if (runs) {
        kubernetes_call_cancel(instance->call);
        instance->call = NULL;
        error_set(&err, ERROR_BACKEND, "nobody says the instance's key");
        kubernetes_instance_adopt_blindly(instance, &err);
    } else {
        error_set(&err, ERROR_BACKEND, "its pod does not run");
        kubernetes_instance_fail_leaving_all(instance, &err); /* when it does, the roundup finds it */
    }
}

bool kubernetes_operator_timer(struct kubernetes_instance *instance) {
    const struct kubernetes_pod *pod = kubernetes_pods_find(instance->backend->pods, instance->name);
    if (instance->state == KUBERNETES_TERMINAL) {
        kubernetes_operator_create(instance);
    } else if (instance->state == KUBERNETES_COMING && instance->is_key_missing) {
        instance->is_key_missing = false;
        look(instance);
    } else if (instance->state == KUBERNETES_COMING && instance->is_adoption) {
        has_no_more_patience(instance, pod);
    } else {
        return instance->state == KUBERNETES_COMING && pod != NULL && pod->state == KUBERNETES_POD_UNSCHEDULABLE;
    }
    return false;
}
