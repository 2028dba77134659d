#include "provisioner/activity.h"

#include <stdlib.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/audit.h"
#include "provisioner/backlog.h"
#include "provisioner/policies.h"

void activity_touch(struct tenant *tenant, int64_t monotonic_ms) {
    if (monotonic_ms <= tenant->last_active_ms) {
        return;
    }
    tenant->last_active_ms = monotonic_ms;
    tenant->record.last_accessed_at_ms = clock_unix_ms() - (clock_monotonic_ms() - monotonic_ms);
    tenant->access_is_unsaved = true;
}

/* Of what the gate reports. */
static bool is_recent(int64_t reported_ms) {
    return reported_ms > 0 && clock_monotonic_ms() - reported_ms < ACTIVITY_RECENT_MS;
}

enum activity_reason activity_reason(const struct tenant *tenant) {
    const struct provisioner *provisioner = tenant->provisioner;
    if (tenant->has_requests || is_recent(tenant->exchange_active_ms)) {
        return ACTIVITY_REQUESTS;
    }
    if (is_recent(tenant->shell_active_ms)) {
        return ACTIVITY_SHELL;
    }
    return provisioner->operations->shares_one_instance ||
                   policies_idle_timeout_ms(provisioner, tenant->record.policy_id) == 0
               ? ACTIVITY_POLICY
               : ACTIVITY_NONE;
}

void activity_merge(struct provisioner *provisioner, const struct route_activity *routes, size_t count) {
    int64_t now_ms = clock_monotonic_ms();
    TENANTS_EACH_LIVE(provisioner, tenant) {
        tenant->has_requests = false;
    }
    for (size_t i = 0; i < count; i++) {
        struct tenant *tenant = tenants_find(provisioner, routes[i].route_key);
        if (tenant != NULL) {
            tenant->has_requests = tenant->has_requests || routes[i].in_flight > 0;
            activity_touch(tenant, routes[i].in_flight > 0 ? now_ms : now_ms - routes[i].idle_ms);
        }
    }
}

static void retry_stale_rows(struct provisioner *provisioner) {
    struct error err;
    TENANTS_EACH(provisioner, tenant) {
        if (tenant->row_is_stale && !tenant_save(provisioner, tenant, &err)) {
            log_error(NULL, "save instance %s: %s (tried again)", tenant->record.instance_name, err.message);
            return;
        }
    }
}

static void retry_staged_audit(struct provisioner *provisioner) {
    struct error err;
    if (!audit_flush(provisioner, &err)) {
        log_error(NULL, "%s (tried again)", err.message);
    }
}

static bool save_accesses(struct provisioner *provisioner, size_t count) {
    struct error err = {.message = "out of memory"};
    cleanup_free struct tenant_access *accesses = calloc(count, sizeof *accesses);
    size_t used = 0;
    TENANTS_EACH(provisioner, tenant) {
        if (accesses != NULL && tenant->access_is_unsaved && used < count) {
            accesses[used++] = (struct tenant_access){tenant->record.id, tenant->record.last_accessed_at_ms};
        }
    }
    if (accesses == NULL || !store_save_accesses(provisioner->store, accesses, used, &err)) {
        log_warning(NULL, "save times of access: %s (tried again)", err.message);
        return false;
    }
    return true;
}

static void keep_accesses(struct provisioner *provisioner, size_t count) {
    struct error err = {.message = "out of memory"};
    cleanup_free struct kept_access *accesses = calloc(count, sizeof *accesses);
    size_t used = 0;
    TENANTS_EACH(provisioner, tenant) {
        if (accesses != NULL && tenant->access_is_unsaved && used < count) {
            accesses[used++] = (struct kept_access){tenant->record.route_key, tenant->record.last_accessed_at_ms};
        }
    }
    if (accesses == NULL || !backlog_keep_accesses(provisioner->backlog, accesses, used, &err)) {
        log_warning(NULL, "keep times of access on disk: %s", err.message);
    }
}

static void tell_backend(const struct provisioner *provisioner, const struct tenant *tenant) {
    void (*touch)(struct backend *, const char *, int64_t) = provisioner->operations->touch;
    if (touch != NULL && provisioner->backend != NULL && tenant->access_is_unsaved &&
        tenant->record.status == INSTANCE_RUNNING) {
        touch(provisioner->backend, tenant->record.instance_id, tenant->record.last_accessed_at_ms);
    }
}

void activity_flush(struct provisioner *provisioner) {
    size_t count = 0;
    bool any_stale = false;
    TENANTS_EACH(provisioner, tenant) {
        tell_backend(provisioner, tenant);
        count += tenant->access_is_unsaved;
        any_stale = any_stale || tenant->row_is_stale;
    }
    if (any_stale) {
        retry_stale_rows(provisioner);
    }
    retry_staged_audit(provisioner);
    if (count == 0) {
        backlog_forget_accesses(provisioner->backlog); /* a predecessor's, which said nothing new */
    } else if (save_accesses(provisioner, count)) {
        TENANTS_EACH(provisioner, tenant) {
            tenant->access_is_unsaved = false;
        }
        backlog_forget_accesses(provisioner->backlog);
    } else {
        keep_accesses(provisioner, count);
    }
}

static void take_kept(void *argument, const struct kept_access *access) {
    struct tenant *tenant = tenants_find(argument, access->route_key);
    int64_t now_ms = clock_unix_ms();
    if (tenant != NULL && access->last_accessed_at_ms > tenant->record.last_accessed_at_ms &&
        access->last_accessed_at_ms <= now_ms) {
        activity_touch(tenant, clock_monotonic_ms() - (now_ms - access->last_accessed_at_ms));
    }
}

bool activity_load_backlog(struct provisioner *provisioner, struct error *err) {
    return backlog_each_access(provisioner->backlog, take_kept, provisioner, err);
}
