#include "provisioner/backends/kubernetes_roundup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/backends/kubernetes_instance.h"
#include "provisioner/backends/kubernetes_leftovers.h"
#include "provisioner/backends/kubernetes_operator.h"
#include "provisioner/backends/kubernetes_purge.h"
#include "provisioner/backends/kubernetes_secret.h"
#include "provisioner/backends/kubernetes_unanswered.h"

#define PROBE_TIMEOUT_MS 10000
#define ID_RANDOM_BYTES  16
#define AGAIN_SECONDS    5

/* A pod that nobody knows. */
struct stranger {
    struct kubernetes_roundup *roundup;
    char name[KUBERNETES_NAME_SIZE];
    char uid[KUBERNETES_UID_SIZE];
    char owner_uid[KUBERNETES_UID_SIZE]; /* of its Terminal, where there is an operator */
    char instance_id[2 * ID_RANDOM_BYTES + 1];
    char address[INET6_ADDRSTRLEN];
    bool is_ours; /* we made it: it carries an instance's id */
    char *user_id;
    char *policy_id;
    char *context_id;
    char *secret_key; /* the key's name in its secret */
    char *key;
    struct kubernetes_call *call;
    struct health_probe *probe;
    struct stranger *prev, *next;
};

struct kubernetes_roundup {
    struct backend *backend;
    bool is_allowed;
    struct event *again;
    struct stranger *strangers;
    struct kubernetes_leftovers *leftovers;
};

static void stranger_free(struct stranger *stranger) {
    DL_DELETE(stranger->roundup->strangers, stranger);
    kubernetes_call_cancel(stranger->call);
    health_probe_cancel(stranger->probe);
    free(stranger->user_id);
    free(stranger->policy_id);
    free(stranger->context_id);
    free(stranger->secret_key);
    secret_free(stranger->key);
    free(stranger);
}

/* Nothing can be said of it now. */
static void leave_for_later(struct stranger *stranger) {
    kubernetes_roundup_again(stranger->roundup);
    stranger_free(stranger);
}

static struct instance_spec spec_of(const struct stranger *stranger) {
    return (struct instance_spec){
        .instance_id = stranger->instance_id,
        .instance_name = stranger->name,
        .user_id = stranger->user_id,
        .policy_id = stranger->policy_id,
        .context_id = stranger->context_id,
        .key = stranger->key == NULL ? "" : stranger->key,
    };
}

/* An entry that holds the pod. NULL: somebody has started, or found, the very same meanwhile, or no memory. */
static struct kubernetes_instance *make_instance(struct stranger *stranger) {
    struct backend *backend = stranger->roundup->backend;
    const struct instance_spec spec = spec_of(stranger);
    if (kubernetes_instance_holder(backend, stranger->name) != NULL ||
        kubernetes_instance_find(backend, stranger->instance_id) != NULL) {
        return NULL;
    }
    struct kubernetes_instance *instance = kubernetes_instance_new(backend, &spec);
    if (instance != NULL && (strcmp(instance->name, stranger->name) != 0 || !kubernetes_instance_hold(instance))) {
        kubernetes_instance_free(instance);
        return NULL;
    }
    if (instance != NULL) {
        strcpy(instance->uid, stranger->uid);
        strcpy(instance->terminal_uid, stranger->owner_uid);
        instance->has_objects = true;
        instance->is_adoption = true;
    }
    return instance;
}

/* Nobody wants it. */
static void send_away(struct stranger *stranger, const char *why) {
    if (!backend_may_end_strangers(&stranger->roundup->backend->events)) {
        leave_for_later(stranger);
        return;
    }
    struct kubernetes_instance *instance = stranger->is_ours ? make_instance(stranger) : NULL;
    if (instance != NULL) {
        log_info(NULL, "ending pod `%s`, which nobody owns: %s", stranger->name, why);
        kubernetes_end_begin(instance, KUBERNETES_OUTCOME_SAID);
    } else if (!stranger->is_ours) {
        log_warning(NULL, "pod `%s` is left alone: %s", stranger->name, why);
    }
    stranger_free(stranger);
}

/* It answers, or has been silent for so long and runs: the owner decides. */
static void offer(struct stranger *stranger, int silent_ms) {
    struct backend *backend = stranger->roundup->backend;
    const struct backend_events *events = &backend->events;
    struct error err = {0};
    struct instance_address address = {.port = KUBERNETES_PORT};
    char reference[2 * KUBERNETES_NAME_SIZE + 2];
    const struct instance_spec spec = spec_of(stranger);
    struct kubernetes_instance *instance = make_instance(stranger);
    if (instance == NULL) {
        stranger_free(stranger);
        return;
    }
    snprintf(address.host, sizeof address.host, "%s", stranger->address);
    instance->address = address;
    instance->state = KUBERNETES_READY;
    snprintf(address.key, sizeof address.key, "%s", stranger->key);
    snprintf(reference, sizeof reference, "%s/%s", backend->settings->kubernetes_namespace, stranger->name);
    if (silent_ms > 0) {
        liveness_watch(&instance->liveness, silent_ms);
    }
    if (events->found != NULL && events->found(events->owner, &spec, reference, &address, &err)) {
        stranger_free(stranger);
        return;
    }
    kubernetes_instance_free(instance);
    if (backend_nobody_wants(&err)) {
        send_away(stranger, err.message);
    } else {
        log_warning(NULL, "pod `%s` cannot be adopted at the moment: %s", stranger->name, err.message);
        leave_for_later(stranger);
    }
}

static void on_probed(void *argument, const struct error *err, bool is_refused) {
    struct stranger *stranger = argument;
    stranger->probe = NULL;
    if (err == NULL) {
        offer(stranger, 0);
    } else if (is_refused || !stranger->is_ours) {
        send_away(stranger, err->message);
    } else {
        log_warning(NULL, "pod `%s` runs, but %s", stranger->name, err->message);
        offer(stranger, PROBE_TIMEOUT_MS);
    }
}

static void probe(struct stranger *stranger) {
    struct backend *backend = stranger->roundup->backend;
    struct instance_address address;
    if (strlen(stranger->key) >= sizeof address.key) {
        send_away(stranger, "its key is too long");
        return;
    }
    /* One that the operator makes anew takes as long as a start. */
    int timeout_ms = backend->has_operator ? (int)backend->settings->start_timeout_seconds * 1000 : PROBE_TIMEOUT_MS;
    stranger->probe = health_probe_start(backend->base, stranger->address, KUBERNETES_PORT, stranger->key, timeout_ms,
                                         on_probed, stranger);
    if (stranger->probe == NULL) {
        leave_for_later(stranger);
    }
}

static void on_secret(void *argument, const struct kubernetes_answer *answer) {
    struct stranger *stranger = argument;
    struct error err;
    stranger->call = NULL;
    stranger->key = kubernetes_secret_key_of(answer->json, stranger->secret_key);
    if (stranger->key != NULL) {
        probe(stranger);
    } else if (answer->status == 200 || answer->status == 404) {
        send_away(stranger, "its secret holds no key");
    } else if (kubernetes_answer_is_for_later(answer)) {
        leave_for_later(stranger);
    } else {
        kubernetes_answer_error(answer, &err, "read the key of a pod that nobody knows");
        log_warning(NULL, "pod `%s` is left alone: %s", stranger->name, err.message);
        stranger_free(stranger);
    }
}

/* With an operator the Terminal's word counts: its pod may be older. */
static const char *instance_id_of(const struct backend *backend, const struct kubernetes_pod *pod) {
    const struct kubernetes_terminal *terminal =
        backend->has_operator ? kubernetes_terminals_find(backend->terminals, pod->item.name) : NULL;
    return terminal == NULL ? pod->instance_id : kubernetes_terminal_identity(terminal).instance_id;
}

static bool take(struct stranger *stranger, const struct kubernetes_pod *pod) {
    strcpy(stranger->name, pod->item.name);
    strcpy(stranger->uid, pod->item.uid);
    strcpy(stranger->owner_uid, pod->owner_uid);
    strcpy(stranger->address, pod->address);
    const char *id = instance_id_of(stranger->roundup->backend, pod);
    stranger->is_ours = id != NULL && strlen(id) == 2 * ID_RANDOM_BYTES;
    if (stranger->is_ours) {
        strcpy(stranger->instance_id, id);
    } else if (!digest_random_hex(ID_RANDOM_BYTES, stranger->instance_id)) {
        return false;
    }
    stranger->user_id = strdup(pod->user_id);
    stranger->policy_id = strdup(pod->policy_id);
    stranger->context_id = strdup(pod->context_id);
    stranger->key = pod->key == NULL ? NULL : strdup(pod->key);
    stranger->secret_key = pod->secret_key == NULL ? NULL : strdup(pod->secret_key);
    return stranger->user_id != NULL && stranger->policy_id != NULL && stranger->context_id != NULL;
}

static void begin(struct stranger *stranger, const struct kubernetes_pod *pod) {
    if (pod->state != KUBERNETES_POD_RUNNING) {
        send_away(stranger, "it does not run");
    } else if (stranger->key != NULL) {
        probe(stranger);
    } else if (pod->secret_name != NULL && stranger->secret_key != NULL) {
        const struct kubernetes_request request = {
            .method = "GET", .kind = "secrets", .name = pod->secret_name, .timeout_ms = KUBERNETES_CALL_TIMEOUT_MS};
        stranger->call = kubernetes_call_start(stranger->roundup->backend->client, &request, on_secret, stranger);
        if (stranger->call == NULL) {
            leave_for_later(stranger);
        }
    } else {
        send_away(stranger, "it has no key");
    }
}

void kubernetes_roundup_pod_is_gone(struct kubernetes_roundup *roundup, const struct kubernetes_pod *pod) {
    struct stranger *stranger = NULL;
    DL_FOREACH(roundup->strangers, stranger) {
        if (strcmp(stranger->uid, pod->item.uid) == 0) {
            leave_for_later(stranger); /* its service and secret, that is; a Terminal has another pod by then */
            return;
        }
    }
}

static bool is_being_looked_at(const struct kubernetes_roundup *roundup, const char *uid) {
    const struct stranger *stranger = NULL;
    DL_FOREACH(roundup->strangers, stranger) {
        if (strcmp(stranger->uid, uid) == 0) {
            return true;
        }
    }
    return false;
}

/* Whoever makes pods by our conventions may be in the middle of it. */
static bool is_in_the_making(const struct kubernetes_pod *pod) {
    bool is_coming = pod->state == KUBERNETES_POD_PENDING || pod->state == KUBERNETES_POD_UNSCHEDULABLE;
    return is_coming && pod->instance_id == NULL;
}

/* With an operator, only the pods of Terminals are any business of ours, and only when they run. */
static bool is_of_a_terminal(const struct backend *backend, const struct kubernetes_pod *pod) {
    const struct kubernetes_terminal *terminal = kubernetes_terminals_find(backend->terminals, pod->item.name);
    return terminal != NULL && !terminal->is_going && strcmp(terminal->item.uid, pod->owner_uid) == 0 &&
           pod->state == KUBERNETES_POD_RUNNING;
}

static bool is_stranger(const struct kubernetes_roundup *roundup, const struct kubernetes_pod *pod) {
    struct backend *backend = roundup->backend;
    return pod->is_managed && !pod->is_purge && pod->user_id != NULL &&
           (backend->has_operator ? is_of_a_terminal(backend, pod) : !pod->has_controller && !is_in_the_making(pod)) &&
           strlen(pod->item.name) < KUBERNETES_NAME_SIZE && pod->state != KUBERNETES_POD_TERMINATING &&
           kubernetes_instance_holder(backend, pod->item.name) == NULL && !is_being_looked_at(roundup, pod->item.uid);
}

void kubernetes_roundup_look(struct kubernetes_roundup *roundup, const struct kubernetes_pod *pod) {
    if (!roundup->is_allowed || !is_stranger(roundup, pod)) {
        return;
    }
    struct stranger *stranger = calloc(1, sizeof *stranger);
    if (stranger == NULL) {
        return;
    }
    stranger->roundup = roundup;
    DL_APPEND(roundup->strangers, stranger);
    if (take(stranger, pod)) {
        begin(stranger, pod);
    } else {
        stranger_free(stranger);
    }
}

static void look_at_one(void *argument, const struct kubernetes_item *item) {
    struct kubernetes_roundup *roundup = argument;
    const struct kubernetes_pod *pod = kubernetes_pod_of(item);
    if (pod->is_purge) {
        kubernetes_purge_pod_changed(roundup->backend, pod, false); /* the deletion of one that is over may be due */
    } else {
        kubernetes_roundup_look(roundup, pod);
    }
}

void kubernetes_roundup_begin(struct kubernetes_roundup *roundup) {
    struct backend *backend = roundup->backend;
    if (!roundup->is_allowed || kubernetes_link_state(backend) != KUBERNETES_LINK_UP) {
        return;
    }
    kubernetes_unanswered_ask(backend);
    kubernetes_watch_each(backend->pods, look_at_one, roundup);
    if (backend->has_operator) {
        return;
    }
    if (kubernetes_leftovers_are_looked_at(roundup->leftovers)) {
        kubernetes_roundup_again(roundup);
        return;
    }
    kubernetes_leftovers_close(roundup->leftovers);
    roundup->leftovers = kubernetes_leftovers_open(backend);
}

static void on_again(evutil_socket_t fd, short what, void *argument) {
    struct kubernetes_roundup *roundup = argument;
    (void)fd;
    (void)what;
    if (kubernetes_link_state(roundup->backend) == KUBERNETES_LINK_UP) {
        kubernetes_roundup_begin(roundup);
    } else {
        kubernetes_roundup_again(roundup);
    }
}

void kubernetes_roundup_again(struct kubernetes_roundup *roundup) {
    const struct timeval pause = {.tv_sec = AGAIN_SECONDS};
    if (evtimer_pending(roundup->again, NULL) == 0) {
        evtimer_add(roundup->again, &pause);
    }
}

void kubernetes_roundup_allow(struct kubernetes_roundup *roundup) {
    roundup->is_allowed = true;
    kubernetes_roundup_begin(roundup);
}

void kubernetes_roundup_abandon(struct kubernetes_roundup *roundup) {
    while (roundup->strangers != NULL) {
        stranger_free(roundup->strangers);
    }
    kubernetes_leftovers_close(roundup->leftovers);
    roundup->leftovers = NULL;
}

struct kubernetes_roundup *kubernetes_roundup_open(struct backend *backend) {
    struct kubernetes_roundup *roundup = calloc(1, sizeof *roundup);
    if (roundup == NULL) {
        return NULL;
    }
    roundup->backend = backend;
    roundup->again = evtimer_new(backend->base, on_again, roundup);
    if (roundup->again == NULL) {
        free(roundup);
        return NULL;
    }
    return roundup;
}

void kubernetes_roundup_close(struct kubernetes_roundup *roundup) {
    if (roundup != NULL) {
        kubernetes_roundup_abandon(roundup);
        event_free(roundup->again);
        free(roundup);
    }
}
