/* health_probe.h - waits until an instance answers `GET /health` with 200.
 *
 * The pauses between two tries are an eighth of the time passed so far, 1 ms at least and 50 ms at most: an instance
 * that needs 10 ms is noticed within about one more, one that needs a minute is not hammered. */
#ifndef TERMINALS_PROVISIONER_HEALTH_PROBE_H
#define TERMINALS_PROVISIONER_HEALTH_PROBE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct health_probe;

/* `err` is NULL when it answered, else says what came last: ERROR_TIMEOUT, or ERROR_CAPACITY where we
 * could not ask, for want of descriptors or memory. `is_refused`: that was a refused
 * connection. Nobody listens there, while whoever is silent may be busy, stopped, or cut off from us. */
typedef void health_probe_done(void *argument, const struct error *err, bool is_refused);

/* Probes http://host:port/health, with `key` as bearer token unless it is NULL, for timeout_ms at most. The texts are
 * copied. Calls `done` once, later, unless cancelled before. NULL: no memory, or `host` is not an IP address. */
struct health_probe *health_probe_start(struct event_base *base, const char *host, uint16_t port, const char *key,
                                        int timeout_ms, health_probe_done *done, void *argument);

/* Not after `done`. NULL is fine. */
void health_probe_cancel(struct health_probe *probe);

#endif
