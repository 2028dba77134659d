#include "provisioner/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/buffer.h"
#include "common/cleanup.h"

bool run_folder_create(const char *path, struct error *err) {
    cleanup_free char *part = strdup(path);
    if (part == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    for (char *slash = part + 1; slash[-1] != '\0'; slash++) {
        if (*slash != '/' && *slash != '\0') {
            continue;
        }
        char end = *slash;
        *slash = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST) {
            return error_set_errno(err, ERROR_INTERNAL, "create folder `%s`", part);
        }
        *slash = end;
        if (end == '\0') {
            break;
        }
    }
    struct stat status;
    if (stat(path, &status) < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "look at `%s`", path);
    }
    return S_ISDIR(status.st_mode) || error_set(err, ERROR_INTERNAL, "`%s` is not a folder", path);
}

int run_folder_lock(const char *path, struct error *err) {
    cleanup_buffer struct buffer file = {0};
    if (!run_folder_create(path, err)) {
        return -1;
    }
    if (!buffer_append_format(&file, "%s/provisioner.lock", path)) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return -1;
    }
    cleanup_close int fd = open(file.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        error_set_errno(err, ERROR_INTERNAL, "open `%s`", file.data);
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK) {
            error_set(err, ERROR_CONFLICT,
                      "another terminals-provisioner works in `%s`: stop it first, or set TERMINALS_RUN_DIR to another "
                      "folder",
                      path);
        } else {
            error_set_errno(err, ERROR_INTERNAL, "lock `%s`", file.data);
        }
        return -1;
    }
    return steal_fd(&fd);
}
