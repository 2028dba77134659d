/* proxy_tunnel.c - a WebSocket between a client and a program of the user's: bytes both ways, frames unseen. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/http_request.h"
#include "instance/http_server.h"
#include "instance/instance.h"
#include "instance/proxy.h"

struct side {
    struct loop_watch watch;
    struct buffer out; /* for this side, from the other */
    bool has_ended;    /* it sends nothing more */
    bool is_shut;      /* and has been told that the other one does not either */
};

struct proxy_tunnel {
    struct instance *instance;
    struct http_server *server;
    struct MHD_UpgradeResponseHandle *upgrade;
    struct side client;
    struct side program;
    struct proxy_tunnel *previous; /* in instance->tunnels */
    struct proxy_tunnel *next;
};

static void end_tunnel(struct proxy_tunnel *tunnel) {
    struct loop *loop = tunnel->instance->loop;
    loop_watch_remove(loop, &tunnel->client.watch);
    loop_watch_remove(loop, &tunnel->program.watch);
    close(tunnel->program.watch.fd);
    buffer_free(&tunnel->client.out);
    buffer_free(&tunnel->program.out);
    if (tunnel->previous != NULL) {
        tunnel->previous->next = tunnel->next;
    } else {
        tunnel->instance->tunnels = tunnel->next;
    }
    if (tunnel->next != NULL) {
        tunnel->next->previous = tunnel->previous;
    }
    MHD_upgrade_action(tunnel->upgrade, MHD_UPGRADE_ACTION_CLOSE);
    http_server_run_soon(tunnel->server);
    free(tunnel);
}

void proxy_end_tunnels(struct instance *instance) {
    while (instance->tunnels != NULL) {
        end_tunnel(instance->tunnels);
    }
}

/* Writes what waits for a side, and its end after that. False: the connection is broken. */
static bool drain(struct side *side, const struct side *other) {
    size_t written = 0;
    while (written < side->out.length) {
        ssize_t length = send(side->watch.fd, side->out.data + written, side->out.length - written, MSG_NOSIGNAL);
        if (length >= 0) {
            written += (size_t)length;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            return false;
        }
    }
    buffer_consume(&side->out, written);
    if (side->out.length == 0) {
        buffer_free(&side->out); /* most WebSockets say little: a silent one costs nothing */
        if (other->has_ended && !side->is_shut) {
            side->is_shut = true;
            shutdown(side->watch.fd, SHUT_WR);
        }
    }
    return true;
}

/* Reads a side once, as long as the other one keeps up. False: the connection is broken, or memory ran out. */
static bool fill(struct side *side, struct side *other) {
    if (side->has_ended || other->out.length >= PROXY_BUFFERED_MAX_BYTES) {
        return true;
    }
    char *room = buffer_reserve(&other->out, PROXY_READ_BYTES);
    if (room == NULL) {
        return false;
    }
    ssize_t length = recv(side->watch.fd, room, PROXY_READ_BYTES, 0);
    if (length > 0) {
        other->out.length += (size_t)length;
    } else if (length == 0) {
        side->has_ended = true;
    } else {
        return errno == EAGAIN || errno == EINTR;
    }
    return true;
}

static bool update_side(struct loop *loop, struct side *side, const struct side *other) {
    uint32_t events = 0;
    if (!side->has_ended && other->out.length < PROXY_BUFFERED_MAX_BYTES) {
        events |= EPOLLIN;
    }
    if (side->out.length > 0) {
        events |= EPOLLOUT;
    }
    if (events == 0) {
        loop_watch_remove(loop, &side->watch); /* a hang-up would be reported again and again */
        return true;
    }
    return loop_watch_set(loop, &side->watch, events);
}

static void relay(struct proxy_tunnel *tunnel, struct side *ready, struct side *other, uint32_t events) {
    bool ok = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || fill(ready, other);
    ok = ok && drain(other, ready) && drain(ready, other);
    ok = ok && !(tunnel->client.is_shut && tunnel->program.is_shut);
    struct loop *loop = tunnel->instance->loop;
    if (!ok || !update_side(loop, ready, other) || !update_side(loop, other, ready)) {
        end_tunnel(tunnel);
    }
}

static void on_client(struct loop_watch *watch, uint32_t events) {
    struct proxy_tunnel *tunnel = loop_owner(watch, struct proxy_tunnel, client.watch);
    relay(tunnel, &tunnel->client, &tunnel->program, events);
}

static void on_program(struct loop_watch *watch, uint32_t events) {
    struct proxy_tunnel *tunnel = loop_owner(watch, struct proxy_tunnel, program.watch);
    relay(tunnel, &tunnel->program, &tunnel->client, events);
}

static void on_upgrade(void *cls, struct MHD_Connection *connection, void *con_cls, const char *extra_in,
                       size_t extra_in_size, MHD_socket sock, struct MHD_UpgradeResponseHandle *upgrade) {
    (void)connection;
    (void)con_cls;
    struct proxy *proxy = cls;
    struct instance *instance = http_instance(proxy->request);
    struct proxy_tunnel *tunnel = calloc(1, sizeof *tunnel);
    if (tunnel == NULL) {
        MHD_upgrade_action(upgrade, MHD_UPGRADE_ACTION_CLOSE);
        http_server_run_soon(proxy->request->server);
        return;
    }
    *tunnel = (struct proxy_tunnel){
        .instance = instance,
        .server = proxy->request->server,
        .upgrade = upgrade,
        .client = {.watch = {.fd = sock, .ready = on_client}, .out = proxy->in},
        .program = {.watch = {.fd = proxy->watch.fd, .ready = on_program}, .out = proxy->out},
        .next = instance->tunnels,
    };
    if (tunnel->next != NULL) {
        tunnel->next->previous = tunnel;
    }
    instance->tunnels = tunnel;
    loop_watch_remove(proxy->loop, &proxy->watch);
    proxy->watch.fd = -1;
    proxy->in = (struct buffer){0};
    proxy->out = (struct buffer){0};
    /* A keystroke goes out at once, and a peer that is gone without a word is noticed in the end. Neither is vital. */
    int on = 1;
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (!buffer_append(&tunnel->program.out, extra_in, extra_in_size)) {
        end_tunnel(tunnel);
        return;
    }
    tunnel->program.has_ended = proxy->has_ended;
    relay(tunnel, &tunnel->program, &tunnel->client, EPOLLIN);
}

void proxy_answer_upgrade(struct proxy *proxy) {
    struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgrade, proxy);
    if (response != NULL) {
        MHD_add_response_header(response, "Upgrade", "websocket");
    }
    http_respond(proxy->request, response != NULL ? MHD_HTTP_SWITCHING_PROTOCOLS : 500, response);
}
