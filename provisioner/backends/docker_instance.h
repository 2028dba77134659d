/* docker_instance.h - the life of one instance in a container.
 *
 *   WAITING ─▶ IMAGE ─▶ CREATING ─▶ STARTING ─▶ LOOKING ─▶ PROBING ─▶ READY     a start
 *                │  ▲       │  ▲                                        │
 *                ▼  │       ▼  │                                        │
 *              PULLING    CLEARING ──taken over──▶ LOOKING              │
 *   WAITING ─▶ ADOPTING ────────────────────────────▶ PROBING ─▶ READY  │       an adoption
 *                                                                       ▼
 *   any of these ──stop──▶ STOPPING ─▶ REMOVING ─▶ (forgotten)     REMOVING     its end
 *   any of these ──fails─▶ LOGS ─▶ REMOVING ─▶ (forgotten)
 *
 * WAITING is for the engine's first answer. CLEARING is what happens when the container's name is taken: docker_clear.c
 * has the rules. What becomes of it is told when nothing is left, but `gone` at once, and a failure at once when the
 * engine cannot be asked: then the roundup removes what is left when it can be. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_INSTANCE_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_INSTANCE_H

#include <uthash.h>

#include "provisioner/backends/docker_backend.h"
#include "provisioner/backends/docker_container.h"
#include "provisioner/backends/liveness.h"
#include "provisioner/health_probe.h"

#define DOCKER_INSTANCE_ID_SIZE 65
#define DOCKER_RETRY_MAX_MS     5000

enum docker_state {
    DOCKER_WAITING,
    DOCKER_IMAGE,
    DOCKER_PULLING,
    DOCKER_CREATING,
    DOCKER_CLEARING,
    DOCKER_STARTING,
    DOCKER_LOOKING,
    DOCKER_PROBING,
    DOCKER_ADOPTING,
    DOCKER_READY,
    DOCKER_LOGS,
    DOCKER_STOPPING,
    DOCKER_REMOVING,
};

/* What is told when nothing is left. */
enum docker_outcome { DOCKER_OUTCOME_SAID, DOCKER_OUTCOME_FAILED, DOCKER_OUTCOME_STOPPED };

struct docker_instance {
    struct backend *backend;
    char id[DOCKER_INSTANCE_ID_SIZE];
    struct instance_spec spec; /* owns its strings; `policy` points to the copy below, or is NULL */
    struct policy policy;      /* holds a reference to its `data` */
    char container_id[DOCKER_ID_SIZE];
    struct instance_address address;
    enum docker_state state;
    enum docker_outcome outcome;
    struct error failure; /* for DOCKER_OUTCOME_FAILED */
    bool is_adoption;
    bool is_blind;       /* adopted without an answer of the engine */
    bool is_stop_wanted; /* a call is under way whose end has to be awaited first */
    bool has_ended;      /* the events say so, and a call is under way */
    bool was_unlisted;   /* while a list is awaited: it has not been seen in it */
    int64_t exit_code;
    int tries; /* of the step in hand */

    char *image_user; /* the image's own user; NULL: not known yet */
    char *image_id;
    bool image_is_unprivileged;
    bool image_was_pulled; /* for this start */

    struct docker_call *call; /* one at most */
    struct docker_pull_wait *pull;
    struct docker_network_call *network;
    struct health_probe *probe; /* until it is ready */
    struct liveness liveness;   /* from then on */
    struct event *timer;
    pid_t pid;                        /* of its container, as the engine says it; 0: not known */
    struct docker_handover *handover; /* under way, or NULL: docker_warm.c */
    struct docker_call *rename;
    UT_hash_handle hh;
    UT_hash_handle by_container; /* while container_id is set */
};

/* A new entry of backend->instances. NULL: no memory. */
struct docker_instance *docker_instance_new(struct backend *backend, const struct instance_spec *spec);

/* Forgets it, and nothing else: its container goes on. */
void docker_instance_free(struct docker_instance *instance);

/* NULL: there is none. */
struct docker_instance *docker_instance_find(struct backend *backend, const char *id);
struct docker_instance *docker_instance_of_container(struct backend *backend, const char *container_id);

/* Which container is this instance's from now on; "": none, whatever becomes of the one that was. */
void docker_instance_set_container(struct docker_instance *instance, const char *container_id);

/* A new entry begins to live: with a new container, or (docker_adopt.c) with the one it has. `ready` or `failed`
 * follows. */
void docker_instance_start(struct docker_instance *instance);
void docker_instance_adopt(struct docker_instance *instance);

/* In any state. `stopped` follows when nothing of it is left, and then the entry is no more. */
void docker_instance_stop(struct docker_instance *instance);

/* A warm one gets an owner and a home. Only while READY. */
void docker_instance_hand_over(struct docker_instance *instance, const struct instance_spec *spec,
                               void (*done)(void *argument, const struct error *err), void *argument);

/* --- what happens around it */

/* The engine has answered for the first time, or is known to be away. */
void docker_instance_link_changed(struct docker_instance *instance);

/* Its container has ended, by whoever's hand. `exit_code` is -1 where it is not known. */
void docker_instance_ended(struct docker_instance *instance, int64_t exit_code, const char *reason);

/* Somebody paused it: its route goes, the container stays. */
void docker_instance_paused(struct docker_instance *instance);

/* --- between docker_instance.c, docker_start.c, docker_clear.c, docker_adopt.c and docker_end.c */

/* What is in hand (CLEARING, STOPPING, REMOVING) is tried again then. */
void docker_instance_set_timer(struct docker_instance *instance, int after_ms);

const char *docker_instance_container(const struct docker_instance *instance); /* for messages: its name */

/* Asks the engine and remembers the call. Without memory the instance fails, and may be no more. */
void docker_instance_call(struct docker_instance *instance, const struct docker_request *request, docker_done *done);

/* Copies what a start, or an owner, is. False: no memory, and the old one holds. */
bool docker_instance_set_spec(struct docker_instance *instance, const struct instance_spec *spec);

/* At the beginning of each step's answer: the call is over; a stop that was wanted meanwhile, or an end, is dealt with.
 * False: there is nothing left to do for the step. */
bool docker_instance_may_go_on(struct docker_instance *instance);

/* Ends what there is of it, then tells `failed`. */
void docker_instance_fail(struct docker_instance *instance, const struct error *err);
/* Without removing anything: what is there, if anything is, stays as it is until the roundup has looked. */
void docker_instance_fail_leaving_all(struct docker_instance *instance, const struct error *err);

/* Its container, described, runs: finds its address and waits until it answers. */
void docker_instance_probe(struct docker_instance *instance, const struct docker_container *container);

/* Its address is known: waits until it answers there. */
void docker_instance_await_answer(struct docker_instance *instance, int timeout_ms);

/* Waits for nothing any more. What the engine has begun, it may finish. */
void docker_instance_drop_calls(struct docker_instance *instance);

/* docker_start.c: the step that creates the container. */
void docker_start_create(struct docker_instance *instance);

/* docker_clear.c: the container's name is taken. */
void docker_clear_begin(struct docker_instance *instance);

/* docker_end.c: the timer, while STOPPING or REMOVING. */
void docker_end_go_on(struct docker_instance *instance);

#endif
