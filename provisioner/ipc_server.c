#include "provisioner/ipc_server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/log.h"
#include "provisioner/request.h"

#define READ_BYTES (64 * 1024)

struct ipc_peer {
    struct ipc_server *server;
    int fd;
    struct event *readable;
    struct event *writable;
    struct buffer input;
    struct buffer output;
    struct ipc_call *calls;
    size_t call_count;
    bool is_doomed; /* to be freed at the end of the turn */
    bool is_paused; /* has too much to read before it may ask more */
    bool is_reporter;
    int64_t websockets;
    struct ipc_peer *prev, *next;
};

struct ipc_call {
    struct ipc_peer *peer; /* NULL: gone, or it is a remote call */
    int64_t id;
    void (*answered)(void *argument, struct json_object *answer); /* of a remote call */
    void *argument;
    struct ipc_call *prev, *next;
};

struct ipc_server {
    struct event_base *base;
    int listener;
    struct event *acceptable;
    struct event *rest;   /* no descriptors left, or too many peers: looks again later */
    struct event *reaper; /* frees doomed peers from the top of the loop: nobody is in the middle of one there */
    void (*handle)(void *argument, struct ipc_call *call, struct json_object *request);
    void *argument;
    struct ipc_peer *peers;
    size_t peer_count;
};

static void peer_free(struct ipc_peer *peer) {
    struct ipc_server *server = peer->server;
    for (struct ipc_call *call = peer->calls; call != NULL; call = call->next) {
        call->peer = NULL;
    }
    DL_DELETE(server->peers, peer);
    server->peer_count--;
    if (peer->readable != NULL) {
        event_free(peer->readable);
    }
    if (peer->writable != NULL) {
        event_free(peer->writable);
    }
    close(peer->fd);
    buffer_free(&peer->input);
    buffer_free(&peer->output);
    free(peer);
}

static void free_doomed(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct ipc_server *server = argument;
    for (struct ipc_peer *peer = server->peers, *next; peer != NULL; peer = next) {
        next = peer->next;
        if (peer->is_doomed) {
            peer_free(peer);
        }
    }
}

static void doom(struct ipc_peer *peer, const char *why) {
    if (peer->is_doomed) {
        return;
    }
    if (why != NULL) {
        log_warning(NULL, "a peer on the provisioner's socket is dropped: %s", why);
    }
    peer->is_doomed = true;
    event_del(peer->readable);
    event_del(peer->writable);
    event_active(peer->server->reaper, EV_TIMEOUT, 0);
}

/* Sends what the socket takes. */
static void peer_flush(struct ipc_peer *peer) {
    while (peer->output.length > 0) {
        ssize_t sent = send(peer->fd, peer->output.data, peer->output.length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && errno == EAGAIN) {
            break;
        }
        if (sent < 0) {
            doom(peer, NULL);
            return;
        }
        buffer_consume(&peer->output, (size_t)sent);
    }
}

/* After output changed: watches for room to send, and reads on or not. */
static void peer_rearm(struct ipc_peer *peer) {
    const struct timeval patience = {.tv_sec = IPC_UNREAD_TIMEOUT_SECONDS};
    if (peer->is_doomed) {
        return;
    }
    if (peer->output.failed || peer->output.length > IPC_OUTPUT_MAX_BYTES) {
        doom(peer, "it does not read its answers");
        return;
    }
    if (peer->output.length > 0) {
        event_add(peer->writable, &patience);
    } else {
        event_del(peer->writable);
    }
    bool must_pause = peer->output.length > IPC_OUTPUT_PAUSE_BYTES;
    if (must_pause && !peer->is_paused) {
        event_del(peer->readable);
    } else if (!must_pause && peer->is_paused) {
        event_add(peer->readable, NULL);
        /* Requests may be waiting in our buffer that no new byte will announce. */
        event_active(peer->readable, EV_READ, 0);
    }
    peer->is_paused = must_pause;
}

static void on_writable(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    struct ipc_peer *peer = argument;
    if ((what & EV_TIMEOUT) != 0) {
        doom(peer, "it does not read its answers");
        return;
    }
    peer_flush(peer);
    peer_rearm(peer);
}

static void peer_send(struct ipc_peer *peer, struct json_object *message) {
    if (peer->is_doomed) {
        return;
    }
    bool was_idle = peer->output.length == 0;
    if (message == NULL || !ipc_append_message(&peer->output, message)) {
        doom(peer, "no memory for its answer");
        return;
    }
    if (was_idle) {
        peer_flush(peer);
    }
    peer_rearm(peer);
}

struct json_object *ipc_call_new_answer(const struct ipc_call *call) {
    return ipc_answer(call->id);
}

void ipc_call_answer(struct ipc_call *call, struct json_object *answer) {
    if (call->peer != NULL) {
        DL_DELETE(call->peer->calls, call);
        call->peer->call_count--;
        peer_send(call->peer, answer);
    }
    if (call->answered != NULL) {
        call->answered(call->argument, answer);
    }
    json_object_put(answer);
    free(call);
}

struct ipc_call *ipc_call_new_remote(void (*answered)(void *argument, struct json_object *answer), void *argument) {
    struct ipc_call *call = calloc(1, sizeof *call);
    if (call != NULL) {
        *call = (struct ipc_call){.answered = answered, .argument = argument};
    }
    return call;
}

void ipc_call_pass_on(struct ipc_call *call, struct json_object *answer) {
    if (!json_add_int(answer, "id", call->id)) {
        json_object_put(answer);
        answer = NULL;
    }
    ipc_call_answer(call, answer);
}

void ipc_call_fail(struct ipc_call *call, const struct error *err) {
    ipc_call_answer(call, ipc_error_answer(call->id, err));
}

void ipc_call_report_websockets(struct ipc_call *call, int64_t websockets) {
    if (call->peer != NULL) {
        call->peer->is_reporter = true;
        call->peer->websockets = websockets;
    }
}

size_t ipc_server_pids(const struct ipc_server *server, pid_t *pids, size_t max) {
    size_t count = 0;
    for (const struct ipc_peer *peer = server->peers; peer != NULL && count < max; peer = peer->next) {
        struct ucred who = {0};
        socklen_t size = sizeof who;
        bool is_known = getsockopt(peer->fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0 || who.pid <= 0;
        for (size_t i = 0; i < count && !is_known; i++) {
            is_known = pids[i] == who.pid;
        }
        if (!is_known) {
            pids[count++] = who.pid;
        }
    }
    return count;
}

int64_t ipc_server_websockets(const struct ipc_server *server) {
    int64_t sum = 0;
    for (const struct ipc_peer *peer = server->peers; peer != NULL; peer = peer->next) {
        sum += peer->websockets;
    }
    return sum;
}

bool ipc_server_has_reporter(const struct ipc_server *server) {
    for (const struct ipc_peer *peer = server->peers; peer != NULL; peer = peer->next) {
        if (peer->is_reporter && !peer->is_doomed) {
            return true;
        }
    }
    return false;
}

static void handle_message(struct ipc_peer *peer, struct json_object *request) {
    struct error err = {.message = "out of memory"};
    int64_t id = request_id(request, &err);
    struct ipc_call *call = id < 0 ? NULL : calloc(1, sizeof *call);
    if (call == NULL) {
        doom(peer, err.message);
        return;
    }
    *call = (struct ipc_call){.peer = peer, .id = id};
    DL_APPEND(peer->calls, call);
    peer->call_count++;
    if (peer->call_count > IPC_CALLS_PER_PEER_MAX) {
        error_set(&err, ERROR_CAPACITY, "%zu requests are waiting for an answer already", peer->call_count - 1);
        ipc_call_fail(call, &err);
        return;
    }
    peer->server->handle(peer->server->argument, call, request);
}

static void handle_input(struct ipc_peer *peer) {
    while (!peer->is_doomed && !peer->is_paused) {
        struct error err;
        cleanup_json struct json_object *request = NULL;
        int taken = ipc_take_message(&peer->input, IPC_REQUEST_MAX_BYTES, &request, &err);
        if (taken < 0) {
            doom(peer, err.message);
        }
        if (taken <= 0) {
            return;
        }
        handle_message(peer, request);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *argument) {
    (void)what;
    struct ipc_peer *peer = argument;
    char *room = buffer_reserve(&peer->input, READ_BYTES);
    if (room == NULL) {
        doom(peer, "out of memory");
        return;
    }
    ssize_t length = recv(fd, room, READ_BYTES, MSG_DONTWAIT);
    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR)) {
        doom(peer, NULL);
        return;
    }
    if (length > 0) {
        peer->input.length += (size_t)length;
        peer->input.data[peer->input.length] = '\0';
    }
    handle_input(peer);
}

static void add_peer(struct ipc_server *server, int fd) {
    struct ipc_peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) {
        close(fd);
        return;
    }
    *peer = (struct ipc_peer){.server = server, .fd = fd};
    DL_APPEND(server->peers, peer);
    server->peer_count++;
    peer->readable = event_new(server->base, fd, EV_READ | EV_PERSIST, on_readable, peer);
    peer->writable = event_new(server->base, fd, EV_WRITE, on_writable, peer);
    if (peer->readable == NULL || peer->writable == NULL || event_add(peer->readable, NULL) < 0) {
        peer_free(peer);
    }
}

/* Stops accepting for a second: the backlog keeps who comes, and we do not spin. */
static void take_a_rest(struct ipc_server *server) {
    const struct timeval second = {.tv_sec = 1};
    event_del(server->acceptable);
    event_add(server->rest, &second);
}

static void on_rested(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct ipc_server *server = argument;
    event_add(server->acceptable, NULL);
}

static void on_acceptable(evutil_socket_t fd, short what, void *argument) {
    (void)what;
    struct ipc_server *server = argument;
    if (server->peer_count >= IPC_PEERS_MAX) {
        take_a_rest(server);
        return;
    }
    int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted >= 0) {
        add_peer(server, accepted);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        log_warning(NULL, "accept on the provisioner's socket: %s", strerror(errno));
        take_a_rest(server);
    }
}

struct ipc_server *ipc_server_open(int listener, struct event_base *base,
                                   void (*handle)(void *argument, struct ipc_call *call, struct json_object *request),
                                   void *argument, struct error *err) {
    struct ipc_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        close(listener);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    *server = (struct ipc_server){.base = base, .listener = listener, .handle = handle, .argument = argument};
    server->acceptable = event_new(base, listener, EV_READ | EV_PERSIST, on_acceptable, server);
    server->reaper = event_new(base, -1, 0, free_doomed, server);
    server->rest = event_new(base, -1, 0, on_rested, server);
    /* Inherited sockets may be blocking; the one who bound it shares this flag with us and does not accept. */
    int flags = fcntl(listener, F_GETFL);
    if (server->acceptable == NULL || server->reaper == NULL || server->rest == NULL || flags < 0 ||
        fcntl(listener, F_SETFL, flags | O_NONBLOCK) < 0 || event_add(server->acceptable, NULL) < 0) {
        error_set(err, ERROR_INTERNAL, "watch the provisioner's socket");
        ipc_server_close(server);
        return NULL;
    }
    return server;
}

void ipc_server_set_handler(struct ipc_server *server,
                            void (*handle)(void *argument, struct ipc_call *call, struct json_object *request),
                            void *argument) {
    server->handle = handle;
    server->argument = argument;
}

void ipc_server_drop_peers(struct ipc_server *server) {
    for (struct ipc_peer *peer = server->peers, *next; peer != NULL; peer = next) {
        next = peer->next;
        if (!peer->is_doomed) {
            peer_flush(peer);
        }
        peer_free(peer);
    }
}

void ipc_server_close(struct ipc_server *server) {
    if (server == NULL) {
        return;
    }
    ipc_server_drop_peers(server);
    if (server->acceptable != NULL) {
        event_free(server->acceptable);
    }
    if (server->reaper != NULL) {
        event_free(server->reaper);
    }
    if (server->rest != NULL) {
        event_free(server->rest);
    }
    close(server->listener);
    free(server);
}
