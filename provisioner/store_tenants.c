/* store_tenants.c - rows of `tenants` and `properties`. */
#include <stdlib.h>
#include <string.h>

#include "provisioner/store_internal.h"

static const char *or_null(const char *text) {
    return text[0] == '\0' ? NULL : text;
}

bool store_save_tenant(struct store *store, const struct tenant_record *record, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_SAVE_TENANT);
    return database_bind_text(statement, 1, record->id, err) &&
           database_bind_text(statement, 2, record->user_id, err) &&
           database_bind_text(statement, 3, record->policy_id, err) &&
           database_bind_text(statement, 4, record->context_id, err) &&
           database_bind_text(statement, 5, record->route_key, err) &&
           database_bind_text(statement, 6, or_null(record->instance_id), err) &&
           database_bind_text(statement, 7, record->instance_name, err) &&
           database_bind_text(statement, 8, record->backend_type, err) &&
           database_bind_text(statement, 9, record->backend_reference, err) &&
           database_bind_text(statement, 10, or_null(record->host), err) &&
           database_bind_int_or_null(statement, 11, record->port, err) &&
           database_bind_blob(statement, 12, record->key_encrypted, record->key_encrypted_length, err) &&
           database_bind_text(statement, 13, instance_state_name(record->status), err) &&
           database_bind_text(statement, 14, record->error, err) &&
           database_bind_int(statement, 15, record->created_at_ms, err) &&
           database_bind_int(statement, 16, record->updated_at_ms, err) &&
           database_bind_int(statement, 17, record->last_accessed_at_ms, err) &&
           database_bind_text(statement, 18, or_null(record->policy_hash), err) && database_run(statement, err);
}

bool store_delete_tenant(struct store *store, const char *id, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_DELETE_TENANT);
    return database_bind_text(statement, 1, id, err) && database_run(statement, err);
}

/* Copies a column into a field of fixed size. False if somebody else wrote something longer there. */
static bool column_into(struct database_statement *statement, int column, char *out, size_t size) {
    const char *text = database_text(statement, column);
    size_t length = text == NULL ? 0 : strlen(text);
    if (length >= size) {
        return false;
    }
    memcpy(out, text == NULL ? "" : text, length + 1);
    return true;
}

static bool read_tenant(struct database_statement *statement, struct tenant_record *record, struct error *err) {
    *record = (struct tenant_record){
        .user_id = (char *)database_text(statement, 1),
        .policy_id = (char *)database_text(statement, 2),
        .context_id = (char *)database_text(statement, 3),
        .instance_name = (char *)database_text(statement, 6),
        .backend_type = (char *)database_text(statement, 7),
        .backend_reference = (char *)database_text(statement, 8),
        .port = (uint16_t)database_int(statement, 10),
        .error = (char *)database_text(statement, 13),
        .created_at_ms = database_int(statement, 14),
        .updated_at_ms = database_int(statement, 15),
        .last_accessed_at_ms = database_int(statement, 16),
    };
    record->key_encrypted = (void *)database_blob(statement, 11, &record->key_encrypted_length);
    bool ok = column_into(statement, 0, record->id, sizeof record->id) &&
              column_into(statement, 4, record->route_key, sizeof record->route_key) &&
              column_into(statement, 5, record->instance_id, sizeof record->instance_id) &&
              column_into(statement, 9, record->host, sizeof record->host) &&
              column_into(statement, 17, record->policy_hash, sizeof record->policy_hash) &&
              instance_state_from_name(database_text(statement, 12), &record->status) && record->user_id != NULL &&
              record->policy_id != NULL && record->context_id != NULL && record->instance_name != NULL &&
              record->backend_type != NULL;
    return ok || error_set(err, ERROR_INTERNAL, "the row of tenant `%s` makes no sense", record->id);
}

bool store_each_tenant(struct store *store,
                       bool (*row)(void *argument, const struct tenant_record *record, struct error *err),
                       void *argument, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_LIST_TENANTS);
    int more = 0;
    while ((more = database_step(statement, err)) > 0) {
        struct tenant_record record;
        if (!read_tenant(statement, &record, err) || !row(argument, &record, err)) {
            database_reset(statement);
            return false;
        }
    }
    return more == 0;
}

bool store_save_accesses(struct store *store, const struct tenant_access *accesses, size_t count, struct error *err) {
    if (!store_begin(store, err)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        struct database_statement *statement = store_statement(store, STATEMENT_SAVE_ACCESS);
        ok = database_bind_int(statement, 1, accesses[i].last_accessed_at_ms, err) &&
             database_bind_text(statement, 2, accesses[i].id, err) && database_run(statement, err);
    }
    return store_end(store, ok, err);
}

int store_get_property(struct store *store, const char *name, void **value, size_t *length, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_GET_PROPERTY);
    int found = database_bind_text(statement, 1, name, err) ? database_step(statement, err) : -1;
    if (found <= 0) {
        return found;
    }
    const void *bytes = database_blob(statement, 0, length);
    *value = malloc(*length + 1);
    if (*value != NULL && *length > 0) {
        memcpy(*value, bytes, *length);
    }
    database_reset(statement);
    if (*value == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return -1;
    }
    return 1;
}

bool store_set_property(struct store *store, const char *name, const void *value, size_t length, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_SET_PROPERTY);
    return database_bind_text(statement, 1, name, err) && database_bind_blob(statement, 2, value, length, err) &&
           database_run(statement, err);
}
