/* lease.h - which of several operators leads: whoever holds the Lease `terminals-operator` (coordination.k8s.io/v1), as
 * client-go's leader election has it.
 *
 * The holder renews it; who sees it unchanged for as long as it says it lasts, by its own clock, takes it. Writes carry
 * the version that was read, so that of two one loses. A holder that could not renew it in two thirds of that time
 * stops leading, before anybody can take it. An operator that comes back under the same name leads at once. */
#ifndef TERMINALS_PROVISIONER_OPERATOR_LEASE_H
#define TERMINALS_PROVISIONER_OPERATOR_LEASE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "provisioner/backends/kubernetes_client.h"

struct lease;

/* `identity` is copied. `changed` is called when we begin and when we cease to lead, from the event loop. NULL: no
 * memory.
 */
struct lease *lease_open(struct kubernetes_client *client, struct event_base *base, const char *identity,
                         int64_t duration_s, void (*changed)(void *argument, bool leads), void *argument);
/* Holds it no longer, without telling anybody. NULL is fine. */
void lease_close(struct lease *lease);

bool lease_leads(const struct lease *lease);

/* Gives it back, so that the next need not wait; `done` is called once that is written, or could not be. */
void lease_release(struct lease *lease, void (*done)(void *argument), void *argument);

#endif
