/* local.c - the `local` backend: instances are processes of this machine, each in a bubblewrap sandbox where that
 * works. The life of one is in local_instance.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/log.h"
#include "provisioner/backends/local_command.h"
#include "provisioner/backends/local_instance.h"
#include "provisioner/backends/local_warm.h"
#include "provisioner/backends/program.h"

#define SWEEP_PAUSE_MS   10
#define SWEEP_BLIND_MS   1000
#define SWEEPS_MAX       500 /* looks for processes nobody owns: a fork bomb may need several */
#define RUN_FOLDER_CHARS 16
#define REFRESH_SECONDS  10 /* until an instance that runs sees that a file of /etc has changed */

/* A process with our mark that ran before we did. */
struct local_leftover {
    char mark[LOCAL_MARK_SIZE];
    struct local_leftover *next;
};

static struct local_instance *find_instance(struct backend *backend, const char *id) {
    struct local_instance *instance = NULL;
    HASH_FIND_STR(backend->instances, id, instance);
    return instance;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void warn_about_no_isolation(const char *why) {
    log_warning(NULL, "**********************************************************************");
    log_warning(NULL, "NO ISOLATION: instances run without a sandbox (%s)", why);
    log_warning(NULL,
                "every user can read and change every other user's files and processes, and all that this account "
                "can, including our keys: fit for one user only");
    log_warning(NULL, "**********************************************************************");
}

/* A sandbox shows all of /usr. */
static bool check_hidden(const char *path, const char *what, struct error *err) {
    if (strncmp(path, "/usr/", 5) == 0) {
        return error_set(err, ERROR_INVALID, "%s `%s` is below /usr, which every instance can read", what, path);
    }
    return true;
}

static bool open_sandbox(struct backend *backend, const struct settings *settings, const char *run_dir,
                         struct error *err) {
    if (settings->local_sandbox == SANDBOX_NONE) {
        warn_about_no_isolation("TERMINALS_LOCAL_SANDBOX=none");
        return true;
    }
    cleanup_free char *data_dir = realpath(settings->data_dir, NULL);
    if (!check_hidden(run_dir, "TERMINALS_RUN_DIR", err) ||
        !check_hidden(data_dir == NULL ? settings->data_dir : data_dir, "TERMINALS_DATA_DIR", err)) {
        return false;
    }
    struct error why;
    backend->sandboxed = bubblewrap_open(&backend->sandbox, run_dir, backend->binary, LOCAL_MARK, &why);
    if (backend->sandboxed) {
        log_info(NULL, "instances run in bubblewrap sandboxes%s",
                 backend->sandbox.user_namespaces_off ? "" : " (which may make user namespaces of their own)");
        return true;
    }
    if (settings->local_sandbox == SANDBOX_BWRAP) {
        return error_set(err, why.code, "TERMINALS_LOCAL_SANDBOX=bwrap, but %s", why.message);
    }
    if (why.code != ERROR_BACKEND) {
        /* A full disk must not cost anybody the walls around them. */
        return error_set(err, why.code, "whether sandboxes work is not known: %s", why.message);
    }
    warn_about_no_isolation(why.message);
    return true;
}

static void on_refresh_timer(evutil_socket_t fd, short what, void *argument) {
    struct backend *backend = argument;
    (void)fd;
    (void)what;
    bubblewrap_refresh(&backend->sandbox);
}

static bool start_refreshing(struct backend *backend, struct error *err) {
    static const struct timeval pause = {.tv_sec = REFRESH_SECONDS};
    if (!backend->sandboxed) {
        return true;
    }
    backend->refresh_timer = event_new(backend->base, -1, EV_PERSIST, on_refresh_timer, backend);
    return (backend->refresh_timer != NULL && event_add(backend->refresh_timer, &pause) == 0) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool open_parts(struct backend *backend, const struct settings *settings, struct error *err) {
    char digest[DIGEST_HEX_SIZE];
    cleanup_free char *run_dir = realpath(settings->run_dir, NULL);
    if (run_dir == NULL) {
        return error_set_errno(err, ERROR_INVALID, "open `%s`", settings->run_dir);
    }
    backend->binary = program_find(settings->local_binary);
    if (backend->binary == NULL) {
        return error_set(err, ERROR_INVALID,
                         "TERMINALS_LOCAL_BINARY `%s` is neither beside our own program nor in PATH",
                         settings->local_binary);
    }
    backend->binary_waits = program_is_ours(backend->binary, "open-terminal");
    if (!process_boot_id(backend->boot_id) || !digest_sha256_hex_lower(run_dir, strlen(run_dir), digest)) {
        return error_set(err, ERROR_INTERNAL, "read the boot id");
    }
    if (asprintf(&backend->warm_dir, "%s/" LOCAL_WARM_FOLDER, settings->data_dir) < 0) {
        backend->warm_dir = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    snprintf(backend->mark_prefix, sizeof backend->mark_prefix, "%.*s:", RUN_FOLDER_CHARS, digest);
    return open_sandbox(backend, settings, run_dir, err);
}

static void on_sweep_timer(evutil_socket_t fd, short what, void *argument);

static void forget_leftovers(struct backend *backend) {
    while (backend->leftovers != NULL) {
        struct local_leftover *leftover = backend->leftovers;
        backend->leftovers = leftover->next;
        free(leftover);
    }
}

static void local_close(struct backend *backend) {
    local_instances_close(backend);
    forget_leftovers(backend);
    if (backend->sweep_timer != NULL) {
        event_free(backend->sweep_timer);
    }
    if (backend->refresh_timer != NULL) {
        event_free(backend->refresh_timer);
    }
    bubblewrap_close(&backend->sandbox);
    free(backend->binary);
    free(backend->warm_dir);
    free(backend);
}

static struct backend *local_open(const struct settings *settings, struct event_base *base,
                                  const struct backend_events *events, struct error *err) {
    struct backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    backend->base = base;
    backend->events = *events;
    backend->ports.first = (uint16_t)settings->local_port_range_start;
    backend->start_timeout_ms = (int)settings->start_timeout_seconds * 1000;
    backend->sweep_timer = evtimer_new(base, on_sweep_timer, backend);
    if (backend->sweep_timer == NULL || !local_instances_open(backend)) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        local_close(backend);
        return NULL;
    }
    if (!open_parts(backend, settings, err) || !start_refreshing(backend, err)) {
        local_close(backend);
        return NULL;
    }
    return backend;
}

/* --- operations --------------------------------------------------------------------------------------------------- */

static void raise_failed(struct backend *backend, const char *id, enum error_code code, const char *message) {
    struct error err;
    error_set(&err, code, "%s", message);
    backend->events.failed(backend->events.owner, id, &err);
}

/* A new entry for `spec`, or NULL after raising `failed`. */
static struct local_instance *add_instance(struct backend *backend, const struct instance_spec *spec) {
    struct local_instance *instance = NULL;
    if (strlen(spec->instance_id) < LOCAL_INSTANCE_ID_SIZE) {
        instance = local_instance_new(backend, spec->instance_id);
    }
    if (instance != NULL && !local_instance_set_spec(instance, spec)) {
        local_instance_free(instance);
        instance = NULL;
    }
    if (instance == NULL) {
        raise_failed(backend, spec->instance_id, ERROR_INTERNAL, "out of memory");
    }
    return instance;
}

/* Of a policy this backend honours the environment; the rest would need containers. Said once, so that nobody relies on
 * a limit that is none. */
static void say_what_is_ignored(struct backend *backend, const struct policy *policy) {
    const char *ignored = NULL;
    if (policy == NULL || backend->has_said_what_it_ignores) {
        return;
    }
    if (policy->image != NULL) {
        ignored = "image";
    } else if (policy->cpu_millicores != POLICY_UNSET) {
        ignored = "cpu_limit";
    } else if (policy->memory_bytes != POLICY_UNSET) {
        ignored = "memory_limit";
    } else if (policy->storage_bytes != POLICY_UNSET) {
        ignored = "storage";
    } else if (policy->container_security_context != NULL) {
        ignored = "container_security_context";
    }
    if (policy->env != NULL && ignored == NULL) {
        json_object_object_foreach(policy->env, variable, value) {
            (void)value;
            ignored = local_command_may_set(variable) ? ignored : variable;
        }
    }
    if (ignored != NULL) {
        backend->has_said_what_it_ignores = true;
        log_warning(
            NULL,
            "policy `%s` says `%s`: the backend `local` has neither images nor limits nor security contexts, lets "
            "no policy set variables that it or the dynamic loader relies on, and ignores them all",
            policy->id, ignored);
    }
}

static void local_start(struct backend *backend, const struct instance_spec *spec) {
    say_what_is_ignored(backend, spec->policy);
    struct local_instance *instance = find_instance(backend, spec->instance_id);
    if (instance == NULL) {
        instance = add_instance(backend, spec);
        if (instance != NULL) {
            local_instance_launch(instance);
        }
    } else if (instance->state == LOCAL_ENDING && local_instance_set_spec(instance, spec)) {
        instance->tries = 0;
        instance->outcome = OUTCOME_START; /* as soon as nothing of the last one is left */
    } else {
        raise_failed(backend, spec->instance_id, ERROR_CONFLICT, "it runs already");
    }
}

static void note_leftover(void *argument, pid_t pid, const char *value) {
    struct backend *backend = argument;
    (void)pid;
    struct local_leftover *leftover = malloc(sizeof *leftover);
    if (leftover != NULL && strlen(value) < sizeof leftover->mark) {
        snprintf(leftover->mark, sizeof leftover->mark, "%s", value);
        leftover->next = backend->leftovers;
        backend->leftovers = steal_pointer(&leftover);
    }
    free(leftover);
}

/* Whether a process of this instance ran when we started, as far as we can see. /proc is read once for all instances.
 */
static bool had_processes(struct backend *backend, const struct local_instance *instance) {
    char mark[LOCAL_MARK_SIZE];
    if (!backend->leftovers_known) {
        forget_leftovers(backend);
        backend->leftovers_known = process_for_each_marked(LOCAL_MARK, backend->mark_prefix, note_leftover, backend);
    }
    if (!backend->leftovers_known) {
        return true;
    }
    local_instance_mark(instance, mark);
    for (const struct local_leftover *leftover = backend->leftovers; leftover != NULL; leftover = leftover->next) {
        if (strcmp(leftover->mark, mark) == 0) {
            return true;
        }
    }
    return false;
}

static void local_adopt(struct backend *backend, const struct instance_spec *spec, const char *reference_text) {
    struct local_reference reference = {0};
    struct error err;
    if (find_instance(backend, spec->instance_id) != NULL) {
        raise_failed(backend, spec->instance_id, ERROR_CONFLICT, "it is known already");
        return;
    }
    struct local_instance *instance = add_instance(backend, spec);
    if (instance == NULL) {
        return;
    }
    if (reference_text != NULL && local_reference_parse(reference_text, &reference) &&
        !local_reference_is_gone(&reference, backend->boot_id)) {
        local_instance_adopt(instance, &reference);
        return;
    }
    instance->has_leftovers = had_processes(backend, instance);
    error_set(&err, ERROR_BACKEND, "its process is gone");
    local_instance_fail(instance, &err);
}

static void local_stop(struct backend *backend, const char *instance_id) {
    struct local_instance *instance = find_instance(backend, instance_id);
    if (instance == NULL) {
        backend->events.stopped(backend->events.owner, instance_id);
    } else {
        local_instance_stop(instance);
    }
}

static void local_check(struct backend *backend, const char *instance_id, void (*checked)(void *argument, bool alive),
                        void *argument) {
    struct local_instance *instance = find_instance(backend, instance_id);
    if (instance == NULL || instance->state != LOCAL_READY) {
        checked(argument, false);
    } else {
        liveness_check(&instance->liveness, checked, argument);
    }
}

static void local_hand_over(struct backend *backend, const struct instance_spec *spec,
                            void (*done)(void *argument, const struct error *err), void *argument) {
    struct local_instance *instance = find_instance(backend, spec->instance_id);
    struct error err;
    if (instance == NULL || instance->state != LOCAL_READY || instance->handover != NULL) {
        error_set(&err, ERROR_BACKEND, "the instance does not run");
        done(argument, &err);
        return;
    }
    local_instance_hand_over(instance, spec, done, argument);
}

static void local_openapi(struct backend *backend, void (*done)(void *argument, const char *document), void *argument) {
    (void)backend;
    done(argument, NULL); /* whatever an instance says may come from its user */
}

/* --- sweep -------------------------------------------------------------------------------------------------------- */

struct sweep {
    struct backend *backend;
    int found;
};

/* Whether a marked process belongs to an instance we know. Of a sandboxed one only bwrap and its init carry the mark.
 */
static bool is_owned(struct backend *backend, pid_t pid, const char *mark) {
    const struct local_instance *instance = find_instance(backend, mark + strlen(backend->mark_prefix));
    if (instance == NULL) {
        return false;
    }
    if (instance->state == LOCAL_ENDING || !instance->reference.sandboxed || instance->init.event == NULL) {
        return true;
    }
    return pid == instance->process.pid || pid == instance->init.pid;
}

static void sweep_process(void *argument, pid_t pid, const char *value) {
    struct sweep *sweep = argument;
    if (!is_owned(sweep->backend, pid, value)) {
        sweep->found++;
        log_info(NULL, "ending process %d of an instance that nobody owns", (int)pid);
        process_kill_marked(pid, LOCAL_MARK, value);
    }
}

/* Until nothing is found any more: what is killed takes a moment to go, and may have forked. */
static void on_sweep_timer(evutil_socket_t fd, short what, void *argument) {
    struct backend *backend = argument;
    struct sweep sweep = {.backend = backend};
    const struct timeval pause = {0, SWEEP_PAUSE_MS * 1000};
    const struct timeval blind = {SWEEP_BLIND_MS / 1000, SWEEP_BLIND_MS % 1000 * 1000};
    (void)fd;
    (void)what;
    if (!process_for_each_marked(LOCAL_MARK, backend->mark_prefix, sweep_process, &sweep)) {
        log_warning(NULL, "processes of instances that nobody owns are not seen: %s", strerrordesc_np(errno));
        evtimer_add(backend->sweep_timer, &blind);
    } else if (sweep.found > 0 && ++backend->sweeps < SWEEPS_MAX) {
        evtimer_add(backend->sweep_timer, &pause);
    } else if (sweep.found > 0) {
        log_error(NULL, "%d processes of instances that nobody owns cannot be ended", sweep.found);
    }
}

static void local_sweep(struct backend *backend) {
    forget_leftovers(backend);
    local_warm_homes_tidy(backend);
    backend->sweeps = 0;
    on_sweep_timer(-1, 0, backend);
}

/* --- objects ------------------------------------------------------------------------------------------------------ */

struct listing {
    struct backend *backend;
    void (*each)(void *argument, const struct backend_object *object);
    void *argument;
};

/* The handle of a process is its pid and its mark, which is its own for good. */
static void list_process(void *argument, pid_t pid, const char *value) {
    const struct listing *listing = argument;
    char handle[LOCAL_MARK_SIZE + 16];
    char name[16];
    snprintf(handle, sizeof handle, "%d %s", (int)pid, value);
    snprintf(name, sizeof name, "%d", (int)pid);
    const struct backend_object object = {.kind = "process",
                                          .name = name,
                                          .handle = handle,
                                          .instance_id = value + strlen(listing->backend->mark_prefix)};
    listing->each(listing->argument, &object);
}

static void local_list_objects(struct backend *backend,
                               void (*each)(void *argument, const struct backend_object *object),
                               void (*done)(void *argument, const struct error *err), void *argument) {
    struct listing listing = {backend, each, argument};
    struct error err;
    bool ok = process_for_each_marked(LOCAL_MARK, backend->mark_prefix, list_process, &listing) ||
              error_set_errno(&err, ERROR_INTERNAL, "read /proc");
    done(argument, ok ? NULL : &err);
}

static void local_remove_object(struct backend *backend, const char *kind, const char *handle,
                                void (*done)(void *argument, const struct error *err), void *argument) {
    (void)backend;
    (void)kind;
    char *mark = NULL;
    pid_t pid = (pid_t)strtol(handle, &mark, 10);
    if (pid > 0 && *mark == ' ') {
        process_kill_marked(pid, LOCAL_MARK, mark + 1);
    }
    done(argument, NULL);
}

const struct backend_operations backend_local = {
    .name = "local",
    .open = local_open,
    .close = local_close,
    .start = local_start,
    .adopt = local_adopt,
    .stop = local_stop,
    .check = local_check,
    .sweep = local_sweep,
    .openapi = local_openapi,
    .hand_over = local_hand_over,
    .list_objects = local_list_objects,
    .remove_object = local_remove_object,
    .is_bound_to_node = true,
};
