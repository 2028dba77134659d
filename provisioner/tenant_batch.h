/* tenant_batch.h - something done to many tenants, so many at once and a few in each turn of the event loop, so that
 * thousands keep nobody else waiting. Tenants are remembered by route key: one may vanish meanwhile. */
#ifndef TERMINALS_PROVISIONER_TENANT_BATCH_H
#define TERMINALS_PROVISIONER_TENANT_BATCH_H

#include "provisioner/tenants.h"

/* So many are under way at once (where files are removed, each on a thread). */
#define TENANT_BATCH_AT_ONCE 16

struct tenant_batch;

/* What is done. `begin` does it to one tenant, and leads to one tenant_batch_one_done() for it, at once or later; a
 * tenant that is gone by then is passed over. `finished` is called once, when all is done, or with *err when memory is
 * out and nothing is under way any more; it may free the batch. */
struct tenant_batch_calls {
    void (*begin)(void *argument, struct tenant *tenant);
    void (*finished)(void *argument, const struct error *err);
    void *argument;
};

/* With room for all tenants there are now. NULL: no memory. tenant_batch_free() takes NULL. */
struct tenant_batch *tenant_batch_new(struct provisioner *provisioner, const struct tenant_batch_calls *calls);
void tenant_batch_free(struct tenant_batch *batch);

/* Each tenant once: there is no room for more. */
void tenant_batch_add(struct tenant_batch *batch, const struct tenant *tenant);
size_t tenant_batch_count(const struct tenant_batch *batch);

/* One of those that were added; NULL if it is gone. */
struct tenant *tenant_batch_tenant(const struct tenant_batch *batch, size_t index);

/* Begins. */
void tenant_batch_run(struct tenant_batch *batch);

/* One is done. While the provisioner is closing, nothing follows from it. */
void tenant_batch_one_done(struct tenant_batch *batch);

#endif
