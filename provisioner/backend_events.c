#include "provisioner/backend_events.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/secret.h"
#include "provisioner/adoption.h"
#include "provisioner/audit.h"
#include "provisioner/lifetime.h"
#include "provisioner/node.h"
#include "provisioner/routes.h"
#include "provisioner/starts.h"
#include "provisioner/stops.h"
#include "provisioner/tenants.h"

static bool on_created(void *owner, const char *instance_id, const char *reference, struct error *err) {
    struct provisioner *provisioner = owner;
    struct tenant *tenant = tenants_find_instance(provisioner, instance_id);
    if (tenant == NULL || (tenant->record.status != INSTANCE_PROVISIONING && !tenant->is_being_adopted)) {
        return error_set(err, ERROR_CONFLICT, "nobody waits for instance %s any more", instance_id);
    }
    char *before = tenant->record.backend_reference;
    tenant->record.backend_reference = strdup(reference);
    if (tenant->record.backend_reference == NULL || !tenant_save(provisioner, tenant, err)) {
        if (tenant->record.backend_reference == NULL) {
            error_set(err, ERROR_INTERNAL, "out of memory");
        }
        free(tenant->record.backend_reference);
        tenant->record.backend_reference = before;
        return false;
    }
    free(before);
    return true;
}

/* Writes the address into the record. */
static bool take_address(struct provisioner *provisioner, struct tenant *tenant, const struct instance_address *address,
                         bool *changed, struct error *err) {
    struct tenant_record *record = &tenant->record;
    *changed = strcmp(record->host, address->host) != 0 || record->port != address->port;
    memcpy(record->host, address->host, sizeof record->host);
    record->port = address->port;
    if (!secret_equals(tenant->key, address->key)) {
        *changed = true;
        return tenant_set_key(provisioner, tenant, address->key, err);
    }
    return true;
}

static void adopted(struct provisioner *provisioner, struct tenant *tenant, bool changed) {
    bool was_running = tenant->record.status == INSTANCE_RUNNING;
    if (tenant->record.started_at_ms == 0) {
        lifetime_begin(tenant);
        changed = true;
    }
    if (!was_running) {
        audit_stage(provisioner,
                    audit_row_of_tenant(tenant, "tenant_started", NULL, "the start outlived a provisioner", NULL));
    }
    if (changed || !was_running) {
        tenant_settle(provisioner, tenant, INSTANCE_READY);
    }
    log_info(NULL, "instance %s adopted at %s port %u", tenant->record.instance_name, tenant->record.host,
             tenant->record.port);
    tenant->shell_active_ms = tenant->last_active_ms; /* perhaps it was a shell: nobody knows any more */
    route_publish(provisioner, tenant);
    waiters_tell(&tenant->start_waiters, tenant, NULL);
}

/* Also for the audit log. */
static bool begin_running(struct provisioner *provisioner, struct tenant *tenant, struct error *err) {
    struct audit_row *row =
        audit_stage(provisioner, audit_row_of_tenant(tenant, "tenant_started", NULL, NULL, tenant->actor));
    lifetime_begin(tenant);
    if (!tenant_begin(provisioner, tenant, INSTANCE_READY, err)) {
        audit_unstage(provisioner, row);
        return false;
    }
    return true;
}

static void on_ready(void *owner, const char *instance_id, const struct instance_address *address) {
    struct provisioner *provisioner = owner;
    struct error err;
    bool changed = false;
    struct tenant *tenant = tenants_find_instance(provisioner, instance_id);
    if (tenant == NULL) {
        log_warning(NULL, "instance %s is ready, but nobody's", instance_id);
        return;
    }
    bool was_being_adopted = tenant->is_being_adopted;
    if (was_being_adopted) {
        adoption_ended(provisioner, tenant);
    }
    if (tenant->record.status == INSTANCE_STOPPING) {
        if (was_being_adopted) {
            provisioner->operations->stop(provisioner->backend, instance_id);
        }
        return;
    }
    bool ok = take_address(provisioner, tenant, address, &changed, &err);
    if (ok && was_being_adopted) {
        adopted(provisioner, tenant, changed);
    } else if (ok && begin_running(provisioner, tenant, &err)) {
        starts_succeeded(provisioner, tenant);
    } else if (tenant->record.status == INSTANCE_PROVISIONING || was_being_adopted) {
        stops_abandon_start(provisioner, tenant, &err);
    }
}

/* What a predecessor started does not run. */
static void not_adopted(struct provisioner *provisioner, struct tenant *tenant, const char *reason) {
    log_warning(NULL, "instance %s did not outlive the last provisioner: %s", tenant->record.instance_name, reason);
    bool was_running = tenant->record.status == INSTANCE_RUNNING;
    adoption_ended(provisioner, tenant);
    route_withdraw(provisioner, tenant);
    tenant_set_live(provisioner, tenant, false);
    tenant_set_error(tenant, reason);
    if (was_running) {
        audit_stage(provisioner, audit_row_of_tenant(tenant, "tenant_stopped", "warning", reason, NULL));
    }
    tenant_settle(provisioner, tenant, INSTANCE_ENDED);
    if (tenant->start_waiters != NULL) {
        starts_begin(provisioner, tenant, NULL);
    }
}

static void on_failed(void *owner, const char *instance_id, const struct error *err) {
    struct provisioner *provisioner = owner;
    struct tenant *tenant = tenants_find_instance(provisioner, instance_id);
    if (tenant == NULL) {
        return;
    }
    if (tenant->record.status == INSTANCE_STOPPING) {
        /* Of a start that is being abandoned, `stopped` follows; of an adoption nothing does. */
        if (tenant->is_being_adopted) {
            adoption_ended(provisioner, tenant);
            stops_finished(provisioner, tenant);
        }
    } else if (tenant->is_being_adopted) {
        not_adopted(provisioner, tenant, err->message);
    } else if (tenant->record.status == INSTANCE_PROVISIONING) {
        starts_failed(provisioner, tenant, err);
    }
}

static void on_gone(void *owner, const char *instance_id, const char *reason) {
    struct provisioner *provisioner = owner;
    struct tenant *tenant = tenants_find_instance(provisioner, instance_id);
    if (tenant == NULL || tenant->record.status != INSTANCE_RUNNING) {
        return; /* `stopped` follows where it is stopping */
    }
    log_warning(NULL, "instance %s ended by itself: %s", tenant->record.instance_name, reason);
    route_withdraw(provisioner, tenant);
    tenant->is_draining = false;
    tenant_set_live(provisioner, tenant, false);
    tenant_set_error(tenant, reason);
    audit_stage(provisioner, audit_row_of_tenant(tenant, "tenant_stopped", "warning", reason, NULL));
    tenant_settle(provisioner, tenant, INSTANCE_ENDED);
}

static void on_stopped(void *owner, const char *instance_id) {
    struct provisioner *provisioner = owner;
    struct tenant *tenant = tenants_find_instance(provisioner, instance_id);
    if (tenant != NULL && tenant->record.status == INSTANCE_STOPPING) {
        stops_finished(provisioner, tenant);
    }
}

static void on_progress(void *owner, const char *instance_id, const char *text) {
    struct tenant *tenant = tenants_find_instance(owner, instance_id);
    if (tenant != NULL && tenant->record.status == INSTANCE_PROVISIONING) {
        tenant_set_progress(tenant, text);
    }
}

static bool on_found(void *owner, const struct instance_spec *spec, const char *reference,
                     const struct instance_address *address, struct error *err) {
    return adoption_of_stranger(owner, spec, reference, address, err);
}

static bool on_stranger(void *owner) {
    const struct provisioner *provisioner = owner;
    return node_leads_for_certain(provisioner->node);
}

struct backend_events backend_events(struct provisioner *provisioner) {
    return (struct backend_events){
        .owner = provisioner,
        .created = on_created,
        .ready = on_ready,
        .failed = on_failed,
        .gone = on_gone,
        .stopped = on_stopped,
        .progress = on_progress,
        .found = on_found,
        .may_end_strangers = on_stranger,
    };
}
