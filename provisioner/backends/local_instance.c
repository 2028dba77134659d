#include "provisioner/backends/local_instance.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/text.h"
#include "provisioner/backends/local_command.h"
#include "provisioner/backends/local_warm.h"
#include "provisioner/backends/spawn.h"
#include "provisioner/health_probe.h"

#define LOOPBACK            "127.0.0.1"
#define STOP_GRACE_MS       3000
#define ADOPT_TIMEOUT_MS    10000
#define CHECK_TIMEOUT_MS    2000
#define LEFTOVER_PAUSE_MS   5    /* between two looks for processes that still carry the mark */
#define SANDBOX_END_WAIT_MS 200  /* bwrap ends right after its init; if not, it is helped */
#define TRIES_MAX           5    /* ports tried for one start */
#define OUTPUT_MAX_BYTES    4096 /* kept of what an instance writes to standard error */
#define CHILDREN_MAX        16

static void begin_ending(struct local_instance *instance, enum local_outcome outcome);
static void on_timer(evutil_socket_t fd, short what, void *argument);

static void set_timer(struct local_instance *instance, int after_ms) {
    const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000};
    if (evtimer_add(instance->timer, &after) != 0) {
        log_error(NULL, "instance %s: no timer: out of memory", instance->id);
    }
}

static void close_channels(struct local_instance *instance) {
    if (instance->output_fd >= 0) {
        close(steal_fd(&instance->output_fd));
    }
    if (instance->info_fd >= 0) {
        close(steal_fd(&instance->info_fd));
    }
}

void local_instance_mark(const struct local_instance *instance, char out[LOCAL_MARK_SIZE]) {
    snprintf(out, LOCAL_MARK_SIZE, "%s%s", instance->backend->mark_prefix, instance->id);
}

struct local_instance *local_instance_new(struct backend *backend, const char *id) {
    struct local_instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        return NULL;
    }
    instance->backend = backend;
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

static void forget_process(struct local_instance *instance) {
    local_warm_cancel(instance);
    process_watch_stop(&instance->process);
    process_watch_stop(&instance->init);
    close_channels(instance);
    if (instance->reference.port != 0) {
        local_ports_mark(&instance->backend->ports, instance->reference.port, false);
    }
    memset(&instance->reference, 0, sizeof instance->reference);
    instance->has_leftovers = false;
}

void local_instance_free(struct local_instance *instance) {
    HASH_DEL(instance->backend->instances, instance);
    health_probe_cancel(instance->probe);
    forget_process(instance);
    waiting_checks_drop(&instance->checks);
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
        forget_process(instance);
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

struct leftover_hunt {
    const char *mark;
    int found;
};

static void kill_leftover(void *argument, pid_t pid, const char *value) {
    struct leftover_hunt *hunt = argument;
    if (strcmp(value, hunt->mark) == 0) {
        hunt->found++;
        process_kill_marked(pid, LOCAL_MARK, value);
    }
}

static void continue_ending(struct local_instance *instance) {
    if (process_watch_is_running(&instance->process) || process_watch_is_running(&instance->init)) {
        return; /* their ends come back here */
    }
    if (instance->has_leftovers) {
        char mark[LOCAL_MARK_SIZE];
        local_instance_mark(instance, mark);
        struct leftover_hunt hunt = {.mark = mark};
        process_for_each_marked(LOCAL_MARK, mark, kill_leftover, &hunt);
        if (hunt.found > 0) {
            set_timer(instance, LEFTOVER_PAUSE_MS); /* they may have forked meanwhile: until none is found */
            return;
        }
    }
    finish(instance);
}

static void on_process_end(void *argument);

/* Watches the sandbox's init, once its pid is known. */
static bool watch_init(struct local_instance *instance, pid_t pid) {
    char mark[LOCAL_MARK_SIZE];
    char value[LOCAL_MARK_SIZE];
    local_instance_mark(instance, mark);
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        return false;
    }
    /* Only now is it sure that the pid is not reused between the look and the watch. */
    if (!process_environment(pid, LOCAL_MARK, value, sizeof value) || strcmp(value, mark) != 0) {
        close(pidfd);
        return false;
    }
    struct error err;
    if (!process_watch_start(&instance->init, instance->backend->base, pid, pidfd, on_process_end, instance, &err)) {
        log_error(NULL, "instance %s: %s", instance->id, err.message);
        return false;
    }
    instance->has_leftovers = false; /* whatever runs inside ends with the init */
    return true;
}

/* Learns the init's pid from what bwrap wrote before it let the init run. */
static void find_init(struct local_instance *instance) {
    char text[512];
    if (instance->init.event != NULL || instance->info_fd < 0) {
        return;
    }
    ssize_t length = read(instance->info_fd, text, sizeof text - 1);
    if (length > 0) {
        text[length] = '\0';
        int pid = bubblewrap_parse_info(text);
        if (pid > 0 && watch_init(instance, pid)) {
            close(steal_fd(&instance->info_fd));
        }
    }
}

static void begin_ending(struct local_instance *instance, enum local_outcome outcome) {
    instance->state = LOCAL_ENDING;
    instance->outcome = outcome;
    local_warm_fail(instance);
    health_probe_cancel(instance->probe);
    instance->probe = NULL;
    evtimer_del(instance->timer);
    find_init(instance);
    process_watch_signal(&instance->init, SIGKILL);
    process_watch_signal(&instance->process, SIGKILL);
    waiting_checks_answer(&instance->checks, false);
    continue_ending(instance);
}

/* A ready instance is no more: that is told at once, before what is left of it is cleared away. */
static void end_ready_instance(struct local_instance *instance, const char *reason) {
    const struct backend_events *events = &instance->backend->events;
    instance->state = LOCAL_ENDING;
    instance->outcome = OUTCOME_SAID;
    events->gone(events->owner, instance->id, reason);
    begin_ending(instance, instance->outcome); /* perhaps it was asked to start or stop meanwhile */
}

/* "exit status 1: bwrap: no such file", from what the process left behind. */
static void describe_end(const struct local_instance *instance, char *out, size_t size) {
    char said[OUTPUT_MAX_BYTES + 1] = "";
    if (instance->output_fd >= 0) {
        ssize_t length = pread(instance->output_fd, said, sizeof said - 1, 0);
        said[length > 0 ? length : 0] = '\0'; /* the file is zeros after what was written */
    }
    said[strcspn(said, "\n")] = '\0';
    text_make_line(said);
    const char *end = instance->process.end_text;
    snprintf(out, size, "it ended (%s)%s%.200s", end[0] != '\0' ? end : "nobody knows how", said[0] != '\0' ? ": " : "",
             said);
    text_make_utf8(out); /* it may have been cut in the middle of a character */
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
    describe_end(instance, description, sizeof description);
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
        describe_end(instance, reason, sizeof reason);
        end_ready_instance(instance, reason);
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

/* --- the beginning ------------------------------------------------------------------------------------------------ */

static void on_probed(void *argument, const struct error *err);

static bool start_probe(struct local_instance *instance, int timeout_ms, const char *key, struct error *err) {
    instance->probe = health_probe_start(instance->backend->base, LOOPBACK, instance->reference.port, key, timeout_ms,
                                         on_probed, instance);
    return instance->probe != NULL || error_set(err, ERROR_INTERNAL, "out of memory or descriptors");
}

static void become_ready(struct local_instance *instance) {
    const struct backend_events *events = &instance->backend->events;
    struct instance_address address = {.port = instance->reference.port};
    snprintf(address.host, sizeof address.host, "%s", LOOPBACK);
    snprintf(address.key, sizeof address.key, "%s", instance->key);
    instance->state = LOCAL_READY;
    instance->tries = 0;
    close_channels(instance);
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
    find_init(instance);
    if (instance->reference.sandboxed && instance->init.event == NULL) {
        error_set(&err, ERROR_BACKEND, "bwrap did not tell the sandbox's init");
        local_instance_fail(instance, &err);
        return;
    }
    become_ready(instance);
}

static void on_probed(void *argument, const struct error *err) {
    struct local_instance *instance = argument;
    instance->probe = NULL;
    if (instance->state == LOCAL_READY) {
        if (err == NULL) {
            waiting_checks_answer(&instance->checks, true);
        } else {
            end_ready_instance(instance, "it runs but does not answer");
        }
    } else if (err == NULL) {
        accept_answer(instance);
    } else {
        local_instance_fail(instance, err);
    }
}

/* Where an instance may write before it is ready: one page of memory that cannot grow, whatever it does. Inheriting our
 * standard error would let a tenant write to our log, or to the terminal we were started from. */
static int open_output(void) {
    int fd = memfd_create("instance-output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && (ftruncate(fd, OUTPUT_MAX_BYTES) != 0 ||
                    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Forks the held process and starts watching it; on failure nothing runs. */
static bool spawn(struct local_instance *instance, int info_write_fd, struct spawned *spawned, struct error *err) {
    struct backend *backend = instance->backend;
    char mark[LOCAL_MARK_SIZE];
    local_instance_mark(instance, mark);
    cleanup_string_list struct string_list arguments = {0};
    cleanup_string_list struct string_list environment = {0};
    const struct local_command command = {
        .sandbox = backend->sandboxed ? &backend->sandbox : NULL,
        .binary = backend->binary,
        .home = instance->home,
        .key = instance->key,
        .env = instance->env,
        .mark = mark,
        .port = instance->reference.port,
        .info_fd = info_write_fd < 0 ? -1 : SPAWN_INFO_FD,
    };
    local_command_build(&command, &arguments, &environment);
    if (arguments.failed || environment.failed) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    const struct spawn_request request = {.arguments = arguments.strings,
                                          .environment = environment.strings,
                                          .folder = instance->home == NULL ? "/" : instance->home,
                                          .output_fd = instance->output_fd,
                                          .info_fd = info_write_fd};
    if (!spawn_held(&request, spawned, err)) {
        return false;
    }
    if (!process_watch_start(&instance->process, backend->base, spawned->pid, spawned->pidfd, on_process_end, instance,
                             err)) {
        spawn_abandon(spawned);
        waitpid(spawned->pid, NULL, 0); /* it exits at once */
        return false;
    }
    return true;
}

static bool open_channels(struct local_instance *instance, int *info_write_fd, struct error *err) {
    int ends[2];
    instance->output_fd = open_output();
    if (instance->output_fd < 0) {
        return error_set_errno(err, ERROR_BACKEND, "make a memory file");
    }
    if (instance->backend->sandboxed) {
        if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
            return error_set_errno(err, ERROR_BACKEND, "make a pipe");
        }
        instance->info_fd = ends[0];
        *info_write_fd = ends[1];
    }
    return true;
}

static bool launch(struct local_instance *instance, struct error *err) {
    struct backend *backend = instance->backend;
    struct local_reference *reference = &instance->reference;
    cleanup_close int info_write_fd = -1;
    struct spawned spawned;
    char text[LOCAL_REFERENCE_SIZE];
    reference->port = local_ports_take(&backend->ports);
    if (reference->port == 0) {
        return error_set(err, ERROR_CAPACITY, "no port is free from %u on", backend->ports.first);
    }
    if (!open_channels(instance, &info_write_fd, err) || !spawn(instance, info_write_fd, &spawned, err)) {
        return false;
    }
    reference->pid = spawned.pid;
    reference->sandboxed = backend->sandboxed;
    memcpy(reference->boot_id, backend->boot_id, sizeof reference->boot_id);
    process_start_time(spawned.pid, &reference->start_time);
    local_reference_format(reference, text);
    if (!backend->events.created(backend->events.owner, instance->id, text, err)) {
        spawn_abandon(&spawned);
        return false;
    }
    instance->has_leftovers = true;
    spawn_release(&spawned);
    return start_probe(instance, backend->start_timeout_ms, NULL, err);
}

void local_instance_launch(struct local_instance *instance) {
    struct error err;
    instance->state = LOCAL_STARTING;
    if (!launch(instance, &err)) {
        local_instance_fail(instance, &err);
    }
}

/* Takes the process that `reference` names into our hands, if it is still that. */
static bool adopt_process(struct local_instance *instance, const struct local_reference *reference) {
    struct error err;
    int pidfd = pidfd_open(reference->pid, 0);
    if (pidfd < 0) {
        return false;
    }
    if (!local_reference_is_alive(reference)) { /* asked with the pidfd in hand: the pid is not reused from here on */
        close(pidfd);
        return false;
    }
    instance->reference = *reference;
    local_ports_mark(&instance->backend->ports, reference->port, true);
    return process_watch_start(&instance->process, instance->backend->base, reference->pid, pidfd, on_process_end,
                               instance, &err);
}

void local_instance_adopt(struct local_instance *instance, const struct local_reference *reference) {
    struct error err;
    pid_t children[CHILDREN_MAX];
    instance->state = LOCAL_ADOPTING;
    instance->has_leftovers = true;
    if (!adopt_process(instance, reference)) {
        error_set(&err, ERROR_BACKEND, "its process is gone");
        local_instance_fail(instance, &err);
        return;
    }
    size_t count = reference->sandboxed ? process_children(reference->pid, children, CHILDREN_MAX) : 0;
    for (size_t i = 0; i < count && instance->init.event == NULL; i++) {
        watch_init(instance, children[i]);
    }
    if (reference->sandboxed && instance->init.event == NULL) {
        error_set(&err, ERROR_BACKEND, "its sandbox is gone");
        local_instance_fail(instance, &err);
    } else if (!start_probe(instance, ADOPT_TIMEOUT_MS, instance->key, &err)) {
        local_instance_fail(instance, &err);
    }
}

/* --- while it runs ------------------------------------------------------------------------------------------------ */

/* SIGTERM to the instance itself: in a sandbox it is the init's first child. The init would ignore it
 * (pid_namespaces(7)), and bwrap would leave what is inside running. */
static bool terminate_politely(struct local_instance *instance) {
    if (!instance->reference.sandboxed) {
        process_watch_signal(&instance->process, SIGTERM);
        return true;
    }
    find_init(instance);
    pid_t child;
    pid_t again;
    if (instance->init.event == NULL || process_children(instance->init.pid, &child, 1) != 1) {
        return false;
    }
    cleanup_close int pidfd = pidfd_open(child, 0);
    return pidfd >= 0 && process_children(instance->init.pid, &again, 1) == 1 && again == child &&
           pidfd_send_signal(pidfd, SIGTERM, NULL, 0) == 0;
}

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
    evtimer_del(instance->timer);
    waiting_checks_answer(&instance->checks, false);
    if (terminate_politely(instance)) {
        set_timer(instance, STOP_GRACE_MS);
    } else {
        begin_ending(instance, OUTCOME_STOPPED);
    }
}

void local_instance_check(struct local_instance *instance, void (*checked)(void *argument, bool alive),
                          void *argument) {
    struct error err;
    bool is_looking = instance->probe != NULL || start_probe(instance, CHECK_TIMEOUT_MS, instance->key, &err);
    if (!is_looking || !waiting_checks_add(&instance->checks, checked, argument)) {
        checked(argument, true); /* we cannot look: no reason to end what was fine a moment ago */
    }
}
