/* store_lifecycles.c - rows of `lifecycles` and `resets`. */
#include "provisioner/store_internal.h"

bool store_save_lifecycle(struct store *store, const struct lifecycle_record *record, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_SAVE_LIFECYCLE);
    return store_bind_text(store, statement, 1, record->policy_id, err) &&
           store_bind_text(store, statement, 2, record->schedule, err) &&
           store_bind_text(store, statement, 3, record->time_zone, err) &&
           store_bind_int(store, statement, 4, record->since_ms, err) && store_run(store, statement, err);
}

bool store_delete_lifecycle(struct store *store, const char *policy_id, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_DELETE_LIFECYCLE);
    return store_bind_text(store, statement, 1, policy_id, err) && store_run(store, statement, err);
}

bool store_each_lifecycle(struct store *store,
                          bool (*row)(void *argument, const struct lifecycle_record *record, struct error *err),
                          void *argument, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_LIST_LIFECYCLES);
    int more = 0;
    while ((more = store_step(store, statement, err)) > 0) {
        const struct lifecycle_record record = {
            .policy_id = store_column_text(statement, 0),
            .schedule = store_column_text(statement, 1),
            .time_zone = store_column_text(statement, 2),
            .since_ms = sqlite3_column_int64(statement, 3),
        };
        if (!row(argument, &record, err)) {
            sqlite3_reset(statement);
            return false;
        }
    }
    return more == 0;
}

bool store_save_reset(struct store *store, const struct reset_record *record, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_SAVE_RESET);
    return store_bind_text(store, statement, 1, record->tenant_id, err) &&
           store_bind_int(store, statement, 2, record->due_at_ms, err) && store_run(store, statement, err);
}

bool store_each_reset(struct store *store,
                      bool (*row)(void *argument, const struct reset_record *record, struct error *err), void *argument,
                      struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_LIST_RESETS);
    int more = 0;
    while ((more = store_step(store, statement, err)) > 0) {
        const struct reset_record record = {
            .tenant_id = store_column_text(statement, 0),
            .route_key = store_column_text(statement, 1),
            .due_at_ms = sqlite3_column_int64(statement, 2),
        };
        if (!row(argument, &record, err)) {
            sqlite3_reset(statement);
            return false;
        }
    }
    return more == 0;
}
