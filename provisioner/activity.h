/* activity.h - when a tenant was last active, in memory and, a little later, in the database. */
#ifndef TERMINALS_PROVISIONER_ACTIVITY_H
#define TERMINALS_PROVISIONER_ACTIVITY_H

#include "provisioner/tenants.h"

/* How often what is unsaved is written: a kill forgets no more than that. */
#define ACTIVITY_FLUSH_SECONDS 5

/* The tenant was active at `monotonic_ms`; an older time than the one known changes nothing. */
void activity_touch(struct tenant *tenant, int64_t monotonic_ms);

/* What keeps an instance from being idle at this moment, as far as HAProxy (activity_merge()) and the gate have told.
 */
enum activity_reason {
    ACTIVITY_NONE,
    ACTIVITY_POLICY,   /* it is never stopped for being idle */
    ACTIVITY_SHELL,    /* the gate moves bytes of it: of a shell, or of the request that started it */
    ACTIVITY_REQUESTS, /* requests are open */
};
#define ACTIVITY_RECENT_MS 2500 /* the gate reports once a second */
enum activity_reason activity_reason(const struct tenant *tenant);

/* What HAProxy's stick tables know (haproxy_runtime.h). A request under way is activity now. */
void activity_merge(struct provisioner *provisioner, const struct route_activity *routes, size_t count);

/* Writes all changed times in one transaction, and rows that the database would not take before; what it does not take
 * now is kept on disk (backlog.h) and tried again. */
void activity_flush(struct provisioner *provisioner);

/* Takes over what a predecessor kept on disk. */
bool activity_load_backlog(struct provisioner *provisioner, struct error *err);

#endif
