/* store_policies.c - rows of `policies`. */
#include "provisioner/store_internal.h"

bool store_save_policy(struct store *store, const struct policy_record *record, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_SAVE_POLICY);
    return store_bind_text(store, statement, 1, record->id, err) &&
           store_bind_text(store, statement, 2, record->data, err) &&
           store_bind_int(store, statement, 3, record->created_at_ms, err) &&
           store_bind_int(store, statement, 4, record->updated_at_ms, err) && store_run(store, statement, err);
}

bool store_delete_policy(struct store *store, const char *id, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_DELETE_POLICY);
    return store_bind_text(store, statement, 1, id, err) && store_run(store, statement, err);
}

bool store_each_policy(struct store *store,
                       bool (*row)(void *argument, const struct policy_record *record, struct error *err),
                       void *argument, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_LIST_POLICIES);
    int more = 0;
    while ((more = store_step(store, statement, err)) > 0) {
        const struct policy_record record = {
            .id = store_column_text(statement, 0),
            .data = store_column_text(statement, 1),
            .created_at_ms = sqlite3_column_int64(statement, 2),
            .updated_at_ms = sqlite3_column_int64(statement, 3),
        };
        if (!row(argument, &record, err)) {
            sqlite3_reset(statement);
            return false;
        }
    }
    return more == 0;
}
