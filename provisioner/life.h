/* life.h - why an instance runs, and until when: what the API says of it. */
#ifndef TERMINALS_PROVISIONER_LIFE_H
#define TERMINALS_PROVISIONER_LIFE_H

#include "common/json.h"
#include "provisioner/tenants.h"

/* Adds `started_at`, `last_active_at`, `idle_seconds`, `idle_timeout_minutes`, `kept_alive_by` and `stops_at`
 * (docs/api.md), as far as HAProxy (activity_merge()) and the gate have told. False: no memory. */
bool life_add(struct json_object *object, const struct tenant *tenant);

#endif
