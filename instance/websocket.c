#include "instance/websocket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "instance/http_request.h"
#include "instance/http_server.h"
#include "instance/instance.h"
#include "instance/loop.h"
#include "instance/websocket_handshake.h"

struct websocket {
    struct loop *loop;
    struct http_server *server;
    struct MHD_UpgradeResponseHandle *upgrade;
    struct loop_watch watch;
    struct loop_timer close_timer;
    wslay_event_context_ptr wslay;
    const struct websocket_events *events;
    void *owner;
    struct buffer early; /* what came together with the handshake */
    bool is_paused;
    bool is_working; /* inside one of wslay's functions: nothing may be freed */
    bool is_over;    /* to be finished when wslay returns */
};

/* ---- wslay's callbacks ---- */

static ssize_t receive(wslay_event_context_ptr context, uint8_t *out, size_t size, int flags, void *user_data) {
    (void)flags;
    struct websocket *websocket = user_data;
    if (websocket->is_paused) {
        /* The message just handled filled its reader: what is still in the socket waits there. */
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (websocket->early.length > 0) {
        size_t length = websocket->early.length < size ? websocket->early.length : size;
        memcpy(out, websocket->early.data, length);
        buffer_consume(&websocket->early, length);
        return (ssize_t)length;
    }
    ssize_t length;
    do {
        length = recv(websocket->watch.fd, out, size, 0);
    } while (length < 0 && errno == EINTR);
    if (length > 0) {
        return length;
    }
    if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
    } else {
        websocket->is_over = true;
        wslay_event_set_error(context, WSLAY_ERR_CALLBACK_FAILURE);
    }
    return -1;
}

static ssize_t transmit(wslay_event_context_ptr context, const uint8_t *bytes, size_t size, int flags,
                        void *user_data) {
    struct websocket *websocket = user_data;
    int send_flags = MSG_NOSIGNAL | ((flags & WSLAY_MSG_MORE) != 0 ? MSG_MORE : 0);
    ssize_t length;
    do {
        length = send(websocket->watch.fd, bytes, size, send_flags);
    } while (length < 0 && errno == EINTR);
    if (length >= 0) {
        return length;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
    } else {
        websocket->is_over = true;
        wslay_event_set_error(context, WSLAY_ERR_CALLBACK_FAILURE);
    }
    return -1;
}

static void receive_message(wslay_event_context_ptr context, const struct wslay_event_on_msg_recv_arg *message,
                            void *user_data) {
    (void)context;
    struct websocket *websocket = user_data;
    if (!wslay_is_ctrl_frame(message->opcode) && !wslay_event_get_close_sent(websocket->wslay) &&
        websocket->owner != NULL) {
        websocket->events->message(websocket->owner, message->opcode == WSLAY_TEXT_FRAME, (const char *)message->msg,
                                   message->msg_length);
    }
}

/* ---- its life ---- */

static void destroy(struct websocket *websocket) {
    loop_timer_clear(websocket->loop, &websocket->close_timer);
    loop_watch_remove(websocket->loop, &websocket->watch);
    MHD_upgrade_action(websocket->upgrade, MHD_UPGRADE_ACTION_CLOSE);
    http_server_run_soon(websocket->server);
    wslay_event_context_free(websocket->wslay);
    buffer_free(&websocket->early);
    free(websocket);
}

static void finish(struct websocket *websocket) {
    void *owner = websocket->owner;
    websocket->owner = NULL;
    if (owner != NULL) {
        websocket->events->closed(owner);
    }
    destroy(websocket);
}

static void update_watch(struct websocket *websocket) {
    uint32_t events = 0;
    if (!websocket->is_paused && wslay_event_want_read(websocket->wslay)) {
        events |= EPOLLIN;
    }
    if (wslay_event_want_write(websocket->wslay)) {
        events |= EPOLLOUT;
    }
    loop_watch_set(websocket->loop, &websocket->watch, events);
}

/* Lets wslay write and read as far as it goes, then looks whether it is over. */
static void work(struct websocket *websocket, uint32_t ready) {
    bool was_queued = wslay_event_get_queued_msg_length(websocket->wslay) > 0;
    bool has_failed = (ready & EPOLLERR) != 0;
    websocket->is_working = true;
    if (!has_failed && !websocket->is_paused && ((ready & (EPOLLIN | EPOLLHUP)) != 0 || websocket->early.length > 0)) {
        has_failed = wslay_event_recv(websocket->wslay) != 0;
    }
    if (!has_failed && wslay_event_want_write(websocket->wslay)) {
        has_failed = wslay_event_send(websocket->wslay) != 0;
    }
    if (!has_failed && was_queued && wslay_event_get_queued_msg_length(websocket->wslay) == 0 &&
        websocket->owner != NULL) {
        websocket->events->drained(websocket->owner);
        has_failed = wslay_event_want_write(websocket->wslay) && wslay_event_send(websocket->wslay) != 0;
    }
    websocket->is_working = false;
    /* A hang-up while nothing is read would be reported again and again. */
    has_failed = has_failed || ((ready & EPOLLHUP) != 0 && websocket->is_paused);
    bool is_closed = !wslay_event_want_read(websocket->wslay) && !wslay_event_want_write(websocket->wslay);
    if (has_failed || websocket->is_over || is_closed) {
        finish(websocket);
    } else {
        update_watch(websocket);
    }
}

static void on_ready(struct loop_watch *watch, uint32_t events) {
    work(loop_owner(watch, struct websocket, watch), events);
}

static void on_close_timeout(struct loop_timer *timer) {
    finish(loop_owner(timer, struct websocket, close_timer));
}

bool websocket_send(struct websocket *websocket, const void *bytes, size_t length) {
    struct wslay_event_msg message = {WSLAY_BINARY_FRAME, bytes, length};
    if (wslay_event_queue_msg(websocket->wslay, &message) != 0) {
        return false;
    }
    if (!websocket->is_working) {
        /* Write at once what the socket takes. A failure shows in the loop as an event. */
        websocket->is_working = true;
        wslay_event_send(websocket->wslay);
        websocket->is_working = false;
        update_watch(websocket);
    }
    return true;
}

size_t websocket_queued_bytes(const struct websocket *websocket) {
    return wslay_event_get_queued_msg_length(websocket->wslay);
}

void websocket_pause(struct websocket *websocket, bool is_paused) {
    websocket->is_paused = is_paused;
    if (!websocket->is_working) {
        update_watch(websocket);
    }
}

void websocket_close(struct websocket *websocket, uint16_t code, const char *reason) {
    wslay_event_queue_close(websocket->wslay, code, (const uint8_t *)reason, strlen(reason));
    websocket->is_paused = false;
    loop_timer_set(websocket->loop, &websocket->close_timer, WEBSOCKET_CLOSE_TIMEOUT_MS);
    if (!websocket->is_working) {
        websocket->is_working = true;
        wslay_event_send(websocket->wslay);
        websocket->is_working = false;
        update_watch(websocket);
    }
}

void websocket_drop(struct websocket *websocket) {
    websocket->owner = NULL;
    if (websocket->is_working) {
        websocket->is_over = true;
    } else {
        destroy(websocket);
    }
}

/* ---- the handshake ---- */

struct opening {
    struct instance *instance;
    struct http_server *server;
    const struct websocket_events *events;
    void *(*opened)(struct instance *instance, struct websocket *websocket, const char *context);
    char *context;
};

static void free_opening(void *state) {
    struct opening *opening = state;
    free(opening->context);
    free(opening);
}

static struct websocket *websocket_new(const struct opening *opening, int fd, struct MHD_UpgradeResponseHandle *upgrade,
                                       const char *early, size_t early_length) {
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = receive,
        .send_callback = transmit,
        .on_msg_recv_callback = receive_message,
    };
    struct websocket *websocket = calloc(1, sizeof *websocket);
    if (websocket == NULL) {
        return NULL;
    }
    websocket->loop = opening->instance->loop;
    websocket->server = opening->server;
    websocket->upgrade = upgrade;
    websocket->watch = (struct loop_watch){.fd = fd, .ready = on_ready};
    websocket->close_timer.expired = on_close_timeout;
    websocket->events = opening->events;
    if (!buffer_append(&websocket->early, early, early_length) ||
        wslay_event_context_server_init(&websocket->wslay, &callbacks, websocket) != 0) {
        buffer_free(&websocket->early);
        free(websocket);
        return NULL;
    }
    wslay_event_config_set_max_recv_msg_length(websocket->wslay, WEBSOCKET_MESSAGE_MAX_BYTES);
    /* A keystroke's echo goes out at once. Without it typing only feels slow, so a failure is none. */
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return websocket;
}

static void on_upgrade(void *cls, struct MHD_Connection *connection, void *con_cls, const char *extra_in,
                       size_t extra_in_size, MHD_socket sock, struct MHD_UpgradeResponseHandle *upgrade) {
    (void)connection;
    (void)con_cls;
    const struct opening *opening = cls;
    struct websocket *websocket = websocket_new(opening, sock, upgrade, extra_in, extra_in_size);
    if (websocket == NULL) {
        MHD_upgrade_action(upgrade, MHD_UPGRADE_ACTION_CLOSE);
        http_server_run_soon(opening->server);
        return;
    }
    websocket->owner = opening->opened(opening->instance, websocket, opening->context);
    work(websocket, EPOLLIN);
}

void websocket_answer(struct http_request *request, const struct websocket_events *events,
                      void *(*opened)(struct instance *instance, struct websocket *websocket, const char *context),
                      char *context) {
    char accept[WEBSOCKET_ACCEPT_SIZE];
    char problem[WEBSOCKET_PROBLEM_SIZE];
    if (!websocket_check_handshake(request, accept, problem)) {
        char text[WEBSOCKET_PROBLEM_SIZE + 64];
        free(context);
        snprintf(text, sizeof text, "Failed to open a WebSocket connection: %s.\n", problem);
        http_add_header(request, "Sec-WebSocket-Version", "13");
        websocket_refuse(request, 400, text);
        return;
    }
    struct opening *opening = context != NULL ? malloc(sizeof *opening) : NULL;
    if (opening == NULL) {
        free(context);
        http_respond(request, 500, NULL);
        return;
    }
    *opening = (struct opening){request->instance, request->server, events, opened, context};
    http_set_state(request, opening, free_opening);
    struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgrade, opening);
    if (response != NULL) {
        MHD_add_response_header(response, "Upgrade", "websocket");
        MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
    }
    http_respond(request, response != NULL ? MHD_HTTP_SWITCHING_PROTOCOLS : 500, response);
}
