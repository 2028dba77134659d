/* health.h - finds out when everything answers: the provisioner, and then /health of HAProxy.
 *
 * Only an answer counts. A connection says nothing: our sockets are open (unix_listener.h) before anybody reads them.
 */
#ifndef TERMINALS_CLI_HEALTH_H
#define TERMINALS_CLI_HEALTH_H

#include <event2/event.h>

#include "common/error.h"
#include "common/settings.h"

struct health;

/* Where a program on this machine reaches us: the host of the settings, or the loopback address if that is any. */
const char *health_reachable_host(const struct settings *settings);

/* Asks again and again from now on, and calls `ready` once, when all have answered. NULL with *err. */
struct health *health_watch(struct event_base *base, const struct settings *settings, void (*ready)(void *argument),
                            void *argument, struct error *err);
void health_free(struct health *health);

#endif
