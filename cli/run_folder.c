#include "cli/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/folders.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/unix_listener.h"

#define PREDECESSOR_MS      5000 /* how long the processes of a killed `serve` may take to end */
#define PREDECESSOR_POLL_MS 20

/* HAProxy binds <path>.<pid>.tmp before it renames it. */
#define LONGEST_SOCKET_NAME "/haproxy-master.sock.4194304.tmp"

static char *path_in(const struct run_folder *folder, const char *name, const char *suffix, struct error *err) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s%s", folder->path, name, suffix) < 0) {
        error_set(err, ERROR_INTERNAL, "no memory");
        return NULL;
    }
    return path;
}

static bool make_folder(struct run_folder *folder, const char *path, struct error *err) {
    if (!folders_make(path, err)) {
        return false;
    }
    folder->path = realpath(path, NULL);
    if (folder->path == NULL || chmod(folder->path, 0700) != 0) {
        return error_set_errno(err, ERROR_INVALID, "use the run folder `%s`", path);
    }
    const size_t limit = sizeof((struct sockaddr_un *)NULL)->sun_path - sizeof LONGEST_SOCKET_NAME;
    if (strlen(folder->path) > limit) {
        return error_set(err, ERROR_INVALID,
                         "TERMINALS_RUN_DIR `%s` is too long for the names of Unix sockets: %zu bytes at most",
                         folder->path, limit);
    }
    return true;
}

/* The lock is close-on-exec, so it ends with us, however we end. */
static bool lock_folder(struct run_folder *folder, struct error *err) {
    cleanup_free char *path = path_in(folder, "serve", ".lock", err);
    if (path == NULL) {
        return false;
    }
    folder->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (folder->lock < 0) {
        return error_set_errno(err, ERROR_INVALID, "open `%s`", path);
    }
    if (flock(folder->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return error_set(err, ERROR_CONFLICT, "another `terminals serve` runs in `%s`", folder->path);
        }
        return error_set_errno(err, ERROR_INVALID, "lock `%s`", path);
    }
    return true;
}

static bool empty_map(const struct run_folder *folder, const char *name, struct error *err) {
    cleanup_free char *path = path_in(folder, name, ".map", err);
    if (path == NULL) {
        return false;
    }
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 || error_set_errno(err, ERROR_INVALID, "create `%s`", path);
}

static bool bind_listeners(struct run_folder *folder, struct error *err) {
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        for (int j = 0; j < PROGRAM_LISTENERS_MAX && programs[i].listeners[j] != NULL; j++) {
            if (folder->listeners[i][j] >= 0) {
                continue; /* bound in an earlier attempt */
            }
            cleanup_free char *path = path_in(folder, programs[i].listeners[j], ".sock", err);
            folder->listeners[i][j] = path == NULL ? -1 : unix_listener_bind(path, err);
            if (folder->listeners[i][j] < 0) {
                return false;
            }
        }
    }
    return true;
}

/* HAProxy itself would share the port with another HAProxy (SO_REUSEPORT) and say little of any other reason. */
bool run_folder_check_port(const struct settings *settings, struct error *err) {
    char port[16];
    snprintf(port, sizeof port, "%d", (int)settings->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *address = NULL;
    int status = getaddrinfo(settings->host, port, &hints, &address);
    if (status != 0) {
        return error_set(err, ERROR_INVALID, "TERMINALS_HOST `%s`: %s", settings->host, gai_strerror(status));
    }
    cleanup_close int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    bool bound = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
                 bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, 1) == 0;
    int reason = errno;
    freeaddrinfo(address);
    if (bound) {
        return true;
    }
    if (reason == EADDRINUSE) {
        return error_set(err, ERROR_CONFLICT, "port %s is in use (on %s)", port, settings->host);
    }
    errno = reason;
    return error_set_errno(err, ERROR_INVALID, "listen on %s port %s", settings->host, port);
}

/* Does the HAProxy of a predecessor still answer here? */
static bool predecessor_lives(const struct run_folder *folder) {
    cleanup_free char *path = path_in(folder, "haproxy-master", ".sock", NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (path == NULL || fd < 0) {
        return false;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
}

/* We hold the lock, so whoever else answers on our sockets has lost its `serve` and is about to end. */
static bool take_over(struct run_folder *folder, const struct settings *settings, struct error *err) {
    int64_t deadline = clock_monotonic_ms() + PREDECESSOR_MS;
    while (!bind_listeners(folder, err) || !run_folder_check_port(settings, err)) {
        bool may_pass =
            err->code == ERROR_CONFLICT && (predecessor_lives(folder) || folder->listeners[PROGRAM_GATE][1] < 0);
        if (!may_pass || clock_monotonic_ms() >= deadline) {
            return false;
        }
        poll(NULL, 0, PREDECESSOR_POLL_MS);
    }
    return true;
}

static void set_closed(struct run_folder *folder) {
    *folder = (struct run_folder){.lock = -1};
    memset(folder->listeners, 0xff, sizeof folder->listeners); /* all -1 */
}

bool run_folder_open(struct run_folder *folder, const struct settings *settings, struct error *err) {
    set_closed(folder);
    bool opened = make_folder(folder, settings->run_dir, err) && lock_folder(folder, err) &&
                  take_over(folder, settings, err) && empty_map(folder, "identities", err) &&
                  empty_map(folder, "routes", err);
    if (!opened) {
        run_folder_close(folder);
    }
    return opened;
}

void run_folder_close(struct run_folder *folder) {
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        for (int j = 0; j < PROGRAM_LISTENERS_MAX; j++) {
            if (folder->listeners[i][j] >= 0) {
                close(folder->listeners[i][j]);
            }
        }
    }
    if (folder->lock >= 0) {
        close(folder->lock);
    }
    free(folder->path);
    set_closed(folder);
}
