#include "gate/endpoint.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALLS_BETWEEN_LOOKS 64

struct event_base *endpoint_base_new(void) {
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config != NULL && event_config_set_max_dispatch_interval(config, NULL, CALLS_BETWEEN_LOOKS, 0) == 0) {
        base = event_base_new_with_config(config);
    }
    if (config != NULL) {
        event_config_free(config);
    }
    return base;
}

bool endpoint_open(struct endpoint *endpoint, struct event_base *base, int fd, event_callback_fn callback,
                   void *context) {
    *endpoint = (struct endpoint){.fd = fd};
    bool is_ready =
        evutil_make_socket_nonblocking(fd) == 0 &&
        event_assign(&endpoint->event, base, fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, callback, context) == 0 &&
        event_assign(&endpoint->write_event, base, fd, EV_WRITE | EV_ET | EV_PERSIST, callback, context) == 0 &&
        event_add(&endpoint->event, NULL) == 0;
    if (is_ready && event_add(&endpoint->write_event, NULL) != 0) {
        event_del(&endpoint->event);
        is_ready = false;
    }
    if (!is_ready) {
        close(fd);
        endpoint->fd = -1;
    }
    return is_ready;
}

void endpoint_close(struct endpoint *endpoint) {
    if (endpoint->fd >= 0) {
        event_del(&endpoint->event);
        event_del(&endpoint->write_event);
        close(endpoint->fd);
        endpoint->fd = -1;
    }
    endpoint->readable = false;
    endpoint->writable = false;
}

void endpoint_reset(struct endpoint *endpoint) {
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (endpoint->fd >= 0) {
        setsockopt(endpoint->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); /* without it, it is closed all the same */
    }
    endpoint_close(endpoint);
}

void endpoint_note(struct endpoint *endpoint, short what) {
    /* The end of the stream is read like its bytes. */
    endpoint->readable |= (what & (EV_READ | EV_CLOSED)) != 0;
    if ((what & EV_WRITE) != 0) {
        if (endpoint->writable && !endpoint->is_write_ignored && event_del(&endpoint->write_event) == 0) {
            endpoint->is_write_ignored = true; /* that was no news */
        }
        endpoint->writable = true;
    }
}

bool endpoint_is_full(struct endpoint *endpoint) {
    endpoint->writable = false;
    if (endpoint->is_write_ignored) {
        endpoint->is_write_ignored = event_add(&endpoint->write_event, NULL) != 0;
    }
    return !endpoint->is_write_ignored;
}

void endpoint_wake(struct endpoint *endpoint) {
    if (endpoint->fd >= 0) {
        event_active(&endpoint->event, EV_TIMEOUT, 0);
    }
}

ssize_t endpoint_send(struct endpoint *endpoint, const void *bytes, size_t length) {
    ssize_t sent;
    do {
        sent = send(endpoint->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return endpoint_is_full(endpoint) ? 0 : -1;
    }
    return sent < 0 ? -1 : sent;
}

ssize_t endpoint_receive(struct endpoint *endpoint, void *bytes, size_t length, int flags) {
    ssize_t received;
    do {
        received = recv(endpoint->fd, bytes, length, flags | MSG_DONTWAIT);
    } while (received < 0 && errno == EINTR);
    if (received > 0) {
        return received;
    }
    if (received == 0) {
        return ENDPOINT_END;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        endpoint->readable = false;
        return ENDPOINT_NOTHING;
    }
    return ENDPOINT_FAILED;
}

bool endpoint_is_hung_up(const struct endpoint *endpoint) {
    struct pollfd state = {.fd = endpoint->fd, .events = POLLRDHUP};
    return poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}
