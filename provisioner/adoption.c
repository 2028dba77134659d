#include "provisioner/adoption.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "common/secret.h"
#include "provisioner/activity.h"
#include "provisioner/audit.h"
#include "provisioner/lifetime.h"
#include "provisioner/node.h"
#include "provisioner/policies.h"
#include "provisioner/routes.h"

static bool may_exist(const struct tenant *tenant) {
    return tenant->record.status == INSTANCE_RUNNING || tenant->record.status == INSTANCE_PROVISIONING ||
           tenant->record.status == INSTANCE_STOPPING;
}

/* Decides whether a tenant's instance can be adopted; if not, its record says stopped. */
static void prepare(struct provisioner *provisioner, struct tenant *tenant) {
    struct error err = {0};
    const struct tenant_record *record = &tenant->record;
    if (strcmp(record->backend_type, provisioner->operations->name) != 0) {
        error_set(&err, ERROR_CONFLICT, "it was started by the backend `%s`: stop it there", record->backend_type);
    } else if (record->instance_id[0] == '\0' || tenants_find_instance(provisioner, record->instance_id) != NULL) {
        error_set(&err, ERROR_INTERNAL, "its row has no instance id of its own");
    } else {
        tenant->key =
            vault_unseal(provisioner->vault, record->id, record->key_encrypted, record->key_encrypted_length, &err);
    }
    if (tenant->key == NULL) {
        log_error(NULL, "instance %s cannot be adopted: %s", record->instance_name, err.message);
        tenant_set_error(tenant, err.message);
        if (record->status != INSTANCE_PROVISIONING) {
            audit_stage(provisioner, audit_row_of_tenant(tenant, "tenant_stopped", "warning", err.message, NULL));
        }
        tenant_settle(provisioner, tenant, INSTANCE_ENDED);
        return;
    }
    tenant_set_live(provisioner, tenant, true);
    tenant->is_being_adopted = true;
    tenant->awaits_adoption = true;
    provisioner->adoptions_left++;
    DL_APPEND(provisioner->adoption_queue, tenant);
}

static void adopt(struct provisioner *provisioner, struct tenant *tenant) {
    const struct tenant_record *record = &tenant->record;
    cleanup_free char *home = NULL;
    if (provisioner->homes != NULL && !tenant->is_warm) {
        struct error err;
        home = home_folder_create(provisioner->homes, record->user_id, record->policy_id, record->context_id, &err);
        if (home == NULL) {
            log_warning(NULL, "adopt instance %s: %s", record->instance_name, err.message);
        }
    }
    const struct instance_spec spec = {
        .instance_id = record->instance_id,
        .instance_name = record->instance_name,
        .user_id = record->user_id,
        .policy_id = record->policy_id,
        .context_id = record->context_id,
        .key = tenant->key,
        .home = home != NULL || tenant->is_warm ? home : "/nonexistent",
        .policy = policies_usable(provisioner, record->policy_id, NULL),
        .host = record->port == 0 ? NULL : record->host,
        .port = record->port,
    };
    provisioner->operations->adopt(provisioner->backend, &spec, record->backend_reference);
}

/* Asks the backend about as many as may be asked about at once. An answer that comes at once does not recurse. */
static void run_queue(struct provisioner *provisioner) {
    if (provisioner->queue_of_adoptions_is_running) {
        return;
    }
    provisioner->queue_of_adoptions_is_running = true;
    while (provisioner->adoption_queue != NULL && provisioner->running_adoptions < ADOPTIONS_AT_ONCE) {
        struct tenant *tenant = provisioner->adoption_queue;
        DL_DELETE(provisioner->adoption_queue, tenant);
        tenant->awaits_adoption = false;
        provisioner->running_adoptions++;
        adopt(provisioner, tenant);
    }
    provisioner->queue_of_adoptions_is_running = false;
    if (provisioner->adoption_queue == NULL && !provisioner->is_swept) {
        provisioner->is_swept = true;
        provisioner->operations->sweep(provisioner->backend);
    }
    if (provisioner->adoptions_left == 0) {
        routes_build(provisioner);
    }
}

static void on_step(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    run_queue(argument);
}

static void on_patience_over(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    routes_build(argument);
}

void adoption_hurry(struct provisioner *provisioner, struct tenant *tenant) {
    if (tenant->awaits_adoption) {
        DL_DELETE(provisioner->adoption_queue, tenant);
        DL_PREPEND(provisioner->adoption_queue, tenant);
    }
}

void adoption_ended(struct provisioner *provisioner, struct tenant *tenant) {
    tenant->is_being_adopted = false;
    provisioner->adoptions_left--;
    provisioner->running_adoptions--;
    /* In the next turn of the loop: the tenant is in the middle of its change. */
    event_active(provisioner->adoption_step, EV_TIMEOUT, 0);
}

/* --- strangers ---------------------------------------------------------------------------------------------------- */

/* Whether there is a place for it: what was asked for since has precedence. */
static struct tenant *place_for(struct provisioner *provisioner, const struct instance_spec *spec, struct error *err) {
    struct tenant_name name = {spec->user_id, spec->policy_id, spec->context_id, ""};
    if (provisioner->is_shutting_down) {
        error_set(err, ERROR_CAPACITY, "Terminals is shutting down");
        return NULL;
    }
    if (!name_check_user_id(spec->user_id, err) || !name_check_policy_id(spec->policy_id, err) ||
        !name_check_context_id(spec->context_id, err)) {
        return NULL;
    }
    if (policies_find(provisioner, spec->policy_id, NULL) == NULL) {
        error_set(err, ERROR_NOT_FOUND, "there is no policy `%s`", spec->policy_id);
        return NULL;
    }
    if (!name_route_key(spec->user_id, spec->policy_id, spec->context_id, name.route_key)) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    struct tenant *tenant = tenants_find(provisioner, name.route_key);
    if (tenant == NULL) {
        return tenants_add(provisioner, &name, err);
    }
    /* Its stop was told done while nobody could look at it (an error says that it was lost in another way). */
    bool was_stopped =
        tenant->has_row && tenant->record.error == NULL && strcmp(tenant->record.instance_id, spec->instance_id) == 0;
    if (was_stopped && !tenant->is_live) {
        error_set(err, ERROR_CONFLICT, "it was stopped");
        return NULL;
    }
    if (tenant->is_live || tenant->is_being_deleted) {
        error_set(err, ERROR_CONFLICT, "its user has another instance, or is being deleted");
        return NULL;
    }
    return tenant;
}

/* The tenant's record as it will be, and the database's. */
static bool move_in(struct provisioner *provisioner, struct tenant *tenant, const struct instance_spec *spec,
                    const char *reference, const struct instance_address *address, struct error *err) {
    struct tenant_record *record = &tenant->record;
    enum instance_state before = record->status;
    cleanup_free char *copy = strdup(reference);
    if (copy == NULL || strlen(spec->instance_id) >= sizeof record->instance_id) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!tenant_set_backend(provisioner, tenant, err) || !tenant_set_key(provisioner, tenant, address->key, err)) {
        return false;
    }
    /* What place_for() goes by is as it was where this fails. */
    char id_before[sizeof record->instance_id];
    cleanup_free char *error_before = steal_pointer(&record->error);
    strcpy(id_before, record->instance_id);
    strcpy(record->instance_id, spec->instance_id);
    memcpy(record->host, address->host, sizeof record->host);
    record->port = address->port;
    free(record->backend_reference);
    record->backend_reference = steal_pointer(&copy);
    tenant_set_live(provisioner, tenant, true);
    lifetime_begin(tenant);
    const char *action = tenant->has_row ? "tenant_started" : "tenant_created";
    struct audit_row *row =
        audit_stage(provisioner, audit_row_of_tenant(tenant, action, NULL, "its instance was found running", NULL));
    if (instance_next_state(before, INSTANCE_START, &record->status) &&
        tenant_begin(provisioner, tenant, INSTANCE_READY, err)) {
        return true;
    }
    audit_unstage(provisioner, row);
    record->status = before;
    tenant_set_live(provisioner, tenant, false);
    strcpy(record->instance_id, id_before);
    record->error = steal_pointer(&error_before);
    return false;
}

bool adoption_of_stranger(struct provisioner *provisioner, const struct instance_spec *spec, const char *reference,
                          const struct instance_address *address, struct error *err) {
    struct tenant *tenant = place_for(provisioner, spec, err);
    if (tenant == NULL) {
        return false;
    }
    bool is_new = !tenant->has_row;
    bool is_known = tenants_find_instance(provisioner, spec->instance_id) != NULL;
    if (is_known) {
        error_set(err, ERROR_CONFLICT, "it says that it is another's instance");
    }
    if (is_known || !move_in(provisioner, tenant, spec, reference, address, err)) {
        if (is_new) {
            tenants_remove(provisioner, tenant);
        }
        return false;
    }
    log_info(NULL, "instance %s found and adopted at %s port %u", tenant->record.instance_name, tenant->record.host,
             tenant->record.port);
    activity_touch(tenant, clock_monotonic_ms());
    route_publish(provisioner, tenant);
    return true;
}

bool adoption_begin(struct provisioner *provisioner, struct error *err) {
    const struct timeval patience = {.tv_sec = ADOPTION_PATIENCE_MS / 1000};
    provisioner->adoption_step = event_new(provisioner->base, -1, 0, on_step, provisioner);
    provisioner->adoption_timer = event_new(provisioner->base, -1, 0, on_patience_over, provisioner);
    if (provisioner->adoption_step == NULL || provisioner->adoption_timer == NULL ||
        event_add(provisioner->adoption_timer, &patience) < 0) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    TENANTS_EACH(provisioner, tenant) {
        if (may_exist(tenant)) {
            prepare(provisioner, tenant);
        }
        if (!node_renew(provisioner->node, err)) {
            return false;
        }
    }
    run_queue(provisioner);
    return true;
}
