/* local_instance.h - the life of one local instance: one state, one table of what is left to say when it has ended.
 *
 *   STARTING ──ready──▶ READY ──ends by itself──▶ ENDING ──nothing left──▶ (forgotten)
 *   ADOPTING ──ready──▶ READY ──stop──▶ STOPPING ──▶ ENDING
 *   STARTING, ADOPTING ──fails──▶ ENDING
 *   ENDING ──port was taken, or asked to start meanwhile──▶ STARTING
 *
 * ENDING kills whatever is left (bwrap, its init with the whole PID namespace, processes that carry our mark) and waits
 * until it is gone; only then the outcome is told. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_LOCAL_INSTANCE_H
#define TERMINALS_PROVISIONER_BACKENDS_LOCAL_INSTANCE_H

#include <uthash.h>

#include "provisioner/backend.h"
#include "provisioner/backends/bubblewrap.h"
#include "provisioner/backends/liveness.h"
#include "provisioner/backends/local_ports.h"
#include "provisioner/backends/local_reference.h"
#include "provisioner/backends/process_watch.h"
#include "provisioner/health_probe.h"

#define LOCAL_INSTANCE_ID_SIZE 65
#define LOCAL_MARK_SIZE        (LOCAL_INSTANCE_ID_SIZE + 32)

enum local_state { LOCAL_STARTING, LOCAL_ADOPTING, LOCAL_READY, LOCAL_STOPPING, LOCAL_ENDING };

/* What is told when nothing of an instance is left. */
enum local_outcome { OUTCOME_SAID /* `gone` was raised at once */, OUTCOME_FAILED, OUTCOME_STOPPED, OUTCOME_START };

struct local_instance {
    struct backend *backend;
    char id[LOCAL_INSTANCE_ID_SIZE];
    char *home;              /* NULL: a warm one in a sandbox, until it is handed over */
    char *key;               /* secret */
    struct json_object *env; /* of its policy, or NULL */
    struct local_reference reference;
    enum local_state state;
    enum local_outcome outcome;   /* while STOPPING or ENDING */
    struct error *failure;        /* for OUTCOME_FAILED */
    int tries;                    /* starts that found their port taken */
    int output_fd;                /* what it wrote to standard error before it was ready; -1 after */
    int info_fd;                  /* where bwrap tells its init's pid; -1 after */
    struct process_watch process; /* what we forked: bwrap, or the instance itself */
    struct process_watch init;    /* pid 1 of the sandbox: its end is the end of everything inside */
    bool has_leftovers;           /* processes that only their mark betrays may be running */
    bool is_hunted;               /* they are being ended (local_hunt.h) */
    bool has_nothing_left;        /* as far as the look under way has seen */
    struct health_probe *probe;   /* until it is ready */
    struct liveness liveness;     /* from then on */
    struct event *timer;
    struct local_handover *handover;    /* under way, or NULL */
    struct local_instance *prev, *next; /* of the hunted */
    UT_hash_handle hh;
};

/* The opened backend. */
struct backend {
    struct event_base *base;
    struct backend_events events;
    char *binary;
    bool binary_waits; /* by itself, until it may begin (spawn.h) */
    char *warm_dir;    /* homes of warm instances without a sandbox (local_warm.h) */
    struct bubblewrap sandbox;
    bool sandboxed;
    struct event *refresh_timer; /* of what sandboxes see of /etc */
    int start_timeout_ms;
    char mark_prefix[32]; /* "<16 hex digits for this run folder>:" */
    char boot_id[PROCESS_BOOT_ID_SIZE];
    struct local_ports ports;
    struct local_instance *instances; /* by id */
    struct local_instance *hunted;    /* local_hunt.h */
    struct event *hunt_timer;
    void (*on_hunted)(struct local_instance *instance);
    struct local_leftover *leftovers; /* marked processes found at start, until the sweep */
    bool leftovers_known;
    struct event *sweep_timer;
    int sweeps;
    bool has_said_what_it_ignores; /* of policies */
};

/* Before the first and after the last: what instances share. False: no memory. Closing forgets those that there are. */
bool local_instances_open(struct backend *backend);
void local_instances_close(struct backend *backend);

/* A new entry of backend->instances. NULL: no memory. */
struct local_instance *local_instance_new(struct backend *backend, const char *id);

/* Forgets it, and nothing else: its processes go on. */
void local_instance_free(struct local_instance *instance);

/* Copies what a start needs. False: no memory. */
bool local_instance_set_spec(struct local_instance *instance, const struct instance_spec *spec);

/* STARTING. `ready` or `failed` follows. */
void local_instance_launch(struct local_instance *instance);

/* ADOPTING, given a reference whose process may be alive. `ready` or `failed` follows, once we can look at it. */
void local_instance_adopt(struct local_instance *instance, const struct local_reference *reference);

/* ENDING with `failed`. */
void local_instance_fail(struct local_instance *instance, const struct error *err);

/* SIGTERM, and after a grace the rest. `stopped` follows, when nothing of it is left. */
void local_instance_stop(struct local_instance *instance);

/* What becomes of a warm one: local_warm.c. Only while READY. */
void local_instance_hand_over(struct local_instance *instance, const struct instance_spec *spec,
                              void (*done)(void *argument, const struct error *err), void *argument);

/* ENDING with `gone`. Only while READY. */
void local_instance_end(struct local_instance *instance, const char *reason);

/* The value of LOCAL_MARK for its processes. */
void local_instance_mark(const struct local_instance *instance, char out[LOCAL_MARK_SIZE]);

#endif
