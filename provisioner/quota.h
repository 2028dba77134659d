/* quota.h - how many instances there may be: TERMINALS_MAX_INSTANCES in all, TERMINALS_MAX_INSTANCES_PER_USER of one
 * user.
 *
 * Everything that exists or may exist counts: what waits to start, starts, runs, stops, and what a predecessor left. A
 * start beyond a limit has a warm instance (warm.h) stopped first, where the limit is that of all, else the longest
 * idle instance of the same user stopped first, never somebody else's, and never one that is in use: with open
 * requests, or with a shell in which bytes moved within QUOTA_SHELL_QUIET_MS. A place is counted and taken in one turn
 * of the loop, so that no number of starts at once can exceed a limit. */
#ifndef TERMINALS_PROVISIONER_QUOTA_H
#define TERMINALS_PROVISIONER_QUOTA_H

#include "provisioner/tenants.h"

#define QUOTA_SHELL_QUIET_MS 60000

/* Whether the tenant, which has no instance, may have one now. */
bool quota_has_room(const struct provisioner *provisioner, const struct tenant *tenant);

/* The same as far as the limit of its user goes. */
bool quota_has_room_for_user(const struct provisioner *provisioner, const struct tenant *tenant);

/* There is no room: stops an instance of the tenant's user, or waits for one that is stopping. Calls `done` once,
 * perhaps before this returns: `err` is NULL when one has gone, and says why (ERROR_CAPACITY) when there is none that
 * could go. `actor` (may be NULL) is whom the audit log names. The tenant may be gone by then. */
typedef void quota_done(void *argument, const struct error *err);
void quota_make_room(struct provisioner *provisioner, const struct tenant *tenant, struct json_object *actor,
                     quota_done *done, void *argument);

/* At the end, after all that calls back: gives up who waits still. */
void quota_free_all(struct provisioner *provisioner);

#endif
