#include "provisioner/stops.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/names.h"
#include "provisioner/adoption.h"
#include "provisioner/audit.h"
#include "provisioner/node.h"
#include "provisioner/pre_stop.h"
#include "provisioner/routes.h"
#include "provisioner/starts.h"
#include "provisioner/tenant_files.h"

static void stop_now(struct tenant *tenant) {
    tenant->provisioner->operations->stop(tenant->provisioner->backend, tenant->record.instance_id);
}

/* Once the tenant is `stopping`: nobody reaches the instance any more, then it ends. The tenant may be gone
 * afterwards. */
static void end_instance(struct provisioner *provisioner, struct tenant *tenant) {
    tenant->is_draining = false;
    route_withdraw(provisioner, tenant);
    starts_leave(provisioner, tenant);
    /* While it is being adopted the backend does not know yet what there is to stop: backend_events.c goes on when it
     * does. */
    if (tenant->is_being_adopted) {
        adoption_hurry(provisioner, tenant);
    } else if (!tenant->pre_stop_is_due || !pre_stop_begin(tenant, stop_now)) {
        stop_now(tenant);
    }
}

static void tell_start_waiters(struct tenant *tenant, const char *reason) {
    struct error err;
    error_set(&err, ERROR_CAPACITY, "the instance was %s while it started", reason);
    waiters_tell(&tenant->start_waiters, NULL, &err);
}

/* It is in the queue, and nothing of it exists. */
static void withdraw_queued(struct provisioner *provisioner, struct tenant *tenant) {
    starts_leave(provisioner, tenant);
    tenant_set_live(provisioner, tenant, false);
    tenant_settle(provisioner, tenant, INSTANCE_ENDED);
}

enum stop_progress { STOP_DONE, STOP_UNDER_WAY, STOP_FAILED };

/* Does what can be done now. With STOP_UNDER_WAY, the state is `stopping` and the caller calls end_instance() if it was
 * not before (*is_new). */
static enum stop_progress stop_begin(struct provisioner *provisioner, struct tenant *tenant, bool *is_new,
                                     struct error *err) {
    *is_new = false;
    switch (tenant->record.status) {
    case INSTANCE_STOPPED:
        return STOP_DONE;
    case INSTANCE_ERROR:
        tenant_set_error(tenant, NULL);
        tenant_settle(provisioner, tenant, INSTANCE_ENDED);
        return STOP_DONE;
    case INSTANCE_STOPPING:
        return STOP_UNDER_WAY;
    default:
        break;
    }
    if (tenant->is_queued) {
        withdraw_queued(provisioner, tenant);
        return STOP_DONE;
    }
    tenant->pre_stop_is_due = tenant->record.status == INSTANCE_RUNNING;
    *is_new = tenant_begin(provisioner, tenant, INSTANCE_STOP, err);
    return *is_new ? STOP_UNDER_WAY : STOP_FAILED;
}

void stops_want(struct provisioner *provisioner, struct tenant *tenant, const char *action, struct json_object *actor,
                waiter_function *done, void *argument) {
    struct error err = {.code = ERROR_INTERNAL, .message = "out of memory"};
    bool is_new = false;
    /* First the place on the list: nothing may fail between the stop and the promise to tell. */
    if (!waiter_add(&tenant->stop_waiters, done, argument)) {
        done(argument, NULL, &err);
        return;
    }
    if (tenant->is_queued && action != NULL) {
        audit_stage(provisioner, audit_row_of_tenant(tenant, action, NULL, "before it had started", actor));
    }
    enum stop_progress progress = stop_begin(provisioner, tenant, &is_new, &err);
    if (progress == STOP_FAILED) {
        waiters_tell(&tenant->stop_waiters, NULL, &err);
        return;
    }
    if (progress == STOP_DONE || is_new) {
        tell_start_waiters(tenant, "stopped");
    }
    if (progress == STOP_DONE) {
        waiters_tell(&tenant->stop_waiters, tenant, NULL);
    } else if (is_new) {
        audit_row_free(tenant->stop_row);
        tenant->stop_row = action == NULL ? NULL : audit_row_of_tenant(tenant, action, NULL, NULL, actor);
        tenant_set_actor(tenant, actor);
        end_instance(provisioner, tenant);
    }
}

void stops_abandon_start(struct provisioner *provisioner, struct tenant *tenant, const struct error *reason) {
    if (tenant->start_failure == NULL) { /* else it has been told and counted */
        log_error(json_get_string(tenant->actor, "request_id"), "start instance %s: %s", tenant->record.instance_name,
                  reason->message);
        stats_start_failed(&provisioner->stats, reason->code);
    }
    if (!node_may_act(provisioner->node)) {
        /* Perhaps it is another node's by now, and well: who leads, and whether this goes on, is seen in a moment. */
        starts_look_again(provisioner, tenant, reason);
        waiters_tell(&tenant->start_waiters, NULL, reason);
        return;
    }
    tenant->is_abandoned = true;
    tenant->pre_stop_is_due = false;
    tenant_set_error(tenant, reason->message);
    tenant_settle(provisioner, tenant, INSTANCE_STOP);
    waiters_tell(&tenant->start_waiters, NULL, reason);
    end_instance(provisioner, tenant);
}

/* --- deletion ---------------------------------------------------------------------------------------------------- */

static void deletion_failed(struct provisioner *provisioner, struct tenant *tenant, const struct error *err) {
    log_error(json_get_string(tenant->actor, "request_id"), "delete tenant %s: %s", tenant->record.id, err->message);
    tenant->is_being_deleted = false;
    tenant->purge = false;
    waiters_tell(&tenant->delete_waiters, NULL, err);
    if (tenant->start_waiters != NULL) {
        starts_begin(provisioner, tenant, NULL);
    }
}

/* The tenant is gone; somebody wanted a start meanwhile: a new tenant of the same name takes over the waiters. */
static void start_successor(struct provisioner *provisioner, const struct tenant_name *name, struct waiter *waiters) {
    struct error err;
    struct tenant *tenant = tenants_add(provisioner, name, &err);
    if (tenant == NULL) {
        waiters_tell(&waiters, NULL, &err);
        return;
    }
    tenant->start_waiters = waiters;
    starts_begin(provisioner, tenant, NULL);
}

/* The tenant's row, and the one in the audit log that says so. */
static bool delete_row(struct provisioner *provisioner, struct tenant *tenant, struct error *err) {
    struct audit_row *row =
        audit_stage(provisioner, audit_row_of_tenant(tenant, "tenant_deleted", NULL,
                                                     tenant->purge ? "with its files" : NULL, tenant->actor));
    if (!store_begin(provisioner->store, err) ||
        !store_end(provisioner->store,
                   store_delete_tenant(provisioner->store, tenant->record.id, err) &&
                       audit_write_staged(provisioner, err),
                   err)) {
        audit_unstage(provisioner, row);
        return false;
    }
    audit_staged_written(provisioner);
    return true;
}

static void deletion_finish(struct provisioner *provisioner, struct tenant *tenant) {
    struct error err;
    if (!delete_row(provisioner, tenant, &err)) {
        deletion_failed(provisioner, tenant, &err);
        return;
    }
    struct waiter *delete_waiters = tenant->delete_waiters;
    struct waiter *start_waiters = tenant->start_waiters;
    tenant->delete_waiters = tenant->start_waiters = NULL;
    cleanup_free char *user_id = steal_pointer(&tenant->record.user_id);
    cleanup_free char *policy_id = steal_pointer(&tenant->record.policy_id);
    cleanup_free char *context_id = steal_pointer(&tenant->record.context_id);
    struct tenant_name name = {.user_id = user_id, .policy_id = policy_id, .context_id = context_id};
    memcpy(name.route_key, tenant->record.route_key, sizeof name.route_key);
    tenants_remove(provisioner, tenant);
    waiters_tell(&delete_waiters, NULL, NULL);
    if (start_waiters != NULL) {
        start_successor(provisioner, &name, start_waiters);
    }
}

static void on_cleared(void *argument, const struct error *err) {
    struct tenant *tenant = argument;
    if (err != NULL) {
        deletion_failed(tenant->provisioner, tenant, err);
    } else {
        deletion_finish(tenant->provisioner, tenant);
    }
}

/* The instance is stopped. */
static void deletion_continue(struct provisioner *provisioner, struct tenant *tenant) {
    if (tenant->purge && tenant_files_exist(provisioner)) {
        tenant_files_remove(provisioner, tenant, false, on_cleared, tenant);
    } else {
        tenant_files_keep(provisioner, tenant, on_cleared, tenant);
    }
}

void stops_want_deletion(struct provisioner *provisioner, struct tenant *tenant, bool purge, struct json_object *actor,
                         waiter_function *done, void *argument) {
    struct error err = {.code = ERROR_INTERNAL, .message = "out of memory"};
    bool is_new = false;
    if (!waiter_add(&tenant->delete_waiters, done, argument)) {
        done(argument, NULL, &err);
        return;
    }
    if (tenant->is_being_deleted) {
        /* Too late for a purge if the folder is past: then the first request's word holds. */
        tenant->purge = tenant->purge || (purge && tenant->record.status == INSTANCE_STOPPING);
        return;
    }
    enum stop_progress progress = stop_begin(provisioner, tenant, &is_new, &err);
    if (progress == STOP_FAILED) {
        waiters_tell(&tenant->delete_waiters, NULL, &err);
        return;
    }
    tenant->is_being_deleted = true;
    tenant->purge = purge;
    tenant_set_actor(tenant, actor);
    tell_start_waiters(tenant, "deleted");
    if (progress == STOP_DONE) {
        waiters_tell(&tenant->stop_waiters, tenant, NULL);
        deletion_continue(provisioner, tenant);
    } else if (is_new) {
        end_instance(provisioner, tenant);
    }
}

void stops_finished(struct provisioner *provisioner, struct tenant *tenant) {
    log_info(json_get_string(tenant->actor, "request_id"), "instance %s stopped", tenant->record.instance_name);
    starts_leave(provisioner, tenant); /* who waits for the start has all of its time from here on */
    tenant_set_live(provisioner, tenant, false);
    audit_stage(provisioner, steal_pointer(&tenant->stop_row));
    tenant_settle(provisioner, tenant, tenant->is_abandoned ? INSTANCE_FAILED : INSTANCE_ENDED);
    tenant->is_abandoned = false;
    waiters_tell(&tenant->stop_waiters, tenant, NULL);
    if (tenant->is_being_deleted) {
        deletion_continue(provisioner, tenant);
        return;
    }
    tenant_set_actor(tenant, NULL);
    if (tenant->start_waiters != NULL) {
        starts_begin(provisioner, tenant, NULL);
    }
}
