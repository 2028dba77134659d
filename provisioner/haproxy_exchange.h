/* haproxy_exchange.h - one command on one of HAProxy's sockets: connect, say it, read until HAProxy closes.
 *
 * A connection a command, not a lasting one in prompt mode: the end of an answer is then the end of the connection
 * and needs no guessing, and after a reload the next command reaches the new worker and not the one that keeps old
 * connections. It costs about 50 µs. */
#ifndef TERMINALS_PROVISIONER_HAPROXY_EXCHANGE_H
#define TERMINALS_PROVISIONER_HAPROXY_EXCHANGE_H

#include <event2/event.h>
#include <stddef.h>

#define HAPROXY_SILENCE_MAX_MS 5000 /* an HAProxy that says nothing for so long is taken for dead */

struct haproxy_exchange;

/* `answer` ends with a NUL and is borrowed; NULL if HAProxy is not there or went away before it had answered. */
typedef void haproxy_exchange_done(void *argument, const char *answer);

/* Sends `command` (without its final line feed) and calls `done` once, never from inside this call, unless cancelled
 * before. NULL: nothing listens there, or no memory. */
struct haproxy_exchange *haproxy_exchange_start(struct event_base *base, const char *socket_path, const char *command,
                                                haproxy_exchange_done *done, void *argument);

/* Not after `done`. NULL is fine. */
void haproxy_exchange_cancel(struct haproxy_exchange *exchange);

#endif
