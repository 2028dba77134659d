/* endpoint.h - a connected non-blocking socket in the event loop.
 *
 * Registered once, edge-triggered, for reading and hanging up: nothing is registered anew when the interest changes,
 * and a socket that nobody wants to read for a while causes no wake-ups. The price: whoever stops before EAGAIN must
 * come back by itself, for which `readable` and `writable` remember what the kernel last said.
 *
 * For writing it is registered until it says so while it is known: a Unix socket tells each time its peer has read,
 * which would wake us twice for every keystroke. Whoever meets EAGAIN has it registered again (endpoint_is_full()). */
#ifndef TERMINALS_GATE_ENDPOINT_H
#define TERMINALS_GATE_ENDPOINT_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct endpoint {
    int fd; /* -1: closed */
    bool readable;
    bool writable;
    bool is_write_ignored; /* `write_event` is not registered */
    struct event event;
    struct event write_event;
};

#define ENDPOINT_CLOSED                                                                                                \
    (struct endpoint) {                                                                                                \
        .fd = -1                                                                                                       \
    }

/* The event loop for endpoints. NULL: no memory.
 *
 * Whoever is woken (endpoint_wake()) is called by libevent before it looks for anybody else's news, and so is whoever
 * wakes himself each time: this loop looks after every few calls. */
struct event_base *endpoint_base_new(void);

/* Takes over `fd` (also on failure), makes it non-blocking, and calls `callback` with `context` from now on whenever
 * something happened on it. The flags are up to date when it is called through endpoint_note(). */
bool endpoint_open(struct endpoint *endpoint, struct event_base *base, int fd, event_callback_fn callback,
                   void *context);
void endpoint_close(struct endpoint *endpoint);

/* The same, and what is still on its way is thrown away (RST): a peer that does not read would keep the kernel sending,
 * and would see the end only behind it. */
void endpoint_reset(struct endpoint *endpoint);

/* To be called first in the callback: notes what the event says. */
void endpoint_note(struct endpoint *endpoint, short what);

/* Writing said EAGAIN: `writable` is false until the callback is called because it can be written to again. False, and
 * nothing will call, when there is no memory for that. */
bool endpoint_is_full(struct endpoint *endpoint);

/* Has the callback called again, once others have been. */
void endpoint_wake(struct endpoint *endpoint);

/* send(2): the number of bytes taken, 0 if none can be now, -1 when the peer is gone. */
ssize_t endpoint_send(struct endpoint *endpoint, const void *bytes, size_t length);

enum { ENDPOINT_NOTHING = 0, ENDPOINT_END = -1, ENDPOINT_FAILED = -2 };

/* recv(2) with `flags`: the number of bytes, or one of the above. */
ssize_t endpoint_receive(struct endpoint *endpoint, void *bytes, size_t length, int flags);

/* True once the peer has closed the socket or it failed. A peer that only said that it will send no more (half-close)
 * is still there. */
bool endpoint_is_hung_up(const struct endpoint *endpoint);

#endif
