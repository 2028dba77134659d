#include "provisioner/tenants.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "common/secret.h"
#include "common/text.h"
#include "provisioner/audit.h"
#include "provisioner/life.h"
#include "provisioner/lifetime.h"
#include "provisioner/node.h"
#include "provisioner/policies.h"
#include "provisioner/pre_stop.h"

#define KEY_RANDOM_BYTES         16
#define INSTANCE_ID_RANDOM_BYTES 16

struct tenant *tenants_find(struct provisioner *provisioner, const char *route_key) {
    struct tenant *tenant = NULL;
    HASH_FIND(by_route, provisioner->tenants_by_route, route_key, strlen(route_key), tenant);
    return tenant;
}

struct tenant *tenants_find_instance(struct provisioner *provisioner, const char *instance_id) {
    struct tenant *tenant = NULL;
    HASH_FIND(by_instance, provisioner->tenants_by_instance, instance_id, strlen(instance_id), tenant);
    return tenant;
}

static void tenant_free(struct tenant *tenant) {
    if (tenant->start_timer != NULL) {
        event_free(tenant->start_timer);
    }
    pre_stop_cancel(tenant);
    lifetime_forget(tenant);
    json_object_put(tenant->actor);
    audit_row_free(tenant->stop_row);
    secret_free(tenant->key);
    free(tenant->progress);
    free(tenant->start_failure);
    free(tenant->taken_by);
    free(tenant->record.user_id);
    free(tenant->record.policy_id);
    free(tenant->record.context_id);
    free(tenant->record.instance_name);
    free(tenant->record.backend_type);
    free(tenant->record.backend_reference);
    free(tenant->record.key_encrypted);
    free(tenant->record.error);
    free(tenant);
}

static void tenant_cleanup_function(struct tenant **tenant) {
    if (*tenant != NULL) {
        tenant_free(*tenant);
    }
}
#define cleanup_tenant __attribute__((cleanup(tenant_cleanup_function)))

/* What nobody is shown changes nothing. */
static void note_change(const struct tenant *tenant) {
    if (!tenant->is_warm) {
        provisioner_note_change(tenant->provisioner);
    }
}

static void insert(struct provisioner *provisioner, struct tenant *tenant) {
    tenant->provisioner = provisioner;
    tenant->is_warm = strcmp(tenant->record.user_id, TENANT_WARM_USER) == 0;
    HASH_ADD(by_route, provisioner->tenants_by_route, record.route_key, DIGEST_HEX_LENGTH, tenant);
}

/* What its instance is called by the backend of today. */
static bool set_instance_name(const struct provisioner *provisioner, struct tenant_record *record) {
    const struct backend_operations *operations = provisioner->operations;
    char name[NAME_FOLDER_SIZE];
    bool ok = operations->name_instance == NULL
                  ? name_instance(record->user_id, record->policy_id, record->context_id, name)
                  : operations->name_instance(record->user_id, record->policy_id, record->context_id, name);
    char *copy = ok ? strdup(name) : NULL;
    if (copy != NULL) {
        free(record->instance_name);
        record->instance_name = copy;
    }
    return copy != NULL;
}

struct tenant *tenants_add(struct provisioner *provisioner, const struct tenant_name *name, struct error *err) {
    cleanup_tenant struct tenant *tenant = calloc(1, sizeof *tenant);
    if (tenant == NULL || !digest_uuid(tenant->record.id)) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    struct tenant_record *record = &tenant->record;
    record->user_id = strdup(name->user_id);
    record->policy_id = strdup(name->policy_id);
    record->context_id = strdup(name->context_id);
    record->backend_type = strdup(provisioner->operations->name);
    memcpy(record->route_key, name->route_key, sizeof record->route_key);
    if (record->user_id == NULL || record->policy_id == NULL || record->context_id == NULL ||
        record->backend_type == NULL || !set_instance_name(provisioner, record)) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    record->created_at_ms = record->updated_at_ms = record->last_accessed_at_ms = clock_unix_ms();
    tenant->last_active_ms = clock_monotonic_ms();
    insert(provisioner, tenant);
    note_change(tenant);
    return steal_pointer(&tenant);
}

static char *copy_or_null(const char *text, bool *ok) {
    char *copy = text == NULL ? NULL : strdup(text);
    *ok = *ok && (copy != NULL || text == NULL);
    return copy;
}

/* A row of the database becomes a tenant. */
static bool load_one(void *argument, const struct tenant_record *row, struct error *err) {
    struct provisioner *provisioner = argument;
    cleanup_tenant struct tenant *tenant = calloc(1, sizeof *tenant);
    if (tenant == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!node_renew(provisioner->node, err)) {
        return false;
    }
    struct tenant_record *record = &tenant->record;
    *record = *row;
    bool ok = true;
    record->user_id = copy_or_null(row->user_id, &ok);
    record->policy_id = copy_or_null(row->policy_id, &ok);
    record->context_id = copy_or_null(row->context_id, &ok);
    record->instance_name = copy_or_null(row->instance_name, &ok);
    record->backend_type = copy_or_null(row->backend_type, &ok);
    record->backend_reference = copy_or_null(row->backend_reference, &ok);
    record->error = copy_or_null(row->error, &ok);
    record->key_encrypted = row->key_encrypted_length == 0 ? NULL : malloc(row->key_encrypted_length);
    if (!ok || (record->key_encrypted == NULL && row->key_encrypted_length > 0)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (record->key_encrypted != NULL) {
        memcpy(record->key_encrypted, row->key_encrypted, row->key_encrypted_length);
    }
    if (strlen(record->route_key) != DIGEST_HEX_LENGTH) {
        return error_set(err, ERROR_INTERNAL, "the row of tenant `%s` has no route key", record->id);
    }
    tenant->has_row = true;
    int64_t since_ms = clock_unix_ms() - record->last_accessed_at_ms;
    tenant->last_active_ms = clock_monotonic_ms() - (since_ms > 0 ? since_ms : 0);
    if (record->status == INSTANCE_STOPPING && strcmp(record->user_id, TENANT_WARM_USER) != 0) {
        tenant->stop_row = audit_row_of_tenant(tenant, "tenant_stopped", NULL, "the stop outlived a provisioner", NULL);
    }
    insert(provisioner, steal_pointer(&tenant));
    return true;
}

bool tenants_load(struct provisioner *provisioner, struct error *err) {
    return store_each_tenant(provisioner->store, load_one, provisioner, err);
}

void tenants_remove(struct provisioner *provisioner, struct tenant *tenant) {
    note_change(tenant);
    tenant_set_live(provisioner, tenant, false);
    HASH_DELETE(by_route, provisioner->tenants_by_route, tenant);
    tenant_free(tenant);
}

void tenants_free_all(struct provisioner *provisioner) {
    struct error err;
    error_set(&err, ERROR_CAPACITY, "Terminals is shutting down");
    TENANTS_EACH(provisioner, tenant) {
        waiters_tell(&tenant->start_waiters, NULL, &err);
        waiters_tell(&tenant->stop_waiters, NULL, &err);
        waiters_tell(&tenant->delete_waiters, NULL, &err);
        tenants_remove(provisioner, tenant);
    }
}

bool tenant_save(struct provisioner *provisioner, struct tenant *tenant, struct error *err) {
    tenant->record.updated_at_ms = clock_unix_ms();
    bool is_saved = false;
    note_change(tenant); /* in memory it is so already, whatever the database says */
    if (provisioner->staged_audit == NULL) {
        is_saved = store_save_tenant(provisioner->store, &tenant->record, err);
    } else if (store_begin(provisioner->store, err)) {
        is_saved = store_end(
            provisioner->store,
            store_save_tenant(provisioner->store, &tenant->record, err) && audit_write_staged(provisioner, err), err);
    }
    if (!is_saved) {
        return false;
    }
    audit_staged_written(provisioner);
    tenant->has_row = true;
    tenant->row_is_stale = false;
    tenant->access_is_unsaved = false;
    return true;
}

bool tenant_begin(struct provisioner *provisioner, struct tenant *tenant, enum instance_event event,
                  struct error *err) {
    enum instance_state before = tenant->record.status;
    if (!instance_next_state(before, event, &tenant->record.status)) {
        return error_set(err, ERROR_CONFLICT, "the instance is %s: no %s now", instance_state_name(before),
                         instance_event_name(event));
    }
    if (!tenant_save(provisioner, tenant, err)) {
        tenant->record.status = before;
        return false;
    }
    return true;
}

void tenant_settle(struct provisioner *provisioner, struct tenant *tenant, enum instance_event event) {
    struct error err;
    enum instance_state before = tenant->record.status;
    if (!instance_next_state(before, event, &tenant->record.status)) {
        log_error(NULL, "instance %s: %s while it is %s", tenant->record.instance_name, instance_event_name(event),
                  instance_state_name(before));
        return;
    }
    if (!tenant_save(provisioner, tenant, &err)) {
        tenant->row_is_stale = true;
        log_error(NULL, "instance %s: save that it is %s: %s (tried again)", tenant->record.instance_name,
                  instance_state_name(tenant->record.status), err.message);
    }
}

bool tenant_set_key(struct provisioner *provisioner, struct tenant *tenant, const char *key, struct error *err) {
    size_t length = 0;
    void *box = vault_seal(provisioner->vault, tenant->record.id, key, &length, err);
    char *copy = box == NULL ? NULL : strdup(key);
    if (copy == NULL) {
        if (box != NULL) {
            error_set(err, ERROR_INTERNAL, "out of memory");
        }
        free(box);
        return false;
    }
    secret_free(tenant->key);
    free(tenant->record.key_encrypted);
    tenant->key = copy;
    tenant->record.key_encrypted = box;
    tenant->record.key_encrypted_length = length;
    return true;
}

/* The backend may be another one than at the last start. */
bool tenant_set_backend(struct provisioner *provisioner, struct tenant *tenant, struct error *err) {
    const char *name = provisioner->operations->name;
    if (strcmp(tenant->record.backend_type, name) == 0) {
        return true;
    }
    char *copy = strdup(name);
    if (copy == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    free(tenant->record.backend_type);
    tenant->record.backend_type = copy;
    return set_instance_name(provisioner, &tenant->record) || error_set(err, ERROR_INTERNAL, "out of memory");
}

bool tenant_new_instance(struct provisioner *provisioner, struct tenant *tenant, struct error *err) {
    struct tenant_record *record = &tenant->record;
    char key[2 * KEY_RANDOM_BYTES + 1];
    char instance_id[2 * INSTANCE_ID_RANDOM_BYTES + 1];
    if (!digest_random_hex(KEY_RANDOM_BYTES, key) || !digest_random_hex(INSTANCE_ID_RANDOM_BYTES, instance_id)) {
        return error_set(err, ERROR_INTERNAL, "the kernel gives no random bytes");
    }
    bool ok = tenant_set_backend(provisioner, tenant, err) && tenant_set_key(provisioner, tenant, key, err);
    explicit_bzero(key, sizeof key);
    if (!ok) {
        return false;
    }
    memcpy(record->instance_id, instance_id, sizeof record->instance_id);
    free(record->backend_reference);
    record->backend_reference = NULL;
    record->host[0] = '\0';
    record->port = 0;
    tenant_set_error(tenant, NULL);
    return true;
}

void tenant_set_live(struct provisioner *provisioner, struct tenant *tenant, bool is_live) {
    if (tenant->is_live == is_live) {
        return;
    }
    tenant->is_live = is_live;
    if (is_live) {
        HASH_ADD(by_instance, provisioner->tenants_by_instance, record.instance_id,
                 (unsigned)strlen(tenant->record.instance_id), tenant);
        return;
    }
    HASH_DELETE(by_instance, provisioner->tenants_by_instance, tenant);
    tenant_forget_instance(tenant);
}

void tenant_forget_instance(struct tenant *tenant) {
    lifetime_forget(tenant);
    secret_free(tenant->key);
    tenant->key = NULL;
    free(tenant->record.key_encrypted);
    tenant->record.key_encrypted = NULL;
    tenant->record.key_encrypted_length = 0;
    free(tenant->record.backend_reference);
    tenant->record.backend_reference = NULL;
    tenant->record.host[0] = '\0';
    tenant->record.port = 0;
}

void tenant_set_error(struct tenant *tenant, const char *text) {
    free(tenant->record.error);
    tenant->record.error = text == NULL ? NULL : strdup(text);
    if (tenant->record.error != NULL) {
        text_make_utf8(tenant->record.error); /* PostgreSQL takes nothing else, and it may be an instance's words */
    }
}

void tenant_set_progress(struct tenant *tenant, const char *text) {
    free(tenant->progress);
    tenant->progress = text == NULL ? NULL : strdup(text);
    note_change(tenant);
}

void tenant_set_actor(struct tenant *tenant, struct json_object *actor) {
    json_object_get(actor);
    json_object_put(tenant->actor);
    tenant->actor = actor;
}

bool waiter_add(struct waiter **list, waiter_function *done, void *argument) {
    struct waiter *waiter = malloc(sizeof *waiter);
    if (waiter == NULL) {
        return false;
    }
    *waiter = (struct waiter){done, argument, *list};
    *list = waiter;
    return true;
}

void waiters_tell(struct waiter **list, struct tenant *tenant, const struct error *err) {
    struct waiter *waiter = *list;
    *list = NULL;
    while (waiter != NULL) {
        struct waiter *next = waiter->next;
        waiter->done(waiter->argument, tenant, err);
        free(waiter);
        waiter = next;
    }
}

static bool add_time(struct json_object *object, const char *name, int64_t unix_ms) {
    char text[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(unix_ms, text);
    return json_add_string(object, name, text);
}

static const char *or_null(const char *text) {
    return text[0] == '\0' ? NULL : text;
}

/* Only what runs can be: the next start is of today's policy. */
static bool is_outdated(const struct tenant *tenant) {
    return tenant->record.status == INSTANCE_RUNNING &&
           policies_is_outdated(tenant->provisioner, tenant->record.policy_id, tenant->record.policy_hash);
}

struct json_object *tenant_to_json(const struct tenant *tenant) {
    const struct tenant_record *record = &tenant->record;
    struct json_object *object = json_object_new_object();
    if (object == NULL ||
        !(json_add_string(object, "id", record->id) && json_add_string(object, "user_id", record->user_id) &&
          json_add_string(object, "policy_id", record->policy_id) &&
          json_add_string(object, "context_id", record->context_id) &&
          json_add_string(object, "instance_id", or_null(record->instance_id)) &&
          json_add_string(object, "instance_name", record->instance_name) &&
          json_add_string(object, "backend_type", record->backend_type) &&
          json_add_string(object, "host", or_null(record->host)) &&
          (record->port == 0 ? json_add_string(object, "port", NULL) : json_add_int(object, "port", record->port)) &&
          json_add_string(object, "status", instance_state_name(record->status)) &&
          json_add_string(object, "error", record->error) && json_add_bool(object, "outdated", is_outdated(tenant)) &&
          json_add_string(object, "progress", record->status == INSTANCE_PROVISIONING ? tenant->progress : NULL) &&
          add_time(object, "created_at", record->created_at_ms) &&
          add_time(object, "updated_at", record->updated_at_ms) &&
          add_time(object, "last_accessed_at", record->last_accessed_at_ms) && life_add(object, tenant))) {
        json_object_put(object);
        return NULL;
    }
    return object;
}
