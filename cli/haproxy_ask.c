#include "cli/haproxy_ask.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "common/cleanup.h"

#define PATIENCE_SECONDS 5
#define ANSWER_MAX_BYTES (1024UL * 1024 * 1024) /* a million routes are about 250 MB */

static int open_socket(const char *run_dir, struct error *err) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/haproxy.sock", run_dir);
    if (length < 0 || (size_t)length >= sizeof address.sun_path) {
        error_set(err, ERROR_INVALID, "TERMINALS_RUN_DIR `%s` is too long", run_dir);
        return -1;
    }
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
        error_set_errno(err, ERROR_INTERNAL, "open a socket");
        return -1;
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        error_set_errno(err, ERROR_BACKEND, "connect to `%s`", address.sun_path);
        return -1;
    }
    return steal_fd(&fd);
}

bool haproxy_ask(const char *run_dir, const char *command, struct buffer *answer, struct error *err) {
    cleanup_close int fd = open_socket(run_dir, err);
    cleanup_buffer struct buffer line = {0};
    if (fd < 0) {
        return false;
    }
    if (!buffer_append_format(&line, "%s\n", command)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (send(fd, line.data, line.length, MSG_NOSIGNAL) != (ssize_t)line.length) {
        return error_set_errno(err, ERROR_BACKEND, "ask HAProxy `%s`", command);
    }
    while (answer->length < ANSWER_MAX_BYTES) {
        char *room = buffer_reserve(answer, 65536);
        ssize_t length = room == NULL ? -1 : recv(fd, room, 65536, 0);
        if (room == NULL) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
        if (length == 0) {
            room[0] = '\0';
            return true;
        }
        if (length < 0 && errno == EINTR) {
            continue;
        }
        if (length < 0) {
            return error_set_errno(err, ERROR_TIMEOUT, "read HAProxy's answer to `%s`", command);
        }
        answer->length += (size_t)length;
        answer->data[answer->length] = '\0';
    }
    return error_set(err, ERROR_BACKEND, "HAProxy's answer to `%s` has no end", command);
}
