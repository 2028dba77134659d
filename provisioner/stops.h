/* stops.h - bringing instances down, and forgetting tenants. */
#ifndef TERMINALS_PROVISIONER_STOPS_H
#define TERMINALS_PROVISIONER_STOPS_H

#include "provisioner/tenants.h"

/* Somebody wants the tenant's instance stopped: calls `done` once, with the tenant when nothing of it runs any more
 * (perhaps before this returns). A start under way is abandoned and those who wait for it are told. `action` (constant
 * text) is what the audit log calls it, NULL: nothing. */
void stops_want(struct provisioner *provisioner, struct tenant *tenant, const char *action, struct json_object *actor,
                waiter_function *done, void *argument);

/* Stops the instance, removes its files with `purge`, and forgets the tenant; then calls `done` once, without a tenant.
 * A start that is wanted meanwhile begins after it, as a new tenant. */
void stops_want_deletion(struct provisioner *provisioner, struct tenant *tenant, bool purge, struct json_object *actor,
                         waiter_function *done, void *argument);

/* A start that took too long: tells those who wait, and undoes it; the tenant ends in `error` with this reason. Where
 * it is not certain that this node leads, that waits until it is. */
void stops_abandon_start(struct provisioner *provisioner, struct tenant *tenant, const struct error *reason);

/* Nothing of a `stopping` instance runs any more. The tenant may be gone afterwards. */
void stops_finished(struct provisioner *provisioner, struct tenant *tenant);

#endif
