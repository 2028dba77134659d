/* starts.h - bringing instances up: one start for all who ask, not too many at once. */
#ifndef TERMINALS_PROVISIONER_STARTS_H
#define TERMINALS_PROVISIONER_STARTS_H

#include "provisioner/tenants.h"

#define STARTS_QUEUE_MAX 10000

/* Somebody needs the tenant's instance: calls `done` once, with the tenant when it runs (perhaps before this returns),
 * or with what went wrong. A drain is called off; a start under way is shared; after a stop or a deletion under way a
 * new start begins, if a stop takes no longer than a start may. `actor` (may be NULL) is who is to be named in the
 * audit log. */
void starts_want(struct provisioner *provisioner, struct tenant *tenant, struct json_object *actor,
                 waiter_function *done, void *argument);

/* Starts a stopped tenant for those already in its start_waiters, as soon as there is room for it (quota.h). The tenant
 * may be gone afterwards, if it never existed in the database. */
void starts_begin(struct provisioner *provisioner, struct tenant *tenant, struct json_object *actor);

/* What the backend says about a start. The tenant is `provisioning`. */
void starts_succeeded(struct provisioner *provisioner, struct tenant *tenant);
void starts_failed(struct provisioner *provisioner, struct tenant *tenant, const struct error *err);

/* Its start has failed, but whether this node leads is not certain now: calls stops_abandon_start() with that failure
 * again in a moment, unless the start has ended in another way by then. */
void starts_look_again(struct provisioner *provisioner, struct tenant *tenant, const struct error *failure);

/* The tenant is no longer starting, for whatever reason: gives its place to the next one. */
void starts_leave(struct provisioner *provisioner, struct tenant *tenant);

#endif
