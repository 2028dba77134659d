#include "cli/folders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"

static bool make_one(const char *path, struct error *err) {
    struct stat status;
    if (mkdir(path, 0700) == 0) {
        return true;
    }
    if (errno == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        return true;
    }
    if (errno == EEXIST) {
        errno = ENOTDIR;
    }
    return error_set_errno(err, ERROR_INVALID, "make the folder `%s`", path);
}

bool folders_make(const char *path, struct error *err) {
    cleanup_free char *copy = strdup(path);
    if (copy == NULL) {
        return error_set(err, ERROR_INTERNAL, "no memory");
    }
    for (char *slash = strchr(copy + 1, '/'); copy[0] != '\0' && slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (!make_one(copy, err)) {
            return false;
        }
        *slash = '/';
    }
    return make_one(path, err);
}

bool folders_make_parent(const char *file, struct error *err) {
    const char *slash = strrchr(file, '/');
    if (slash == NULL || slash == file) {
        return true;
    }
    cleanup_free char *parent = strndup(file, (size_t)(slash - file));
    if (parent == NULL) {
        return error_set(err, ERROR_INTERNAL, "no memory");
    }
    return folders_make(parent, err);
}

char *folders_path(const char *folder, const char *name, struct error *err) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return path;
}
