#include "provisioner/backends/local_warm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "provisioner/backends/home_mount.h"

#define NEXT_SUFFIX ".next" /* the link, before it takes the folder's place */

struct local_handover {
    struct home_mount *mount;
    char *home; /* the user's */
    void (*done)(void *argument, const struct error *err);
    void *argument;
};

/* --- homes without a sandbox ----------------------------------------------------------------------------------------
 */

/* `<data dir>/.warm/<id><suffix>`. NULL: no memory. */
static char *warm_path(const struct backend *backend, const char *id, const char *suffix) {
    char *path = NULL;
    return asprintf(&path, "%s/%s%s", backend->warm_dir, id, suffix) < 0 ? NULL : path;
}

char *local_warm_home_make(struct backend *backend, const char *instance_id, struct error *err) {
    cleanup_free char *path = warm_path(backend, instance_id, "");
    if (path == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    if ((mkdir(backend->warm_dir, 0700) != 0 && errno != EEXIST) || (mkdir(path, 0700) != 0 && errno != EEXIST)) {
        error_set_errno(err, ERROR_BACKEND, "make `%s`", path);
        return NULL;
    }
    char *real = realpath(path, NULL);
    if (real == NULL) {
        error_set_errno(err, ERROR_BACKEND, "find `%s`", path);
    }
    return real;
}

static void remove_one(const char *path) {
    if (unlink(path) != 0 && errno != ENOENT && rmdir(path) != 0) {
        log_warning(NULL, "remove `%s`: %s", path, strerror(errno));
    }
}

void local_warm_home_remove(struct backend *backend, const char *instance_id) {
    static const char *const suffixes[] = {"", NEXT_SUFFIX};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        cleanup_free char *path = warm_path(backend, instance_id, suffixes[i]);
        if (path != NULL) {
            remove_one(path);
        }
    }
}

void local_warm_homes_tidy(struct backend *backend) {
    DIR *entries = opendir(backend->warm_dir);
    if (entries == NULL) {
        return;
    }
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        char id[LOCAL_INSTANCE_ID_SIZE];
        struct local_instance *instance = NULL;
        snprintf(id, sizeof id, "%.*s", (int)strcspn(entry->d_name, "."), entry->d_name);
        HASH_FIND_STR(backend->instances, id, instance);
        if (id[0] != '\0' && instance == NULL) {
            local_warm_home_remove(backend, id);
        }
    }
    closedir(entries);
}

/* The folder's place is taken by a link to the user's, in one step. */
static bool link_home(struct local_instance *instance, const char *home, struct error *err) {
    cleanup_free char *path = warm_path(instance->backend, instance->id, "");
    cleanup_free char *next = warm_path(instance->backend, instance->id, NEXT_SUFFIX);
    if (path == NULL || next == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (symlink(home, next) != 0 || renameat2(AT_FDCWD, next, AT_FDCWD, path, RENAME_EXCHANGE) != 0) {
        return error_set_errno(err, ERROR_BACKEND, "make `%s` a link to the home folder", path);
    }
    remove_one(next);
    return true;
}

/* --- handing over ---------------------------------------------------------------------------------------------------
 */

static void handover_free(struct local_handover *handover) {
    home_mount_cancel(handover->mount);
    free(handover->home);
    free(handover);
}

void local_warm_cancel(struct local_instance *instance) {
    struct local_handover *handover = instance->handover;
    instance->handover = NULL;
    if (handover != NULL) {
        handover_free(handover);
    }
}

/* As the last thing: the owner may stop the instance there and then. */
static void finish(struct local_instance *instance, const struct error *err) {
    struct local_handover *handover = instance->handover;
    void (*done)(void *, const struct error *) = handover->done;
    void *argument = handover->argument;
    instance->handover = NULL;
    if (err == NULL && instance->backend->sandboxed) {
        free(instance->home);
        instance->home = steal_pointer(&handover->home);
    }
    handover_free(handover);
    done(argument, err);
}

void local_warm_fail(struct local_instance *instance) {
    if (instance->handover != NULL) {
        struct error err;
        error_set(&err, ERROR_BACKEND, "the instance ended while it was handed over");
        finish(instance, &err);
    }
}

static void on_mounted(void *argument, const struct error *err) {
    struct local_instance *instance = argument;
    instance->handover->mount = NULL;
    finish(instance, err);
}

void local_instance_hand_over(struct local_instance *instance, const struct instance_spec *spec,
                              void (*done)(void *argument, const struct error *err), void *argument) {
    struct error err;
    struct local_handover *handover = calloc(1, sizeof *handover);
    if (handover != NULL) {
        *handover = (struct local_handover){.home = strdup(spec->home), .done = done, .argument = argument};
    }
    if (handover == NULL || handover->home == NULL) {
        free(handover);
        error_set(&err, ERROR_INTERNAL, "out of memory");
        done(argument, &err);
        return;
    }
    instance->handover = handover;
    if (!instance->reference.sandboxed) {
        bool is_linked = link_home(instance, spec->home, &err);
        finish(instance, is_linked ? NULL : &err);
        return;
    }
    const struct home_mount_request request = {.pid = instance->init.pid,
                                               .pidfd = instance->init.pidfd,
                                               .source = spec->home,
                                               .target = BUBBLEWRAP_HOME,
                                               .is_restricted = true};
    handover->mount = home_mount_start(instance->backend->base, &request, on_mounted, instance, &err);
    if (handover->mount == NULL) {
        finish(instance, &err);
    }
}
