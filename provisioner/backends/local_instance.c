#include "provisioner/backends/local_instance.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/secret.h"
#include "provisioner/backends/local_hunt.h"
#include "provisioner/backends/local_processes.h"
#include "provisioner/backends/local_warm.h"

#define LOOPBACK            "127.0.0.1"
#define STOP_GRACE_MS       3000
#define ADOPT_TIMEOUT_MS    10000
#define ADOPT_AGAIN_MS      1000 /* until we can look at its processes */
#define SANDBOX_END_WAIT_MS 200  /* bwrap ends right after its init; if not, it is helped */
#define TRIES_MAX           5    /* ports tried for one start */

static void begin_ending(struct local_instance *instance, enum local_outcome outcome);
static void on_timer(evutil_socket_t fd, short what, void *argument);

static void set_timer(struct local_instance *instance, int after_ms) {
    const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000};
    if (evtimer_add(instance->timer, &after) != 0) {
        log_error(NULL, "instance %s: no timer: out of memory", instance->id);
    }
}

void local_instance_mark(const struct local_instance *instance, char out[LOCAL_MARK_SIZE]) {
    snprintf(out, LOCAL_MARK_SIZE, "%s%s", instance->backend->mark_prefix, instance->id);
}

/* --- whether it still answers ------------------------------------------------------------------------------------- */

static struct health_probe *start_probe(const void *instance, int timeout_ms, health_probe_done *done, void *argument) {
    const struct local_instance *asked = instance;
    return health_probe_start(asked->backend->base, LOOPBACK, asked->reference.port, asked->key, timeout_ms, done,
                              argument);
}

static void end_unresponsive(void *instance) {
    local_instance_end(instance, "it runs but does not answer");
}

static const char *name_of(const void *instance) {
    return ((const struct local_instance *)instance)->id;
}

static const struct liveness_kind liveness_kind = {.probe = start_probe, .end = end_unresponsive, .name = name_of};

/* --- entries ------------------------------------------------------------------------------------------------------ */

struct local_instance *local_instance_new(struct backend *backend, const char *id) {
    struct local_instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        return NULL;
    }
    instance->backend = backend;
    instance->liveness = (struct liveness){.kind = &liveness_kind, .instance = instance};
    instance->output_fd = -1;
    instance->info_fd = -1;
    snprintf(instance->id, sizeof instance->id, "%s", id);
    instance->timer = evtimer_new(backend->base, on_timer, instance);
    if (instance->timer == NULL) {
        free(instance);
        return NULL;
    }
    HASH_ADD_STR(backend->instances, id, instance);
    return instance;
}

static void forget_processes(struct local_instance *instance) {
    local_warm_cancel(instance);
    local_processes_forget(instance);
}

void local_instance_free(struct local_instance *instance) {
    HASH_DEL(instance->backend->instances, instance);
    local_hunt_cancel(instance);
    health_probe_cancel(instance->probe);
    forget_processes(instance);
    liveness_drop(&instance->liveness);
    event_free(instance->timer);
    free(instance->failure);
    free(instance->home);
    secret_free(instance->key);
    json_object_put(instance->env);
    free(instance);
}

bool local_instance_set_spec(struct local_instance *instance, const struct instance_spec *spec) {
    struct error err;
    bool is_folder = spec->home != NULL || !instance->backend->sandboxed;
    char *home = spec->home != NULL ? strdup(spec->home)
                 : is_folder        ? local_warm_home_make(instance->backend, instance->id, &err)
                                    : NULL;
    char *key = strdup(spec->key);
    if ((home == NULL && is_folder) || key == NULL) {
        free(home);
        secret_free(key);
        return false;
    }
    free(instance->home);
    secret_free(instance->key);
    json_object_put(instance->env);
    instance->home = home;
    instance->key = key;
    instance->env = spec->policy == NULL ? NULL : json_object_get(spec->policy->env);
    return true;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static void set_failure(struct local_instance *instance, const struct error *err) {
    if (instance->failure == NULL) {
        instance->failure = malloc(sizeof *instance->failure);
    }
    if (instance->failure != NULL) {
        *instance->failure = *err;
    }
}

void local_instance_fail(struct local_instance *instance, const struct error *err) {
    set_failure(instance, err);
    begin_ending(instance, OUTCOME_FAILED);
}

/* Nothing of it is left: says so and forgets it, or starts it anew. The instance is gone before anybody is told, so
 * that whoever is told may start it again there and then. */
static void finish(struct local_instance *instance) {
    const struct backend_events events = instance->backend->events;
    const enum local_outcome outcome = instance->outcome;
    if (outcome == OUTCOME_START) {
        forget_processes(instance);
        local_instance_launch(instance);
        return;
    }
    char id[LOCAL_INSTANCE_ID_SIZE];
    struct error failure = {.code = ERROR_INTERNAL, .message = "out of memory"};
    memcpy(id, instance->id, sizeof id);
    local_warm_home_remove(instance->backend, id);
    if (instance->failure != NULL) {
        failure = *instance->failure;
    }
    local_instance_free(instance);
    if (outcome == OUTCOME_STOPPED) {
        events.stopped(events.owner, id);
    } else if (outcome == OUTCOME_FAILED) {
        events.failed(events.owner, id, &failure);
    }
}

static void continue_ending(struct local_instance *instance) {
    if (process_watch_is_running(&instance->process) || process_watch_is_running(&instance->init)) {
        return; /* their ends come back here */
    }
    if (instance->has_leftovers) {
        local_hunt_begin(instance); /* finish() follows */
    } else {
        finish(instance);
    }
}

static void begin_ending(struct local_instance *instance, enum local_outcome outcome) {
    instance->state = LOCAL_ENDING;
    instance->outcome = outcome;
    local_warm_fail(instance);
    health_probe_cancel(instance->probe);
    instance->probe = NULL;
    liveness_cancel(&instance->liveness);
    evtimer_del(instance->timer);
    local_processes_kill(instance);
    liveness_answer(&instance->liveness, false);
    continue_ending(instance);
}

/* A ready instance is no more: that is told at once, before what is left of it is cleared away. */
void local_instance_end(struct local_instance *instance, const char *reason) {
    const struct backend_events *events = &instance->backend->events;
    instance->state = LOCAL_ENDING;
    instance->outcome = OUTCOME_SAID;
    events->gone(events->owner, instance->id, reason);
    begin_ending(instance, instance->outcome); /* perhaps it was asked to start or stop meanwhile */
}

static void end_start(struct local_instance *instance) {
    char description[320];
    struct error err;
    if (instance->state == LOCAL_STARTING && instance->tries < TRIES_MAX &&
        !local_port_is_free(instance->reference.port)) {
        instance->tries++;
        begin_ending(instance, OUTCOME_START);
        return;
    }
    local_processes_describe_end(instance, description, sizeof description);
    error_set(&err, ERROR_BACKEND, "%s before it answered", description);
    local_instance_fail(instance, &err);
}

/* The forked process or the sandbox's init has ended; one follows the other within a moment. */
static void on_process_end(void *argument) {
    struct local_instance *instance = argument;
    char reason[320];
    if (instance->state != LOCAL_ENDING && process_watch_is_running(&instance->process)) {
        set_timer(instance, SANDBOX_END_WAIT_MS); /* the init was first; bwrap follows and knows the exit status */
        return;
    }
    switch (instance->state) {
    case LOCAL_READY:
        local_processes_describe_end(instance, reason, sizeof reason);
        local_instance_end(instance, reason);
        break;
    case LOCAL_STARTING:
    case LOCAL_ADOPTING:
        end_start(instance);
        break;
    case LOCAL_STOPPING:
        begin_ending(instance, OUTCOME_STOPPED);
        break;
    case LOCAL_ENDING:
        continue_ending(instance);
        break;
    }
}

static void on_timer(evutil_socket_t fd, short what, void *argument) {
    struct local_instance *instance = argument;
    (void)fd;
    (void)what;
    if (instance->state == LOCAL_ADOPTING && instance->process.event == NULL) {
        const struct local_reference reference = instance->reference;
        local_instance_adopt(instance, &reference);
        return;
    }
    switch (instance->state) {
    case LOCAL_STOPPING:
        begin_ending(instance, OUTCOME_STOPPED);
        break;
    case LOCAL_ENDING:
        continue_ending(instance);
        break;
    default: /* its init has ended, and bwrap has not noticed */
        process_watch_signal(&instance->process, SIGKILL);
    }
}

bool local_instances_open(struct backend *backend) {
    return local_hunt_open(backend, finish);
}

void local_instances_close(struct backend *backend) {
    struct local_instance *instance = NULL;
    struct local_instance *next = NULL;
    HASH_ITER(hh, backend->instances, instance, next) {
        local_instance_free(instance);
    }
    local_hunt_close(backend);
}

/* --- the beginning ------------------------------------------------------------------------------------------------ */

static void become_ready(struct local_instance *instance) {
    const struct backend_events *events = &instance->backend->events;
    struct instance_address address = {.port = instance->reference.port};
    snprintf(address.host, sizeof address.host, "%s", LOOPBACK);
    snprintf(address.key, sizeof address.key, "%s", instance->key);
    instance->state = LOCAL_READY;
    instance->tries = 0;
    local_processes_close_channels(instance);
    events->ready(events->owner, instance->id, &address);
    explicit_bzero(&address, sizeof address);
}

/* Something answers on its port: is it the instance, all of it in our hands? */
static void accept_answer(struct local_instance *instance) {
    struct error err;
    if (!process_watch_is_running(&instance->process)) {
        return; /* it ended this moment; on_process_end() says the rest */
    }
    if (process_owns_listener(instance->reference.pid, instance->reference.port) == OWNER_NO) {
        log_warning(NULL, "instance %s: another process answers on its port %u", instance->id,
                    instance->reference.port);
        if (instance->state == LOCAL_STARTING && instance->tries < TRIES_MAX) {
            instance->tries++;
            begin_ending(instance, OUTCOME_START);
            return;
        }
        error_set(&err, ERROR_BACKEND, "another process answers on its port %u", instance->reference.port);
        local_instance_fail(instance, &err);
        return;
    }
    if (!local_processes_are_held(instance)) {
        error_set(&err, ERROR_BACKEND, "bwrap did not tell the sandbox's init");
        local_instance_fail(instance, &err);
        return;
    }
    become_ready(instance);
}

/* A predecessor's instance is silent, as all may be on the machine that ran out of memory and killed the predecessor.
 * Its process lives, and is the one that is looked for. */
static void accept_silence(struct local_instance *instance, const struct error *err) {
    accept_answer(instance);
    if (instance->state == LOCAL_READY) {
        log_warning(NULL, "instance %s is kept, though %s", instance->id, err->message);
        liveness_watch(&instance->liveness, ADOPT_TIMEOUT_MS);
    }
}

static void on_probed(void *argument, const struct error *err, bool is_refused) {
    struct local_instance *instance = argument;
    instance->probe = NULL;
    if (err == NULL) {
        accept_answer(instance);
    } else if (instance->state == LOCAL_ADOPTING && !is_refused) {
        accept_silence(instance, err);
    } else {
        local_instance_fail(instance, err);
    }
}

/* Asks whether it answers. False with *err: no memory or descriptors. */
static bool probe(struct local_instance *instance, int timeout_ms, const char *key, struct error *err) {
    instance->probe = health_probe_start(instance->backend->base, LOOPBACK, instance->reference.port, key, timeout_ms,
                                         on_probed, instance);
    return instance->probe != NULL || error_set(err, ERROR_INTERNAL, "out of memory or descriptors");
}

void local_instance_launch(struct local_instance *instance) {
    struct error err;
    instance->state = LOCAL_STARTING;
    instance->liveness.silent_ms = 0;
    if (!local_processes_start(instance, on_process_end, &err) ||
        !probe(instance, instance->backend->start_timeout_ms, NULL, &err)) {
        local_instance_fail(instance, &err);
    }
}

/* We lack the means to look at it: that is no reason to end it. Nothing of it is in our hands until then. */
static void adopt_later(struct local_instance *instance, const struct local_reference *reference,
                        const struct error *err) {
    log_warning(NULL, "instance %s is adopted later: %s", instance->id, err->message);
    local_processes_forget(instance);
    instance->reference = *reference;
    local_ports_mark(&instance->backend->ports, reference->port, true);
    instance->has_leftovers = true;
    set_timer(instance, ADOPT_AGAIN_MS);
}

void local_instance_adopt(struct local_instance *instance, const struct local_reference *reference) {
    struct error err;
    instance->state = LOCAL_ADOPTING;
    instance->has_leftovers = true;
    enum local_adoption adoption = local_processes_adopt(instance, reference, on_process_end, &err);
    if (adoption == ADOPTION_DONE && !probe(instance, ADOPT_TIMEOUT_MS, instance->key, &err)) {
        adoption = ADOPTION_UNSEEN;
    }
    if (adoption == ADOPTION_UNSEEN) {
        adopt_later(instance, reference, &err);
    } else if (adoption == ADOPTION_GONE) {
        local_instance_fail(instance, &err);
    }
}

/* --- while it runs ------------------------------------------------------------------------------------------------ */

void local_instance_stop(struct local_instance *instance) {
    switch (instance->state) {
    case LOCAL_STOPPING:
        return;
    case LOCAL_ENDING:
        instance->outcome = OUTCOME_STOPPED;
        return;
    default:
        break;
    }
    instance->state = LOCAL_STOPPING;
    local_warm_fail(instance);
    health_probe_cancel(instance->probe);
    instance->probe = NULL;
    liveness_cancel(&instance->liveness);
    evtimer_del(instance->timer);
    liveness_answer(&instance->liveness, false);
    if (local_processes_terminate(instance)) {
        set_timer(instance, STOP_GRACE_MS);
    } else {
        begin_ending(instance, OUTCOME_STOPPED);
    }
}
