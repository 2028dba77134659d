#include "cli/executables.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

#define SYSTEM_FOLDERS "/usr/local/sbin:/usr/sbin:/sbin" /* where PATH of a user often does not lead */

/* Relative to the folder of this program: build/<name>/bin, /usr/bin or /usr/local/bin, /usr/libexec/terminals. */
static const char *const config_places[] = {
    "../../../haproxy/haproxy.cfg",
    "../share/terminals/haproxy.cfg",
    "../../share/terminals/haproxy.cfg",
};

static char *own_folder(struct error *err) {
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0) {
        error_set_errno(err, ERROR_INTERNAL, "read /proc/self/exe");
        return NULL;
    }
    path[length] = '\0';
    *strrchr(path, '/') = '\0'; /* what the kernel gives is absolute */
    char *folder = strdup(path);
    if (folder == NULL) {
        error_set(err, ERROR_INTERNAL, "no memory");
    }
    return folder;
}

/* `folders` as in PATH. NULL: not there, or no memory. */
static char *find_in(const char *folders, const char *name) {
    while (folders != NULL && *folders != '\0') {
        size_t length = strcspn(folders, ":");
        cleanup_free char *path = NULL;
        if (length > 0 && asprintf(&path, "%.*s/%s", (int)length, folders, name) < 0) {
            path = NULL;
            return NULL;
        }
        if (path != NULL && path[0] == '/' && access(path, X_OK) == 0) {
            return steal_pointer(&path);
        }
        folders += length;
        folders += *folders == ':';
    }
    return NULL;
}

static bool find_ours(struct executables *executables, const char *folder, struct error *err) {
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        if (i == PROGRAM_HAPROXY) {
            continue;
        }
        if (asprintf(&executables->programs[i], "%s/%s", folder, programs[i].name) < 0) {
            executables->programs[i] = NULL;
            return error_set(err, ERROR_INTERNAL, "no memory");
        }
        if (access(executables->programs[i], X_OK) != 0) {
            return error_set_errno(err, ERROR_NOT_FOUND, "run `%s` (build it with `make`)", executables->programs[i]);
        }
    }
    return true;
}

static bool find_haproxy(struct executables *executables, struct error *err) {
    char *path = find_in(getenv("PATH"), "haproxy");
    executables->programs[PROGRAM_HAPROXY] = path != NULL ? path : find_in(SYSTEM_FOLDERS, "haproxy");
    return executables->programs[PROGRAM_HAPROXY] != NULL ||
           error_set(err, ERROR_NOT_FOUND,
                     "no `haproxy` on the PATH or in /usr/sbin: install it with "
                     "`scripts/install-deps run`");
}

static bool find_config(struct executables *executables, const char *folder, struct error *err) {
    for (size_t i = 0; i < sizeof config_places / sizeof config_places[0]; i++) {
        cleanup_free char *path = NULL;
        if (asprintf(&path, "%s/%s", folder, config_places[i]) < 0) {
            path = NULL;
            return error_set(err, ERROR_INTERNAL, "no memory");
        }
        executables->haproxy_config = realpath(path, NULL);
        if (executables->haproxy_config != NULL) {
            return true;
        }
    }
    return error_set(err, ERROR_NOT_FOUND, "no `haproxy.cfg` in `%s/%s` or `%s/%s`", folder, config_places[0], folder,
                     config_places[1]);
}

bool executables_find(struct executables *executables, struct error *err) {
    *executables = (struct executables){0};
    cleanup_free char *folder = own_folder(err);
    bool found = folder != NULL && find_ours(executables, folder, err) && find_haproxy(executables, err) &&
                 find_config(executables, folder, err);
    if (!found) {
        executables_free(executables);
    }
    return found;
}

void executables_free(struct executables *executables) {
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        free(executables->programs[i]);
    }
    free(executables->haproxy_config);
    *executables = (struct executables){0};
}
