/* store_audit.c - rows of `audit_logs`. */
#include "provisioner/store_internal.h"

bool store_append_audit(struct store *store, const struct audit_record *record, struct error *err) {
    const char *const texts[] = {
        record->id,         record->action,        record->severity,    record->user_id,
        record->request_id, record->resource_type, record->resource_id, record->detail,
        record->ip_address, record->user_agent,
    };
    const int count = sizeof texts / sizeof texts[0];
    sqlite3_stmt *statement = store_statement(store, STATEMENT_APPEND_AUDIT);
    for (int i = 0; i < count; i++) {
        if (!store_bind_text(store, statement, i + 1, texts[i], err)) {
            return false;
        }
    }
    return store_bind_int_or_null(store, statement, count + 1, record->status_code, err) &&
           store_bind_int(store, statement, count + 2, record->created_at_ms, err) && store_run(store, statement, err);
}

static bool bind_filter(struct store *store, sqlite3_stmt *statement, const struct audit_filter *filter,
                        struct error *err) {
    return store_bind_text(store, statement, 1, filter->action, err) &&
           store_bind_text(store, statement, 2, filter->user_id, err) &&
           store_bind_int(store, statement, 3, filter->since_ms, err);
}

static bool count_matches(struct store *store, const struct audit_filter *filter, int64_t *total, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_COUNT_AUDIT);
    if (!bind_filter(store, statement, filter, err) || store_step(store, statement, err) < 0) {
        return false;
    }
    *total = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return true;
}

bool store_list_audit(struct store *store, const struct audit_filter *filter,
                      bool (*row)(void *argument, const struct audit_record *record, struct error *err), void *argument,
                      int64_t *total, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_LIST_AUDIT);
    if (!count_matches(store, filter, total, err) || !bind_filter(store, statement, filter, err) ||
        !store_bind_int(store, statement, 4, filter->limit, err) ||
        !store_bind_int(store, statement, 5, filter->offset, err)) {
        return false;
    }
    int more = 0;
    while ((more = store_step(store, statement, err)) > 0) {
        struct audit_record record = {
            .id = store_column_text(statement, 0),
            .action = store_column_text(statement, 1),
            .severity = store_column_text(statement, 2),
            .user_id = store_column_text(statement, 3),
            .request_id = store_column_text(statement, 4),
            .resource_type = store_column_text(statement, 5),
            .resource_id = store_column_text(statement, 6),
            .detail = store_column_text(statement, 7),
            .ip_address = store_column_text(statement, 8),
            .user_agent = store_column_text(statement, 9),
            .status_code = sqlite3_column_int64(statement, 10),
            .created_at_ms = sqlite3_column_int64(statement, 11),
        };
        if (!row(argument, &record, err)) {
            sqlite3_reset(statement);
            return false;
        }
    }
    return more == 0;
}
