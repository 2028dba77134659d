#include "provisioner/backends/docker_warm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/docker_settings.h"
#include "common/log.h"
#include "common/secret.h"
#include "provisioner/backends/docker_home.h"
#include "provisioner/backends/home_mount.h"
#include "provisioner/backends/process.h"

#define KEY_NAME        "OPEN_TERMINAL_API_KEY"
#define STATUS_MAX_SIZE 4096

struct docker_handover {
    struct home_mount *mount;
    void (*done)(void *argument, const struct error *err);
    void *argument;
};

/* Whether the process of that number is this container's first one: it was started with its key. */
static bool is_its_process(const struct docker_instance *instance) {
    char key[sizeof instance->address.key];
    bool is_it = instance->pid > 0 && process_environment(instance->pid, KEY_NAME, key, sizeof key) &&
                 secret_equals(key, instance->spec.key);
    explicit_bzero(key, sizeof key);
    return is_it;
}

bool docker_warm_may_be_ready(const struct docker_instance *instance, struct error *err) {
    if (instance->spec.home != NULL) {
        return true;
    }
    if (!home_mount_is_possible(instance->backend->settings->data_dir)) {
        return error_set(err, ERROR_CONFLICT,
                         "warm containers need a provisioner that may mount (CAP_SYS_ADMIN, Linux 5.12), and this one "
                         "may not");
    }
    return is_its_process(instance) ||
           error_set(err, ERROR_CONFLICT,
                     "warm containers need a provisioner that sees their processes, as root on the engine's machine "
                     "does");
}

/* As whom a process runs (proc(5), `Uid:` of /proc/pid/status; the second is the effective one). */
static bool read_owner(pid_t pid, uid_t *uid, gid_t *gid) {
    char path[64];
    char text[STATUS_MAX_SIZE];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[length > 0 ? length : 0] = '\0';
    const char *uids = strstr(text, "\nUid:");
    const char *gids = strstr(text, "\nGid:");
    return uids != NULL && gids != NULL && sscanf(uids, "\nUid: %*u %u", uid) == 1 &&
           sscanf(gids, "\nGid: %*u %u", gid) == 1;
}

void docker_warm_cancel(struct docker_instance *instance) {
    struct docker_handover *handover = instance->handover;
    instance->handover = NULL;
    docker_call_cancel(instance->rename);
    instance->rename = NULL;
    if (handover != NULL) {
        home_mount_cancel(handover->mount);
        free(handover);
    }
}

/* As the last thing: the owner may stop the instance there and then. */
static void finish(struct docker_instance *instance, const struct error *err) {
    struct docker_handover *handover = instance->handover;
    void (*done)(void *, const struct error *) = handover->done;
    void *argument = handover->argument;
    instance->handover = NULL;
    home_mount_cancel(handover->mount);
    free(handover);
    done(argument, err);
}

void docker_warm_fail(struct docker_instance *instance) {
    if (instance->handover != NULL) {
        struct error err;
        error_set(&err, ERROR_BACKEND, "the container ended while it was handed over");
        finish(instance, &err);
    }
}

static void on_renamed(void *argument, const struct docker_answer *answer) {
    struct docker_instance *instance = argument;
    struct error err;
    instance->rename = NULL;
    if (answer->status != 204) {
        docker_answer_error(answer, &err, "rename the container of `%s`", docker_instance_container(instance));
        log_warning(NULL, "%s", err.message);
    }
}

/* For people who look at the engine, and nobody waits for it: we know it by its id. */
static void rename_container(struct docker_instance *instance) {
    char path[DOCKER_ID_SIZE + NAME_FOLDER_SIZE + 32];
    snprintf(path, sizeof path, "/containers/%s/rename?name=%s", instance->container_id,
             docker_instance_container(instance));
    const struct docker_request request = {.method = "POST", .path = path, .timeout_ms = DOCKER_CALL_TIMEOUT_MS};
    instance->rename = docker_call_start(instance->backend->engine, &request, on_renamed, instance);
}

static void on_mounted(void *argument, const struct error *err) {
    struct docker_instance *instance = argument;
    instance->handover->mount = NULL;
    if (err == NULL) {
        rename_container(instance);
    }
    finish(instance, err);
}

static bool begin(struct docker_instance *instance, struct docker_handover *handover, struct error *err) {
    uid_t uid = 0;
    gid_t gid = 0;
    bool opened = false;
    cleanup_close int pidfd = instance->pid > 0 ? pidfd_open(instance->pid, 0) : -1;
    /* With the pidfd in hand: the number is not another's from here on. */
    if (pidfd < 0 || !is_its_process(instance) || !read_owner(instance->pid, &uid, &gid)) {
        return error_set(err, ERROR_BACKEND, "the container's process is not to be found");
    }
    if (!docker_home_give(instance->spec.home, uid, gid, &opened, err)) {
        return false;
    }
    const struct home_mount_request request = {
        .pid = instance->pid, .pidfd = pidfd, .source = instance->spec.home, .target = DOCKER_HOME};
    handover->mount = home_mount_start(instance->backend->base, &request, on_mounted, instance, err);
    return handover->mount != NULL;
}

void docker_instance_hand_over(struct docker_instance *instance, const struct instance_spec *spec,
                               void (*done)(void *argument, const struct error *err), void *argument) {
    struct error err = {.code = ERROR_INTERNAL, .message = "out of memory"};
    struct docker_handover *handover = calloc(1, sizeof *handover);
    if (handover == NULL || !docker_instance_set_spec(instance, spec)) {
        free(handover);
        done(argument, &err);
        return;
    }
    *handover = (struct docker_handover){.done = done, .argument = argument};
    instance->handover = handover;
    if (!begin(instance, handover, &err)) {
        finish(instance, &err);
    }
}
