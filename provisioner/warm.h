/* warm.h - instances that are kept ready for whoever comes: as many of a policy as its member `warm` says.
 *
 * A warm instance is a tenant of nobody's (TENANT_WARM_USER) until it is handed over: it is started, watched, adopted
 * by a successor and stopped like any other, but has no home, no route and no place in what the API shows. It has a key
 * of its own, which it keeps.
 *
 * Handing over: it is asked whether it still answers; its row says `stopping`; the user's folder appears in it
 * (hand_over() of its backend); and in one transaction its row is deleted and the user's says that the instance is his.
 * Whoever finds a row that says `stopping` ends the instance: one that may have a user's folder in it is never handed
 * to somebody else, whenever we are killed. */
#ifndef TERMINALS_PROVISIONER_WARM_H
#define TERMINALS_PROVISIONER_WARM_H

#include "provisioner/tenants.h"

#define WARM_STARTS_AT_ONCE 4     /* and none while a user's start waits for its turn */
#define WARM_FAILURES_MAX   3     /* handovers in a row, and no more instances are kept warm */
#define WARM_RETRY_MS       30000 /* after one of the same policy has failed */

/* Starts what is missing, and stops what is too many or was started with another policy than today's. Also called when
 * one was taken. */
void warm_tend(struct provisioner *provisioner);

/* Gives the tenant, who has no instance, a warm one of his policy: calls `done` once, perhaps before this returns, with
 * whether it is running now and his, saved and all. The tenant may be gone by then; then so is the instance. False:
 * there is none. */
bool warm_take(struct provisioner *provisioner, const struct tenant *tenant, struct json_object *actor,
               void (*done)(void *argument, bool is_running), void *argument);

/* {"ready", "hits", "misses"}. NULL: no memory. */
struct json_object *warm_starts_json(const struct provisioner *provisioner);

#endif
