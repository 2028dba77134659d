/* backend.h - what starts, watches and stops instances. Outside backends/ nobody knows which one it is.
 *
 * Everything runs on the provisioner's one event loop: no call blocks. What takes time is reported later through the
 * `backend_events` given to open(); an event may be raised from inside a call. One instance is known by its
 * `instance_id` (32 lower-case hex digits) on both sides.
 *
 * Crash safety: before anything exists that outlives us, start() raises `created` with a reference (a text only the
 * backend understands: a pid and its start time, a container id). The owner commits it to the database there and then;
 * only when that returns true does the backend let the instance run. A provisioner killed at any point therefore finds
 * in its database every instance that can exist. */
#ifndef TERMINALS_PROVISIONER_BACKEND_H
#define TERMINALS_PROVISIONER_BACKEND_H

#include <event2/event.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/settings.h"
#include "provisioner/policy.h"

/* What to start. Borrowed during the call. */
struct instance_spec {
    const char *instance_id;
    const char *instance_name; /* name_instance(), or what the backend has instead */
    const char *user_id;
    const char *policy_id;
    const char *context_id;
    const char *key; /* OPEN_TERMINAL_API_KEY of this instance */
    /* Absolute path of the home folder, which exists; NULL: a warm instance, hand_over(), or a backend that keeps the
     * files itself, purge(). */
    const char *home;
    const struct policy *policy; /* NULL: nothing is said, the settings hold */
    /* For adopt() only: where it answered last. NULL and 0: nobody knows. */
    const char *host;
    uint16_t port;
};

/* Where a ready instance answers. */
struct instance_address {
    char host[INET6_ADDRSTRLEN]; /* an IP address, always: HAProxy's set-dst takes nothing else */
    uint16_t port;
    char key[129]; /* the key it expects: spec->key, but for `static` */
};

struct backend_events {
    void *owner;
    /* See above. False: undo, and raise `failed`. `reference` is borrowed. Raised again, with another reference, when a
     * start has to be tried anew (its port was taken meanwhile): the last one holds. */
    bool (*created)(void *owner, const char *instance_id, const char *reference, struct error *err);
    /* It answered /health with 200 and is still running. */
    void (*ready)(void *owner, const char *instance_id, const struct instance_address *address);
    /* A start or an adoption that did not succeed; nothing of it is left running. ERROR_BACKEND, ERROR_TIMEOUT or
     * ERROR_CAPACITY. */
    void (*failed)(void *owner, const char *instance_id, const struct error *err);
    /* A ready instance ended by itself or by somebody else's hand. */
    void (*gone)(void *owner, const char *instance_id, const char *reason);
    /* A stop() is done: nothing of the instance runs any more. */
    void (*stopped)(void *owner, const char *instance_id);
    /* How far a start has come that takes long ("pulling image x: 34 %"), for people. */
    void (*progress)(void *owner, const char *instance_id, const char *text);
    /* After sweep(), if at all: an instance that runs, answers and carries our labels, but that nobody has passed to
     * start() or adopt(): a predecessor's whose row was lost, or one that another program of the same conventions made.
     * True: it is the owner's now, as if `ready` had followed an adopt(). False, with *err: nobody wants it, or it
     * cannot be had at the moment (backend_nobody_wants() tells which). */
    bool (*found)(void *owner, const struct instance_spec *spec, const char *reference,
                  const struct instance_address *address, struct error *err);
    /* Whether what nobody has passed to us may be ended now. Not by one of several nodes that has lost the lead, or
     * does not know: what it has never heard of is perhaps its successor's. NULL: always. */
    bool (*may_end_strangers)(void *owner);
};

static inline bool backend_may_end_strangers(const struct backend_events *events) {
    return events->may_end_strangers == NULL || events->may_end_strangers(events->owner);
}

/* What `found` refused: whether that will not change by itself, so that what was found may be ended. Else something is
 * the matter with us (a full database, no memory, a shutdown), and it is offered again later. */
static inline bool backend_nobody_wants(const struct error *err) {
    return err->code == ERROR_CONFLICT || err->code == ERROR_NOT_FOUND || err->code == ERROR_INVALID ||
           err->code == ERROR_UNPROCESSABLE;
}

/* Something that the backend has, outside of us, and that carries our mark. Borrowed during the call. */
struct backend_object {
    const char *kind;        /* "process", "container", "pod", "service", "secret", "claim" */
    const char *name;        /* for people */
    const char *handle;      /* for remove_object() */
    const char *instance_id; /* whose it is, unless it holds_files */
    bool holds_files;        /* a user's, which outlive instances: its name is name_instance()'s */
};

struct backend; /* one opened backend */

struct backend_operations {
    const char *name; /* TERMINALS_BACKEND */
    /* Checks what it needs and says loudly what is missing. NULL with *err: the provisioner does not start. */
    struct backend *(*open)(const struct settings *settings, struct event_base *base,
                            const struct backend_events *events, struct error *err);
    void (*close)(struct backend *backend); /* leaves instances running */
    /* Exactly one of ready and failed follows. */
    void (*start)(struct backend *backend, const struct instance_spec *spec);
    /* An instance a predecessor created: exactly one of ready (it runs, and answers or is only silent) and failed (it
     * does not run, or what was half there has been removed) follows. `reference` may be NULL: the predecessor never
     * got as far as `created`. */
    void (*adopt)(struct backend *backend, const struct instance_spec *spec, const char *reference);
    /* Ends it, politely first (SIGTERM), by force after a few seconds. `stopped` follows, also if there was nothing to
     * stop. A start under way is abandoned, with `stopped` and without `failed`. */
    void (*stop)(struct backend *backend, const char *instance_id);
    /* Asks a ready instance whether it still answers (the recovery path): raises `gone` if nobody listens there, or it
     * has been silent for too long (backends/liveness.h); `checked` is called once, after that, with whether it
     * answers: one that is silent for now does not, and is not gone either. */
    void (*check)(struct backend *backend, const char *instance_id, void (*checked)(void *argument, bool alive),
                  void *argument);
    /* Once, after every known instance has been passed to adopt(): ends what carries our mark (this run folder's) and
     * is not known. */
    void (*sweep)(struct backend *backend);
    /* The OpenAPI document of its instances from a source no tenant controls: calls `done` once with the JSON text or
     * NULL (the built-in document holds). */
    void (*openapi)(struct backend *backend, void (*done)(void *argument, const char *document), void *argument);
    /* A ready instance that was started without a home becomes the one of `spec` (whose instance_id and key are its
     * own): its home appears in it. `done` is called once; with `err` nothing was handed over, and the instance is to
     * be stopped. NULL: the backend cannot. */
    void (*hand_over)(struct backend *backend, const struct instance_spec *spec,
                      void (*done)(void *argument, const struct error *err), void *argument);
    /* A ready instance was used last at `unix_ms`, as far as is known by now. NULL: nobody there wants to know. */
    void (*touch)(struct backend *backend, const char *instance_id, int64_t unix_ms);
    /* Removes the files of a (user, policy, context) whose instance does not run; `done` is called once, with NULL on
     * success. At a reset (`is_reset`) whatever holds them may stay, empty. Where this is NULL, files are in the home
     * folder of `spec`, and no business of the backend's. */
    void (*purge)(struct backend *backend, const struct instance_spec *spec, bool is_reset,
                  void (*done)(void *argument, const struct error *err), void *argument);
    /* A tenant whose instance does not run is being deleted, and its files stay: nothing else that the backend keeps of
     * it does (what sleeps, or is about to come back by itself). `done` is called once, with NULL on success. NULL:
     * nothing is kept. */
    void (*forget)(struct backend *backend, const struct instance_spec *spec,
                   void (*done)(void *argument, const struct error *err), void *argument);
    /* Does what it runs instances on not answer at the moment? Then *err says so. NULL: it has nothing that could be
     * away. */
    bool (*is_away)(const struct backend *backend, struct error *err);
    /* What an instance is called. False: no memory. NULL: name_instance() holds. */
    bool (*name_instance)(const char *user_id, const char *policy_id, const char *context_id,
                          char out[NAME_FOLDER_SIZE]);
    /* For `terminals gc`. Tells `each` all objects that there are, whoever owns them, and then calls `done` once; works
     * right after open(), before anything was adopted. NULL: there is nothing of the kind. */
    void (*list_objects)(struct backend *backend, void (*each)(void *argument, const struct backend_object *object),
                         void (*done)(void *argument, const struct error *err), void *argument);
    /* Removes one by force; `done` is called once, with NULL also if it is not there any more. */
    void (*remove_object)(struct backend *backend, const char *kind, const char *handle,
                          void (*done)(void *argument, const struct error *err), void *argument);
    bool shares_one_instance; /* static: every tenant has the same instance, so none is ever stopped or reaped, and
                                 there are no homes */
    bool is_bound_to_node;    /* local: nobody on another machine reaches its instances */
    bool runs_images;         /* an instance is started from an image, TERMINALS_IMAGE where nobody says another */
};

extern const struct backend_operations backend_docker;
extern const struct backend_operations backend_kubernetes;
extern const struct backend_operations backend_kubernetes_operator;
extern const struct backend_operations backend_local;
extern const struct backend_operations backend_static;

#endif
