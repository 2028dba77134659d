/* health.h - asks our own port for /health until it says 200. */
#ifndef TERMINALS_CLI_HEALTH_H
#define TERMINALS_CLI_HEALTH_H

#include <event2/event.h>

#include "common/error.h"
#include "common/settings.h"

struct health;

/* Where a program on this machine reaches us: the host of the settings, or the loopback address if that is any. */
const char *health_reachable_host(const struct settings *settings);

/* Asks every 25 ms from now on, and calls `ready` once, on the first 200. NULL with *err. */
struct health *health_watch(struct event_base *base, const struct settings *settings, void (*ready)(void *argument),
                            void *argument, struct error *err);
void health_free(struct health *health);

#endif
