#include "provisioner/tenant_batch.h"

#include <stdlib.h>
#include <string.h>

#define TENANTS_A_TURN 4

struct tenant_batch {
    struct provisioner *provisioner;
    struct tenant_batch_calls calls;
    char (*keys)[DIGEST_HEX_SIZE];
    size_t count;
    size_t next; /* of `keys` */
    size_t in_progress;
    bool is_advancing;  /* no recursion */
    struct event *step; /* goes on in the next turn of the loop */
};

static void advance(struct tenant_batch *batch);

static void on_step(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    advance(argument);
}

struct tenant_batch *tenant_batch_new(struct provisioner *provisioner, const struct tenant_batch_calls *calls) {
    struct tenant_batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        return NULL;
    }
    batch->provisioner = provisioner;
    batch->calls = *calls;
    batch->keys = calloc(HASH_CNT(by_route, provisioner->tenants_by_route) + 1, sizeof *batch->keys);
    batch->step = event_new(provisioner->base, -1, 0, on_step, batch);
    if (batch->keys == NULL || batch->step == NULL) {
        tenant_batch_free(batch);
        return NULL;
    }
    return batch;
}

void tenant_batch_free(struct tenant_batch *batch) {
    if (batch == NULL) {
        return;
    }
    if (batch->step != NULL) {
        event_free(batch->step);
    }
    free(batch->keys);
    free(batch);
}

void tenant_batch_add(struct tenant_batch *batch, const struct tenant *tenant) {
    memcpy(batch->keys[batch->count++], tenant->record.route_key, DIGEST_HEX_SIZE);
}

size_t tenant_batch_count(const struct tenant_batch *batch) {
    return batch->count;
}

struct tenant *tenant_batch_tenant(const struct tenant_batch *batch, size_t index) {
    return tenants_find(batch->provisioner, batch->keys[index]);
}

/* What is done at once comes back here and does not recurse. */
static void advance(struct tenant_batch *batch) {
    if (batch->is_advancing) {
        return;
    }
    batch->is_advancing = true;
    for (int i = 0; i < TENANTS_A_TURN && batch->next < batch->count && batch->in_progress < TENANT_BATCH_AT_ONCE;
         i++) {
        struct tenant *tenant = tenant_batch_tenant(batch, batch->next++);
        if (tenant != NULL) {
            batch->in_progress++;
            batch->calls.begin(batch->calls.argument, tenant);
        }
    }
    batch->is_advancing = false;
    if (batch->next == batch->count && batch->in_progress == 0) {
        batch->calls.finished(batch->calls.argument, NULL);
    } else if (batch->next < batch->count && batch->in_progress < TENANT_BATCH_AT_ONCE) {
        /* A timer: event_active() would come back before anybody else is looked after. */
        const struct timeval at_once = {0};
        if (event_add(batch->step, &at_once) < 0 && batch->in_progress == 0) {
            struct error err;
            error_set(&err, ERROR_INTERNAL, "out of memory");
            batch->calls.finished(batch->calls.argument, &err);
        }
    }
}

void tenant_batch_run(struct tenant_batch *batch) {
    advance(batch);
}

void tenant_batch_one_done(struct tenant_batch *batch) {
    batch->in_progress--;
    if (!batch->provisioner->is_closing) {
        advance(batch);
    }
}
