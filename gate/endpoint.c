#include "gate/endpoint.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

bool endpoint_open(struct endpoint *endpoint, struct event_base *base, int fd, event_callback_fn callback,
                   void *context) {
    *endpoint = (struct endpoint){.fd = fd};
    short what = EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST;
    if (evutil_make_socket_nonblocking(fd) != 0 ||
        event_assign(&endpoint->event, base, fd, what, callback, context) != 0 ||
        event_add(&endpoint->event, NULL) != 0) {
        close(fd);
        endpoint->fd = -1;
        return false;
    }
    return true;
}

void endpoint_close(struct endpoint *endpoint) {
    if (endpoint->fd >= 0) {
        event_del(&endpoint->event);
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
    endpoint->writable |= (what & EV_WRITE) != 0;
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
        endpoint->writable = false;
        return 0;
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
