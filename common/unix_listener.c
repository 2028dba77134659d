#include "common/unix_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/folder_owner.h"

#define FIRST_INHERITED_FD 3 /* SD_LISTEN_FDS_START, sd_listen_fds(3) */
#define BACKLOG            1024

static int inherited_count(void) {
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    if (count == NULL || (pid != NULL && strtol(pid, NULL, 10) != getpid())) {
        return 0;
    }
    long number = strtol(count, NULL, 10);
    return number > 0 && number < 64 ? (int)number : 0;
}

/* The inherited descriptor called `name`, or -1. */
static int inherited(const char *name) {
    const char *names = getenv("LISTEN_FDNAMES");
    int count = names == NULL ? 0 : inherited_count();
    for (int i = 0; i < count; i++) {
        size_t length = strcspn(names, ":");
        if (strlen(name) == length && strncmp(names, name, length) == 0) {
            return FIRST_INHERITED_FD + i;
        }
        names += length;
        names += *names == ':';
    }
    return -1;
}

static bool is_answered(const struct sockaddr_un *address) {
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* EAGAIN: somebody listens, and the backlog is full. */
    return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN);
}

int unix_listener_bind(const char *path, struct error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        error_set(err, ERROR_INVALID,
                  "`%s` is too long for a Unix socket (%zu bytes at most): choose a shorter TERMINALS_RUN_DIR", path,
                  sizeof address.sun_path - 1);
        return -1;
    }
    strcpy(address.sun_path, path); /* NOLINT: its length was checked above */
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error_set_errno(err, ERROR_INTERNAL, "open a socket");
        return -1;
    }
    if (is_answered(&address)) {
        error_set(err, ERROR_CONFLICT, "`%s` is in use by another process", path);
        return -1;
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        error_set_errno(err, ERROR_INTERNAL, "remove the old socket `%s`", path);
        return -1;
    }
    /* The mode is right from the start: fchmod() before bind() rules what bind() creates. */
    if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        error_set_errno(err, ERROR_INTERNAL, "bind `%s`", path);
        return -1;
    }
    /* Until we listen, everybody is refused, those as well who may not connect yet. */
    if (!folder_owner_give(path, err)) {
        return -1;
    }
    if (listen(fd, BACKLOG) != 0) {
        error_set_errno(err, ERROR_INTERNAL, "listen on `%s`", path);
        return -1;
    }
    return steal_fd(&fd);
}

int unix_listener_open(const char *name, const char *path, struct error *err) {
    int fd = inherited(name);
    if (fd < 0) {
        return unix_listener_bind(path, err);
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        error_set_errno(err, ERROR_INTERNAL, "use the inherited socket `%s`", name);
        return -1;
    }
    return fd;
}
