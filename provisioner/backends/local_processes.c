#include "provisioner/backends/local_processes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"
#include "provisioner/backends/local_command.h"
#include "provisioner/backends/spawn.h"

#define OUTPUT_MAX_BYTES 4096 /* kept of what an instance writes to standard error */
#define CHILDREN_MAX     16

/* --- what they tell before the instance is ready ------------------------------------------------------------------ */

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

void local_processes_close_channels(struct local_instance *instance) {
    if (instance->output_fd >= 0) {
        close(steal_fd(&instance->output_fd));
    }
    if (instance->info_fd >= 0) {
        close(steal_fd(&instance->info_fd));
    }
}

void local_processes_describe_end(const struct local_instance *instance, char *out, size_t size) {
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

/* --- the sandbox's init ------------------------------------------------------------------------------------------- */

/* Watches the sandbox's init, once its pid is known: its end is told as that of the process that was forked. False: it
 * is not that, or, with errno, we cannot look. */
static bool watch_init(struct local_instance *instance, pid_t pid) {
    char mark[LOCAL_MARK_SIZE];
    char value[LOCAL_MARK_SIZE];
    local_instance_mark(instance, mark);
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        errno = process_is_our_lack(errno) ? errno : 0;
        return false;
    }
    /* Only now is it sure that the pid is not reused between the look and the watch. */
    if (!process_environment(pid, LOCAL_MARK, value, sizeof value) || strcmp(value, mark) != 0) {
        int problem = errno;
        close(pidfd);
        errno = problem;
        return false;
    }
    struct error err;
    if (!process_watch_start(&instance->init, instance->backend->base, pid, pidfd, instance->process.on_end, instance,
                             &err)) {
        log_error(NULL, "instance %s: %s", instance->id, err.message);
        errno = ENOMEM;
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

bool local_processes_are_held(struct local_instance *instance) {
    find_init(instance);
    return !instance->reference.sandboxed || instance->init.event != NULL;
}

/* --- the beginning ------------------------------------------------------------------------------------------------ */

/* Forks the held process and starts watching it; on failure nothing runs. */
static bool spawn(struct local_instance *instance, int info_write_fd, void (*on_end)(void *argument),
                  struct spawned *spawned, struct error *err) {
    struct backend *backend = instance->backend;
    char mark[LOCAL_MARK_SIZE];
    local_instance_mark(instance, mark);
    cleanup_string_list struct string_list arguments = {0};
    cleanup_string_list struct string_list words = {0};
    cleanup_string_list struct string_list environment = {0};
    const struct local_command command = {
        .sandbox = backend->sandboxed ? &backend->sandbox : NULL,
        .binary = backend->binary,
        .waits = backend->binary_waits,
        .home = instance->home,
        .key = instance->key,
        .env = instance->env,
        .mark = mark,
        .port = instance->reference.port,
        .info_fd = info_write_fd < 0 ? -1 : SPAWN_INFO_FD,
    };
    local_command_build(&command, &arguments, &words, &environment);
    if (arguments.failed || words.failed || environment.failed) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    const struct spawn_request request = {.arguments = arguments.strings,
                                          .words = words.count > 0 ? &words : NULL,
                                          .environment = environment.strings,
                                          .folder = instance->home == NULL ? "/" : instance->home,
                                          .output_fd = instance->output_fd,
                                          .info_fd = info_write_fd};
    if (!spawn_held(&request, spawned, err)) {
        return false;
    }
    if (!process_watch_start(&instance->process, backend->base, spawned->pid, spawned->pidfd, on_end, instance, err)) {
        spawn_abandon(spawned);
        waitpid(spawned->pid, NULL, 0);
        return false;
    }
    return true;
}

bool local_processes_start(struct local_instance *instance, void (*on_end)(void *argument), struct error *err) {
    struct backend *backend = instance->backend;
    struct local_reference *reference = &instance->reference;
    cleanup_close int info_write_fd = -1;
    struct spawned spawned = {0};
    char text[LOCAL_REFERENCE_SIZE];
    reference->port = local_ports_take(&backend->ports);
    if (reference->port == 0) {
        return error_set(err, ERROR_CAPACITY, "no port is free from %u on", backend->ports.first);
    }
    if (!open_channels(instance, &info_write_fd, err) || !spawn(instance, info_write_fd, on_end, &spawned, err)) {
        return false;
    }
    reference->pid = spawned.pid;
    reference->sandboxed = backend->sandboxed;
    memcpy(reference->boot_id, backend->boot_id, sizeof reference->boot_id);
    bool is_seen = process_start_time(spawned.pid, &reference->start_time) ||
                   error_set_errno(err, ERROR_BACKEND, "look at the new process");
    local_reference_format(reference, text);
    if (!is_seen || !backend->events.created(backend->events.owner, instance->id, text, err)) {
        spawn_abandon(&spawned);
        return false;
    }
    instance->has_leftovers = true;
    spawn_release(&spawned);
    return true;
}

static enum local_adoption unseen(struct error *err) {
    error_set_errno(err, ERROR_BACKEND, "look at its processes");
    return ADOPTION_UNSEEN;
}

static enum local_adoption adopt_process(struct local_instance *instance, const struct local_reference *reference,
                                         void (*on_end)(void *argument), struct error *err) {
    int pidfd = pidfd_open(reference->pid, 0);
    if (pidfd < 0 && process_is_our_lack(errno)) {
        return unseen(err);
    }
    /* Asked with the pidfd in hand: the pid is not reused from here on. */
    if (pidfd < 0 || local_reference_is_gone(reference, instance->backend->boot_id)) {
        error_set(err, ERROR_BACKEND, "its process is gone");
        if (pidfd >= 0) {
            close(pidfd);
        }
        return ADOPTION_GONE;
    }
    if (errno != 0) {
        enum local_adoption adoption = unseen(err);
        close(pidfd);
        return adoption;
    }
    instance->reference = *reference;
    local_ports_mark(&instance->backend->ports, reference->port, true);
    return process_watch_start(&instance->process, instance->backend->base, reference->pid, pidfd, on_end, instance,
                               err)
               ? ADOPTION_DONE
               : ADOPTION_UNSEEN;
}

/* The init is among the children of what was forked. */
static enum local_adoption adopt_init(struct local_instance *instance, struct error *err) {
    pid_t children[CHILDREN_MAX];
    errno = 0;
    size_t count = process_children(instance->reference.pid, children, CHILDREN_MAX);
    for (size_t i = 0; i < count; i++) {
        errno = 0;
        if (watch_init(instance, children[i])) {
            return ADOPTION_DONE;
        }
        if (errno != 0) {
            break;
        }
    }
    if (errno != 0) {
        return unseen(err);
    }
    error_set(err, ERROR_BACKEND, "its sandbox is gone");
    return ADOPTION_GONE;
}

enum local_adoption local_processes_adopt(struct local_instance *instance, const struct local_reference *reference,
                                          void (*on_end)(void *argument), struct error *err) {
    enum local_adoption adoption = adopt_process(instance, reference, on_end, err);
    return adoption == ADOPTION_DONE && reference->sandboxed ? adopt_init(instance, err) : adoption;
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

bool local_processes_terminate(struct local_instance *instance) {
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

void local_processes_kill(struct local_instance *instance) {
    find_init(instance);
    process_watch_signal(&instance->init, SIGKILL);
    process_watch_signal(&instance->process, SIGKILL);
}

void local_processes_forget(struct local_instance *instance) {
    process_watch_stop(&instance->process);
    process_watch_stop(&instance->init);
    local_processes_close_channels(instance);
    if (instance->reference.port != 0) {
        local_ports_mark(&instance->backend->ports, instance->reference.port, false);
    }
    memset(&instance->reference, 0, sizeof instance->reference);
    instance->has_leftovers = false;
}
