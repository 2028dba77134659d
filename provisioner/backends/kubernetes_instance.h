/* kubernetes_instance.h - the life of one instance in a pod.
 *
 *   WAITING ─▶ CLAIM ─▶ SECRET ─▶ POD ─▶ SERVICE ─▶ COMING ─▶ PROBING ─▶ READY    a start
 *   WAITING ──────────────────────────────────────────────▶ PROBING ─▶ READY    an adoption
 *   WAITING ─▶ [CLAIM ─▶] TERMINAL ─▶ COMING ─▶ PROBING ─▶ READY                 the same with an operator
 *   any of these ──stop, failure, end──▶ REMOVING ─▶ LEAVING ─▶ (forgotten)
 *
 * WAITING is for the first list of pods, or for the name: one pod has it at a time. COMING is what the kubelet does.
 * REMOVING asks for pod, service and secret (or for the Terminal) to be deleted; LEAVING is until the pod is gone. The
 * claim stays. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_INSTANCE_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_INSTANCE_H

#include <uthash.h>

#include "provisioner/backends/kubernetes_backend.h"
#include "provisioner/backends/kubernetes_manifest.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/liveness.h"
#include "provisioner/health_probe.h"

#define KUBERNETES_INSTANCE_ID_SIZE 65

enum kubernetes_state {
    KUBERNETES_WAITING,
    KUBERNETES_CLAIM,
    KUBERNETES_SECRET,
    KUBERNETES_POD,
    KUBERNETES_SERVICE,
    KUBERNETES_TERMINAL,
    KUBERNETES_COMING,
    KUBERNETES_PROBING,
    KUBERNETES_READY,
    KUBERNETES_REMOVING,
    KUBERNETES_LEAVING,
};

/* What is told when nothing is left. */
enum kubernetes_outcome {
    KUBERNETES_OUTCOME_SAID,
    KUBERNETES_OUTCOME_FAILED,
    KUBERNETES_OUTCOME_STOPPED,
    KUBERNETES_OUTCOME_START, /* what is removed is a predecessor's, and now it can begin */
};

struct kubernetes_instance {
    struct backend *backend;
    char id[KUBERNETES_INSTANCE_ID_SIZE];
    char name[KUBERNETES_NAME_SIZE];
    struct instance_spec spec;              /* owns its strings; `policy` points to the copy below, or is NULL */
    struct policy policy;                   /* holds a reference to its `data` */
    char uid[KUBERNETES_UID_SIZE];          /* of the pod; "": there is none that we know */
    char terminal_uid[KUBERNETES_UID_SIZE]; /* with an operator; "": there is none that we know */
    bool is_key_missing;                    /* with an operator: its secret is being made */
    bool has_key;                           /* with an operator: `spec.key` is what the operator's secret says */
    int64_t active_ms; /* with an operator: when it was used last (Unix time), and what was written of that */
    int64_t written_ms;
    int64_t wrote_ms;   /* monotonic: when that was */
    int64_t created_ms; /* monotonic: when the pod was made, where we made it */
    struct instance_address address;
    enum kubernetes_state state;
    enum kubernetes_outcome outcome;
    struct error failure; /* for KUBERNETES_OUTCOME_FAILED */
    bool is_adoption;
    bool is_blind;       /* adopted while nobody could be asked */
    bool is_stop_wanted; /* a call is under way whose end has to be awaited first */
    bool has_objects;    /* there may be a pod, a service and a secret to remove */
    bool has_service;    /* as far as is known */
    int removal;         /* the step of REMOVING */
    bool pod_is_gone;    /* while it is removed: the watch has said so */
    int tries;           /* of the step in hand */
    unsigned round;      /* kubernetes.c has dealt with it in this round */

    struct kubernetes_call *call; /* one at most */
    struct health_probe *probe;   /* until it is ready */
    struct liveness liveness;     /* from then on */
    struct event *timer;
    UT_hash_handle hh;
    UT_hash_handle by_name; /* while it holds its name */
};

/* A new entry of backend->instances. NULL: no memory. */
struct kubernetes_instance *kubernetes_instance_new(struct backend *backend, const struct instance_spec *spec);

/* Forgets it, and nothing else: its pod goes on. */
void kubernetes_instance_free(struct kubernetes_instance *instance);

struct kubernetes_instance *kubernetes_instance_find(struct backend *backend, const char *id);
/* The one that holds this name. */
struct kubernetes_instance *kubernetes_instance_holder(struct backend *backend, const char *name);
/* Gives it its name; false if another one has it. */
bool kubernetes_instance_hold(struct kubernetes_instance *instance);

/* `ready` or `failed` follows. */
void kubernetes_instance_begin(struct kubernetes_instance *instance);
void kubernetes_instance_stop(struct kubernetes_instance *instance);

/* --- what happens around it */

/* The pod of its name has changed, or is gone. */
void kubernetes_instance_pod_changed(struct kubernetes_instance *instance, const struct kubernetes_pod *pod,
                                     bool is_gone);

/* All pods have been listed: one made before `began_ms` that nobody knows is gone. */
void kubernetes_instance_listed(struct kubernetes_instance *instance, int64_t began_ms);

/* --- between kubernetes_instance.c, kubernetes_start.c and kubernetes_end.c */

struct kubernetes_plan kubernetes_instance_plan(const struct kubernetes_instance *instance);
void kubernetes_instance_set_timer(struct kubernetes_instance *instance, int after_ms);
void kubernetes_instance_drop_calls(struct kubernetes_instance *instance);

/* Asks and remembers the call. Without memory the instance fails, and may be no more. */
void kubernetes_instance_call(struct kubernetes_instance *instance, const struct kubernetes_request *request,
                              kubernetes_done *done);

/* At the beginning of each step's answer: the call is over; a stop that was wanted meanwhile is dealt with. False:
 * there is nothing left to do for the step. */
bool kubernetes_instance_may_go_on(struct kubernetes_instance *instance);

/* Ends what there is of it, then tells `failed`. */
void kubernetes_instance_fail(struct kubernetes_instance *instance, const struct error *err);
/* Without removing anything: what is there is not this instance's, or stays as it is, until the roundup has looked. */
void kubernetes_instance_fail_leaving_all(struct kubernetes_instance *instance, const struct error *err);

/* It ran before us, and the API server cannot be asked, for `why`: whoever answers where it did is it, until a list or
 * an event says otherwise. */
void kubernetes_instance_adopt_blindly(struct kubernetes_instance *instance, const struct error *why);

/* It was ready and is not any more: tells `gone`, then ends what `has_objects` says there is, without anybody waiting.
 */
void kubernetes_instance_end_ready(struct kubernetes_instance *instance, const char *reason);

/* How a pod ended, for people: `text` gets at most `size` bytes. */
void kubernetes_instance_describe_end(const struct kubernetes_pod *pod, bool is_gone, char *text, size_t size);

/* One that was adopted without asking: whether this pod is it. False: it is not, and is dealt with. */
bool kubernetes_instance_see_again(struct kubernetes_instance *instance, const struct kubernetes_pod *pod);

/* Its pod runs at this address: waits until it answers. */
void kubernetes_instance_probe(struct kubernetes_instance *instance, const char *address, int timeout_ms);

/* kubernetes_start.c: the first step of a start; and the one that looks at what the kubelet does. */
void kubernetes_start_begin(struct kubernetes_instance *instance);
void kubernetes_start_look(struct kubernetes_instance *instance, const struct kubernetes_pod *pod);
void kubernetes_start_timer(struct kubernetes_instance *instance);

/* Looks for the claim and makes it if need be; then begins what follows. */
void kubernetes_start_claim(struct kubernetes_instance *instance);

/* kubernetes_end.c: removes what there is and tells the outcome. */
void kubernetes_end_begin(struct kubernetes_instance *instance, enum kubernetes_outcome outcome);
void kubernetes_end_pod_is_gone(struct kubernetes_instance *instance);
void kubernetes_end_timer(struct kubernetes_instance *instance);

#endif
