/* refresh.h - stopping what runs so that the next access starts afresh, and on request emptying the folders.
 *
 * With `only_idle`, an instance counts as active while requests of it are open or its shells move bytes, whatever its
 * idle timeout. As in a sweep (idle.h) its route is taken away first, and a request that comes in between keeps it. */
#ifndef TERMINALS_PROVISIONER_REFRESH_H
#define TERMINALS_PROVISIONER_REFRESH_H

#include "provisioner/provisioner.h"
#include "provisioner/request.h"

struct refresh_result {
    size_t matched;        /* instances; with `reset`, tenants that have none as well */
    size_t refreshed;      /* instances stopped */
    size_t reset;          /* folders emptied */
    size_t skipped_active; /* kept, because somebody uses them */
};

typedef void refresh_done(void *argument, const struct refresh_result *result, const struct error *err);

/* Calls `done` once, when all is done. `err` is NULL unless nothing was begun. `actor` (may be NULL) is whom the audit
 * log names. */
void refresh_begin(struct provisioner *provisioner, const struct refresh_filter *filter, struct json_object *actor,
                   refresh_done *done, void *argument);

/* At the end, when nobody reports to them any more: gives up those under way. */
void refresh_free_all(struct provisioner *provisioner);

#endif
