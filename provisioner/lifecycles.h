/* lifecycles.h - what happens by itself to the folders of a policy's tenants: their scheduled resets. In the database,
 * and in memory by policy.
 *
 * A schedule counts from the moment it was set: what was due before that, by another schedule or by none, is not due
 * any more. */
#ifndef TERMINALS_PROVISIONER_LIFECYCLES_H
#define TERMINALS_PROVISIONER_LIFECYCLES_H

#include "common/json.h"
#include "provisioner/provisioner.h"

#define LIFECYCLE_NEXT_RESETS 5 /* so many the API shows */

/* Reads them from the database, after the policies. One whose time zone the system does not know any more stays, and
 * does nothing until it is set anew. */
bool lifecycles_load(struct provisioner *provisioner, struct error *err);
void lifecycles_free(struct provisioner *provisioner);

/* Gives a policy the lifecycle {"reset": {"schedule", "timezone"}}; without `reset` it has none any more. The same
 * again changes nothing. False with *err: ERROR_NOT_FOUND (the policy), ERROR_INVALID with the name of the member that
 * is wrong, also where the schedule has no time after `now_ms`. `data` is borrowed. */
bool lifecycles_set(struct provisioner *provisioner, const char *policy_id, struct json_object *data, int64_t now_ms,
                    struct error *err);

/* A policy and its row are gone, and with it its lifecycle's. */
void lifecycles_forget(struct provisioner *provisioner, const char *policy_id);

/* The newest time (Unix ms) that has come by `now_ms` since the schedule was set; 0: none. */
int64_t lifecycles_due_ms(struct provisioner *provisioner, const char *policy_id, int64_t now_ms);

/* A policy's lifecycle as the API shows it, {"reset", "next_resets", "error"}. NULL: no memory. */
struct json_object *lifecycle_to_json(struct provisioner *provisioner, const char *policy_id, int64_t now_ms);

#endif
