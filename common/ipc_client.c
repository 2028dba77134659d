#include "common/ipc_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/ipc.h"

#define CONNECT_RETRY_FIRST_MS 10
#define CONNECT_RETRY_LAST_MS  200
#define CONNECT_PATIENCE_MS    5000
#define READ_CHUNK_BYTES       65536

struct ipc_client {
    struct sockaddr_un address;
    int fd;
    unsigned connections;
    int64_t next_id;
    struct buffer input;
};

struct ipc_client *ipc_client_new(const char *socket_path) {
    struct ipc_client *client = calloc(1, sizeof *client);
    if (client == NULL || strlen(socket_path) >= sizeof client->address.sun_path) {
        free(client);
        return NULL;
    }
    client->fd = -1;
    client->address.sun_family = AF_UNIX;
    strcpy(client->address.sun_path, socket_path); /* NOLINT: its length was checked above */
    return client;
}

static void disconnect(struct ipc_client *client) {
    if (client->fd >= 0) {
        close(client->fd);
        client->fd = -1;
    }
    buffer_free(&client->input);
}

void ipc_client_free(struct ipc_client *client) {
    if (client != NULL) {
        disconnect(client);
        free(client);
    }
}

unsigned ipc_client_connections(const struct ipc_client *client) {
    return client->connections;
}

static void pause_ms(int64_t milliseconds) {
    struct timespec pause = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static bool connect_until(struct ipc_client *client, int64_t deadline_ms, struct error *err) {
    for (int64_t pause = CONNECT_RETRY_FIRST_MS;; pause = pause < CONNECT_RETRY_LAST_MS ? 2 * pause : pause) {
        cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            return error_set_errno(err, ERROR_INTERNAL, "open a socket");
        }
        if (connect(fd, (struct sockaddr *)&client->address, sizeof client->address) == 0) {
            client->fd = steal_fd(&fd);
            client->connections++;
            return true;
        }
        if (clock_monotonic_ms() + pause >= deadline_ms) {
            error_set_errno(err, ERROR_CAPACITY, "terminals-provisioner is not running (connect `%s`)",
                            client->address.sun_path);
            return error_veil(err, "terminals-provisioner is not running");
        }
        pause_ms(pause);
    }
}

/* Waits for `events`; false at the deadline. */
static bool wait_for(int fd, short events, int64_t deadline_ms) {
    for (;;) {
        int64_t left = deadline_ms - clock_monotonic_ms();
        struct pollfd waiting = {.fd = fd, .events = events};
        int ready = left <= 0 ? 0 : poll(&waiting, 1, (int)left);
        if (ready >= 0 || errno != EINTR) {
            return ready > 0;
        }
    }
}

static bool send_whole(struct ipc_client *client, const struct buffer *line, int64_t deadline_ms, struct error *err) {
    for (size_t sent = 0; sent < line->length;) {
        ssize_t now = send(client->fd, line->data + sent, line->length - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (now > 0) {
            sent += (size_t)now;
        } else if (errno == EAGAIN) {
            if (!wait_for(client->fd, POLLOUT, deadline_ms)) {
                return error_set(err, ERROR_TIMEOUT, "terminals-provisioner takes no requests");
            }
        } else if (errno != EINTR) {
            return error_set_errno(err, ERROR_CAPACITY, "send to terminals-provisioner");
        }
    }
    return true;
}

/* Reads until the answer to `id` is there. Answers to calls that were given up before are dropped. */
static struct json_object *receive_answer(struct ipc_client *client, int64_t id, int64_t deadline_ms,
                                          struct error *err) {
    for (;;) {
        struct json_object *message = NULL;
        int taken = ipc_take_message(&client->input, IPC_LINE_MAX_BYTES, &message, err);
        if (taken < 0) {
            error_prefix(err, "the provisioner's answer");
            err->code = ERROR_INTERNAL;
            return NULL;
        }
        if (taken == 1) {
            if (json_get_int(message, "id", -1) == id) {
                return message;
            }
            json_object_put(message);
            continue;
        }
        if (!wait_for(client->fd, POLLIN, deadline_ms)) {
            error_set(err, ERROR_TIMEOUT, "terminals-provisioner did not answer in time");
            return NULL;
        }
        char *room = buffer_reserve(&client->input, READ_CHUNK_BYTES);
        if (room == NULL) {
            error_set(err, ERROR_INTERNAL, "out of memory");
            return NULL;
        }
        ssize_t got = recv(client->fd, room, READ_CHUNK_BYTES, MSG_DONTWAIT);
        if (got > 0) {
            client->input.length += (size_t)got;
        } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
            error_set(err, ERROR_CAPACITY, "terminals-provisioner ended before it answered");
            return NULL;
        }
    }
}

static bool is_dead(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

struct json_object *ipc_client_call(struct ipc_client *client, struct json_object *request, int timeout_ms,
                                    struct error *err) {
    cleanup_json struct json_object *message = request;
    cleanup_buffer struct buffer line = {0};
    struct error ignored;
    struct error *problem = err != NULL ? err : &ignored;
    int64_t id = ++client->next_id;
    if (message == NULL || !json_add_int(message, "id", id) || !ipc_append_message(&line, message)) {
        error_set(problem, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    int64_t now = clock_monotonic_ms();
    int64_t deadline_ms = now + timeout_ms;
    int64_t connect_deadline_ms = now + (timeout_ms < CONNECT_PATIENCE_MS ? timeout_ms : CONNECT_PATIENCE_MS);

    if (client->fd >= 0 && is_dead(client->fd)) {
        disconnect(client);
    }
    bool fresh = client->fd < 0;
    if (fresh && !connect_until(client, connect_deadline_ms, problem)) {
        return NULL;
    }
    if (!send_whole(client, &line, deadline_ms, problem)) {
        disconnect(client);
        /* Not sent whole, so not acted on: an old connection may be tried anew. */
        if (fresh || problem->code != ERROR_CAPACITY || !connect_until(client, connect_deadline_ms, problem) ||
            !send_whole(client, &line, deadline_ms, problem)) {
            disconnect(client);
            return NULL;
        }
    }
    struct json_object *answer = receive_answer(client, id, deadline_ms, problem);
    if (answer == NULL && problem->code != ERROR_TIMEOUT) {
        disconnect(client);
    }
    if (answer != NULL && !ipc_answer_ok(answer, problem)) {
        json_object_put(answer);
        return NULL;
    }
    return answer;
}
