#include "gate/gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/unix_listener.h"
#include "gate/connection.h"

#define ACCEPT_PAUSE_MS 100
#define ACCEPTS_A_ROUND 64
#define LAST_WORDS_MS   50

static const struct {
    const char *name;
    const char *file;
} doors[DOOR_COUNT] = {
    [DOOR_MAIN] = {"gate", "gate.sock"},
    [DOOR_RECOVER] = {"gate-recover", "gate-recover.sock"},
};

static struct timeval milliseconds(int64_t ms) {
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

/* Out of descriptors or memory: the connection stays in the backlog and would wake us at once, again and again. */
static void pause_listener(struct gate_listener *listener, int reason) {
    char text[128];
    log_error(NULL, "accept on %s: %s", doors[listener->door].file, strerror_r(reason, text, sizeof text));
    event_del(&listener->event);
    struct timeval pause = milliseconds(ACCEPT_PAUSE_MS);
    evtimer_add(&listener->pause, &pause);
}

static void on_pause_over(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct gate_listener *listener = context;
    event_add(&listener->event, NULL);
}

static void on_listener(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct gate_listener *listener = context;
    for (int i = 0; i < ACCEPTS_A_ROUND; i++) {
        int accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            connection_open(listener->gate, accepted, listener->door);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            pause_listener(listener, errno);
            return;
        }
    }
}

static bool open_listener(struct gate *gate, enum gate_door door, struct error *err) {
    struct gate_listener *listener = &gate->listeners[door];
    cleanup_free char *path = NULL;
    if (asprintf(&path, "%s/%s", gate->settings->run_dir, doors[door].file) < 0) {
        path = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    listener->fd = unix_listener_open(doors[door].name, path, err);
    if (listener->fd < 0) {
        return false;
    }
    if (evutil_make_socket_nonblocking(listener->fd) != 0 ||
        event_assign(&listener->event, gate->base, listener->fd, EV_READ | EV_PERSIST, on_listener, listener) != 0 ||
        event_add(&listener->event, NULL) != 0) {
        return error_set(err, ERROR_INTERNAL, "watch `%s`", path);
    }
    return true;
}

bool gate_listen(struct gate *gate, struct error *err) {
    for (int door = 0; door < DOOR_COUNT; door++) {
        if (!open_listener(gate, (enum gate_door)door, err)) {
            return false;
        }
    }
    return true;
}

static void close_listeners(struct gate *gate) {
    for (int door = 0; door < DOOR_COUNT; door++) {
        struct gate_listener *listener = &gate->listeners[door];
        evtimer_del(&listener->pause);
        if (listener->fd >= 0) {
            event_del(&listener->event);
            close(listener->fd);
            listener->fd = -1;
        }
    }
}

static void on_shutdown_over(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct gate *gate = context;
    event_base_loopbreak(gate->base);
}

void gate_connection_gone(struct gate *gate) {
    if (gate->is_stopping && gate->connections == NULL) {
        /* Not at once: the audit rows of terminals that just ended are still to be sent. */
        struct timeval moment = milliseconds(LAST_WORDS_MS);
        event_base_loopexit(gate->base, &moment);
    }
}

void gate_stop(struct gate *gate) {
    if (gate->is_stopping) {
        event_base_loopbreak(gate->base); /* asked twice: at once */
        return;
    }
    gate->is_stopping = true;
    close_listeners(gate);
    struct connection *connection;
    struct connection *next;
    DL_FOREACH_SAFE(gate->connections, connection, next) {
        connection_shut_down(connection);
    }
    struct timeval patience = milliseconds(gate->limits.shutdown);
    evtimer_add(&gate->shutdown_timer, &patience);
    gate_connection_gone(gate);
}

static char *run_path(const struct settings *settings, const char *file) {
    char *path = NULL;
    return asprintf(&path, "%s/%s", settings->run_dir, file) < 0 ? NULL : path;
}

static bool build(struct gate *gate, struct error *err) {
    cleanup_free char *provisioner_path = run_path(gate->settings, "provisioner.sock");
    gate->authorizer_path = run_path(gate->settings, "api-auth.sock");
    gate->pipes = pipe_pool_new();
    if (provisioner_path == NULL || gate->authorizer_path == NULL || gate->pipes == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    gate->provisioner = provisioner_client_new(gate->base, provisioner_path, gate->limits.provisioner_away, err);
    if (gate->provisioner == NULL) {
        return false;
    }
    gate->activity = activity_new(gate->base, gate->provisioner);
    return gate->activity != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

struct gate *gate_new(struct event_base *base, const struct settings *settings, const struct gate_limits *limits,
                      struct error *err) {
    struct gate *gate = calloc(1, sizeof *gate);
    if (gate == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    gate->base = base;
    gate->settings = settings;
    gate->limits = *limits;
    evtimer_assign(&gate->shutdown_timer, base, on_shutdown_over, gate);
    for (int door = 0; door < DOOR_COUNT; door++) {
        gate->listeners[door] = (struct gate_listener){.gate = gate, .door = (enum gate_door)door, .fd = -1};
        evtimer_assign(&gate->listeners[door].pause, base, on_pause_over, &gate->listeners[door]);
    }
    if (!build(gate, err)) {
        gate_free(gate);
        return NULL;
    }
    return gate;
}

void gate_free(struct gate *gate) {
    if (gate == NULL) {
        return;
    }
    close_listeners(gate);
    evtimer_del(&gate->shutdown_timer);
    gate->is_stopping = false;
    struct connection *connection;
    struct connection *next;
    DL_FOREACH_SAFE(gate->connections, connection, next) {
        connection_free(connection);
    }
    activity_free(gate->activity);
    provisioner_client_free(gate->provisioner);
    pipe_pool_free(gate->pipes);
    free(gate->authorizer_path);
    free(gate);
}
