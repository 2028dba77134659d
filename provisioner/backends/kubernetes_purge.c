#include "provisioner/backends/kubernetes_purge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_end.h"
#include "provisioner/backends/kubernetes_manifest.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_options.h"
#include "provisioner/backends/kubernetes_purge_pod.h"
#include "provisioner/backends/kubernetes_roundup.h"
#include "provisioner/backends/kubernetes_terminal.h"

#define CREATE_QUERY "?fieldManager=terminals&fieldValidation=Strict"
#define PODS_SUFFIX  "-purge"
#define POD_SIZE     (KUBERNETES_NAME_SIZE + sizeof PODS_SUFFIX)

struct kubernetes_purge {
    struct backend *backend;
    char name[KUBERNETES_NAME_SIZE];
    char pod[POD_SIZE];
    char uid[KUBERNETES_UID_SIZE]; /* of the pod that empties the folder */
    char *user_id;
    char *policy_id;
    char *context_id;
    struct policy policy; /* holds a reference to its `data`, if has_policy */
    bool has_policy;
    bool is_reset;    /* a claim of its own stays, empty */
    bool keeps_files; /* only the Terminal goes */
    struct error err; /* what the pod came to */
    struct kubernetes_call *call;
    bool is_stray;       /* nobody waits for it but the next start of that name */
    struct event *timer; /* while the pod works */
    int64_t made_ms;     /* monotonic: when that was made */
    void (*done)(void *argument, const struct error *err);
    void *argument;
    struct kubernetes_purge *prev, *next;
};

static struct instance_spec spec_of(const struct kubernetes_purge *purge) {
    return (struct instance_spec){
        .instance_id = "",
        .instance_name = purge->name,
        .user_id = purge->user_id,
        .policy_id = purge->policy_id,
        .context_id = purge->context_id,
        .key = "",
        .policy = purge->has_policy ? &purge->policy : NULL,
    };
}

static void purge_free(struct kubernetes_purge *purge) {
    DL_DELETE(purge->backend->purges, purge);
    kubernetes_call_cancel(purge->call);
    if (purge->timer != NULL) {
        event_free(purge->timer);
    }
    if (purge->has_policy) {
        json_object_put(purge->policy.data);
    }
    free(purge->user_id);
    free(purge->policy_id);
    free(purge->context_id);
    free(purge);
}

static void finish(struct kubernetes_purge *purge, const struct error *err) {
    void (*done)(void *, const struct error *) = purge->done;
    void *argument = purge->argument;
    struct backend *backend = purge->backend;
    struct error copy = err == NULL ? (struct error){0} : *err;
    char name[KUBERNETES_NAME_SIZE];
    memcpy(name, purge->name, sizeof name);
    purge_free(purge);
    done(argument, err == NULL ? NULL : &copy);
    kubernetes_end_pass_name_on(backend, name);
}

static void out_of_memory(struct kubernetes_purge *purge) {
    struct error err;
    error_set(&err, ERROR_INTERNAL, "out of memory");
    finish(purge, &err);
}

static void fail_with(struct kubernetes_purge *purge, const struct kubernetes_answer *answer, const char *what) {
    struct error err;
    kubernetes_answer_error(answer, &err, what);
    finish(purge, &err);
}

static void ask(struct kubernetes_purge *purge, const struct kubernetes_request *request, kubernetes_done *done) {
    purge->call = kubernetes_call_start(purge->backend->client, request, done, purge);
    if (purge->call == NULL) {
        out_of_memory(purge);
    }
}

/* --- the pod that empties a claim, or a folder of it -------------------------------------------------------------- */

static void on_pod_removed(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_purge *purge = argument;
    struct error err = purge->err;
    purge->call = NULL;
    if (kubernetes_answer_is_for_later(answer)) {
        kubernetes_roundup_again(purge->backend->roundup); /* which passes it to kubernetes_purge_pod_changed() */
    }
    if (json_get_int(json_get_object(answer->json, "metadata"), "deletionGracePeriodSeconds", 0) > 0) {
        kubernetes_watch_note(purge->backend->pods, answer->json); /* it is still there: the next start waits for it */
    }
    finish(purge, err.code == ERROR_NONE ? NULL : &err);
}

/* With a grace of 0 s what runs may go on for a moment when the pod is gone already. */
static void remove_pod(struct kubernetes_purge *purge, int grace_s) {
    cleanup_json struct json_object *options = kubernetes_delete_options(purge->uid, grace_s);
    const struct kubernetes_request request = {.method = "DELETE",
                                               .kind = "pods",
                                               .name = purge->pod,
                                               .body = options,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    purge->uid[0] = '\0';
    if (options == NULL) {
        out_of_memory(purge);
    } else {
        ask(purge, &request, on_pod_removed);
    }
}

static bool finds_no_node(const struct kubernetes_pod *pod) {
    return pod->state == KUBERNETES_POD_UNSCHEDULABLE && strstr(pod->reason, "ersistent") == NULL;
}

static void say_deleted(struct kubernetes_purge *purge) {
    error_set(&purge->err, ERROR_BACKEND, "the pod that removes the files was deleted");
}

static void pod_is(struct kubernetes_purge *purge, const struct kubernetes_pod *pod, bool is_gone) {
    if (purge->is_stray && !is_gone && pod->state == KUBERNETES_POD_TERMINATING) {
        return; /* it may work until it is gone */
    }
    if (is_gone || pod->state == KUBERNETES_POD_TERMINATING) {
        say_deleted(purge);
    } else if (pod->state == KUBERNETES_POD_ENDED && !pod->has_succeeded) {
        error_set(&purge->err, ERROR_BACKEND, "the pod that removes the files failed: %s", pod->reason);
    } else if (pod->state == KUBERNETES_POD_STUCK) {
        error_set(&purge->err, ERROR_BACKEND, "the pod that removes the files cannot start: %s", pod->reason);
    } else if (finds_no_node(pod)) {
        error_set(&purge->err, ERROR_CAPACITY, "the pod that removes the files finds no node: %s", pod->reason);
    } else if (pod->state != KUBERNETES_POD_ENDED) {
        return;
    }
    remove_pod(purge, finds_no_node(pod) ? 1 : 0); /* it has done what it can, unless it has just found a node */
}

/* Of the instance whose files a pod removes. False: it is no pod of ours. */
static bool name_of(const struct kubernetes_pod *pod, char name[KUBERNETES_NAME_SIZE]) {
    size_t length = strlen(pod->item.name);
    size_t rest = length - strlen(PODS_SUFFIX);
    if (length < strlen(PODS_SUFFIX) || rest >= KUBERNETES_NAME_SIZE ||
        strcmp(pod->item.name + rest, PODS_SUFFIX) != 0) {
        return false;
    }
    memcpy(name, pod->item.name, rest);
    name[rest] = '\0';
    return true;
}

static void remove_stray(struct backend *backend, const struct kubernetes_pod *pod);

void kubernetes_purge_pod_changed(struct backend *backend, const struct kubernetes_pod *pod, bool is_gone) {
    char name[KUBERNETES_NAME_SIZE];
    bool is_waited_for = false; /* by a purge whose pod has that name, or had it */
    struct kubernetes_purge *purge = NULL;
    DL_FOREACH(backend->purges, purge) {
        bool has_name = strcmp(purge->pod, pod->item.name) == 0;
        is_waited_for = is_waited_for || has_name;
        if (has_name && strcmp(purge->uid, pod->item.uid) == 0) {
            break;
        }
    }
    if (purge != NULL) {
        pod_is(purge, pod, is_gone);
    } else if (!is_waited_for && !is_gone) {
        remove_stray(backend, pod);
    } else if (!is_waited_for && name_of(pod, name)) {
        kubernetes_end_pass_name_on(backend, name);
    }
}

void kubernetes_purge_listed(struct backend *backend, int64_t began_ms) {
    struct kubernetes_purge *purge = NULL;
    struct kubernetes_purge *next = NULL;
    DL_FOREACH_SAFE(backend->purges, purge, next) {
        const struct kubernetes_pod *pod = kubernetes_pods_find(backend->pods, purge->pod);
        bool is_there = pod != NULL && strcmp(pod->item.uid, purge->uid) == 0;
        if (purge->uid[0] != '\0' && !is_there && purge->made_ms < began_ms) {
            say_deleted(purge);
            remove_pod(purge, 0);
        }
    }
}

/* It neither ends at its deadline nor is it taken away: its node may be gone. */
static void on_timer(evutil_socket_t fd, short what, void *argument) {
    struct kubernetes_purge *purge = argument;
    (void)fd;
    (void)what;
    if (purge->uid[0] != '\0') {
        error_set(&purge->err, ERROR_BACKEND, "the pod that removes the files does not end");
        remove_pod(purge, 0);
    }
}

static void set_timer(struct kubernetes_purge *purge) {
    const struct timeval after = {.tv_sec = KUBERNETES_PURGE_DEADLINE_S + 60};
    purge->timer = evtimer_new(purge->backend->base, on_timer, purge);
    if (purge->timer == NULL || evtimer_add(purge->timer, &after) != 0) {
        log_error(NULL, "pod `%s`: no timer: out of memory", purge->pod);
    }
}

/* Whether a pod of ours may work now that no purge knows: it was made and the answer lost, or a predecessor made it. */
static bool may_be_there(const struct kubernetes_answer *answer, const struct kubernetes_pod *known) {
    bool exists = answer->status == 409 && strcmp(answer->reason, "AlreadyExists") == 0;
    return (answer->status == 0 || answer->status == 201 || exists) && (known == NULL || known->is_purge);
}

static void on_pod_made(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_purge *purge = argument;
    const char *uid = json_get_string(json_get_object(answer->json, "metadata"), "uid");
    const struct kubernetes_pod *pod = kubernetes_pods_find(purge->backend->pods, purge->pod);
    purge->call = NULL;
    if (answer->status == 201 && uid != NULL && strlen(uid) < sizeof purge->uid) {
        strcpy(purge->uid, uid);
        purge->made_ms = clock_monotonic_ms();
        set_timer(purge);
    } else if (may_be_there(answer, pod)) {
        kubernetes_answer_error(answer, &purge->err, "create the pod that removes the files");
        remove_pod(purge, 1);
        return;
    } else {
        fail_with(purge, answer, "create the pod that removes the files");
        return;
    }
    if (pod != NULL && strcmp(pod->item.uid, uid) == 0) {
        pod_is(purge, pod, false);
    }
}

static void empty_folder(struct kubernetes_purge *purge) {
    struct error err = {0};
    const struct instance_spec who = spec_of(purge);
    const struct kubernetes_plan plan = {
        .spec = &who, .settings = purge->backend->settings, .parsed = &purge->backend->parsed, .name = purge->name};
    cleanup_json struct json_object *pod = kubernetes_purge_manifest(&plan, purge->pod, &err);
    if (pod == NULL) {
        finish(purge, &err);
        return;
    }
    const struct kubernetes_request request = {
        .method = "POST", .kind = "pods", .query = CREATE_QUERY, .body = pod, .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    ask(purge, &request, on_pod_made);
}

/* --- the claim of one's own --------------------------------------------------------------------------------------- */

/* Without a claim there is no folder in it. */
static void on_shared_claim(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_purge *purge = argument;
    purge->call = NULL;
    if (answer->status == 404) {
        finish(purge, NULL);
    } else if (answer->status == 200) {
        empty_folder(purge);
    } else {
        fail_with(purge, answer, "look for the claim");
    }
}

static bool is_own(const struct kubernetes_purge *purge) {
    const struct policy *policy = purge->has_policy ? &purge->policy : NULL;
    return kubernetes_storage_mode(purge->backend->settings, policy) == STORAGE_PER_USER;
}

static void go_on(struct kubernetes_purge *purge) {
    const struct kubernetes_request request = {.method = "GET",
                                               .kind = "persistentvolumeclaims",
                                               .name = KUBERNETES_SHARED_CLAIM,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    if (is_own(purge)) {
        finish(purge, NULL);
    } else {
        ask(purge, &request, on_shared_claim);
    }
}

static void on_claim_removed(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_purge *purge = argument;
    purge->call = NULL;
    if ((answer->status >= 200 && answer->status < 300) || answer->status == 404 || answer->status == 409) {
        go_on(purge); /* what still uses it keeps it for a moment; a new instance waits for that */
    } else {
        fail_with(purge, answer, "delete the claim");
    }
}

static void on_claim(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_purge *purge = argument;
    struct json_object *metadata = json_get_object(answer->json, "metadata");
    const char *uid = json_get_string(metadata, "uid");
    const struct instance_spec spec = spec_of(purge);
    struct kubernetes_identity identity;
    purge->call = NULL;
    kubernetes_identity_read(metadata, &identity);
    if (answer->status == 404 ||
        (answer->status == 200 && (uid == NULL || !kubernetes_identity_matches(&identity, &spec)))) {
        go_on(purge); /* there is none, or it is another user's whose name looks alike */
    } else if (answer->status != 200) {
        fail_with(purge, answer, "look for the claim");
    } else if (purge->is_reset && is_own(purge) && json_get_string(metadata, "deletionTimestamp") == NULL) {
        empty_folder(purge);
    } else {
        cleanup_json struct json_object *options = kubernetes_delete_options(uid, -1);
        const struct kubernetes_request request = {.method = "DELETE",
                                                   .kind = "persistentvolumeclaims",
                                                   .name = purge->name,
                                                   .body = options,
                                                   .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
        if (options == NULL) {
            out_of_memory(purge);
        } else {
            ask(purge, &request, on_claim_removed);
        }
    }
}

static void look_for_claim(struct kubernetes_purge *purge) {
    const struct kubernetes_request request = {.method = "GET",
                                               .kind = "persistentvolumeclaims",
                                               .name = purge->name,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    ask(purge, &request, on_claim);
}

/* --- the Terminal, where there is an operator --------------------------------------------------------------------- */

static void on_terminal_removed(void *argument, const struct kubernetes_answer *answer) {
    struct kubernetes_purge *purge = argument;
    purge->call = NULL;
    if (answer->status != 200 && answer->status != 404 && answer->status != 409) {
        fail_with(purge, answer, "delete the Terminal");
    } else if (purge->keeps_files) {
        finish(purge, NULL);
    } else {
        look_for_claim(purge);
    }
}

/* It sleeps, or its pod is being made anew: nothing may use the files from now on. */
static void remove_terminal(struct kubernetes_purge *purge, const char *uid) {
    cleanup_json struct json_object *options = kubernetes_delete_options(uid, -1);
    const struct kubernetes_request request = {.method = "DELETE",
                                               .api = purge->backend->terminals_api,
                                               .kind = KUBERNETES_TERMINALS,
                                               .name = purge->name,
                                               .body = options,
                                               .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
    if (options == NULL) {
        out_of_memory(purge);
    } else {
        ask(purge, &request, on_terminal_removed);
    }
}

static bool copy_spec(struct kubernetes_purge *purge, const struct instance_spec *spec) {
    purge->user_id = strdup(spec->user_id);
    purge->policy_id = strdup(spec->policy_id);
    purge->context_id = strdup(spec->context_id);
    if (spec->policy != NULL) {
        purge->policy = *spec->policy;
        json_object_get(purge->policy.data);
        purge->has_policy = true;
    }
    return purge->user_id != NULL && purge->policy_id != NULL && purge->context_id != NULL &&
           kubernetes_object_name(spec->user_id, spec->policy_id, spec->context_id, purge->name);
}

/* NULL: `done` has been told. */
static struct kubernetes_purge *begin(struct backend *backend, const struct instance_spec *spec,
                                      void (*done)(void *argument, const struct error *err), void *argument) {
    struct kubernetes_purge *purge = calloc(1, sizeof *purge);
    if (purge == NULL) {
        struct error err;
        error_set(&err, ERROR_INTERNAL, "out of memory");
        done(argument, &err);
        return NULL;
    }
    purge->backend = backend;
    purge->done = done;
    purge->argument = argument;
    DL_APPEND(backend->purges, purge);
    if (!copy_spec(purge, spec)) {
        out_of_memory(purge);
        return NULL;
    }
    snprintf(purge->pod, sizeof purge->pod, "%s" PODS_SUFFIX, purge->name);
    return purge;
}

/* The Terminal that there is for `spec`; NULL: none. */
static const struct kubernetes_terminal *find_terminal(const struct kubernetes_purge *purge,
                                                       const struct instance_spec *spec) {
    const struct backend *backend = purge->backend;
    const struct kubernetes_terminal *terminal =
        backend->has_operator ? kubernetes_terminals_find(backend->terminals, purge->name) : NULL;
    return terminal != NULL && kubernetes_terminal_matches(terminal, spec) ? terminal : NULL;
}

/* False, having failed: nobody knows whether there is a Terminal. */
static bool knows_terminals(struct kubernetes_purge *purge) {
    struct error err;
    if (!purge->backend->has_operator || kubernetes_link_state(purge->backend) == KUBERNETES_LINK_UP) {
        return true;
    }
    kubernetes_away_error(purge->backend, &err);
    finish(purge, &err);
    return false;
}

void kubernetes_purge_begin(struct backend *backend, const struct instance_spec *spec, bool is_reset,
                            void (*done)(void *argument, const struct error *err), void *argument) {
    struct kubernetes_purge *purge = begin(backend, spec, done, argument);
    if (purge == NULL || !knows_terminals(purge)) {
        return;
    }
    const struct kubernetes_terminal *terminal = find_terminal(purge, spec);
    purge->is_reset = is_reset;
    if (terminal != NULL) {
        remove_terminal(purge, terminal->item.uid);
    } else {
        look_for_claim(purge);
    }
}

void kubernetes_purge_terminal(struct backend *backend, const struct instance_spec *spec,
                               void (*done)(void *argument, const struct error *err), void *argument) {
    struct kubernetes_purge *purge = begin(backend, spec, done, argument);
    if (purge == NULL || !knows_terminals(purge)) {
        return;
    }
    const struct kubernetes_terminal *terminal = find_terminal(purge, spec);
    purge->keeps_files = true;
    if (terminal == NULL || terminal->is_going) {
        finish(purge, NULL);
    } else {
        remove_terminal(purge, terminal->item.uid);
    }
}

/* --- what a predecessor left -------------------------------------------------------------------------------------- */

static void ignore(void *argument, const struct error *err) {
    (void)argument;
    (void)err;
}

static void remove_stray(struct backend *backend, const struct kubernetes_pod *pod) {
    char name[KUBERNETES_NAME_SIZE];
    bool works = pod->state != KUBERNETES_POD_ENDED && pod->state != KUBERNETES_POD_STUCK && !finds_no_node(pod);
    struct kubernetes_purge *stray = name_of(pod, name) ? calloc(1, sizeof *stray) : NULL;
    if (stray == NULL) {
        return;
    }
    strcpy(stray->name, name);
    stray->backend = backend;
    stray->is_stray = true;
    stray->done = ignore;
    strcpy(stray->pod, pod->item.name);
    strcpy(stray->uid, pod->item.uid);
    DL_APPEND(backend->purges, stray);
    if (works) {
        set_timer(stray); /* it finishes what it was told to do first; the next start waits for that */
    } else {
        remove_pod(stray, finds_no_node(pod) ? 1 : 0);
    }
}

/* Its pod may outlive a purge: another process began it, or nobody heard what became of it. */
static bool has_pod_that_works(const struct backend *backend, const char *name) {
    char pod_name[POD_SIZE];
    snprintf(pod_name, sizeof pod_name, "%s" PODS_SUFFIX, name);
    const struct kubernetes_pod *pod = kubernetes_pods_find(backend->pods, pod_name);
    return pod != NULL && pod->is_purge && pod->state != KUBERNETES_POD_ENDED;
}

bool kubernetes_purge_is_under_way(const struct backend *backend, const char *name) {
    const struct kubernetes_purge *purge = NULL;
    DL_FOREACH(backend->purges, purge) {
        if (strcmp(purge->name, name) == 0) {
            return true;
        }
    }
    return has_pod_that_works(backend, name);
}

void kubernetes_purge_free_all(struct backend *backend) {
    while (backend->purges != NULL) {
        purge_free(backend->purges);
    }
}
