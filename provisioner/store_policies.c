/* store_policies.c - rows of `policies`. */
#include "provisioner/store_internal.h"

bool store_save_policy(struct store *store, const struct policy_record *record, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_SAVE_POLICY);
    return database_bind_text(statement, 1, record->id, err) && database_bind_text(statement, 2, record->data, err) &&
           database_bind_int(statement, 3, record->created_at_ms, err) &&
           database_bind_int(statement, 4, record->updated_at_ms, err) && database_run(statement, err);
}

bool store_delete_policy(struct store *store, const char *id, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_DELETE_POLICY);
    return database_bind_text(statement, 1, id, err) && database_run(statement, err);
}

bool store_each_policy(struct store *store,
                       bool (*row)(void *argument, const struct policy_record *record, struct error *err),
                       void *argument, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_LIST_POLICIES);
    int more = 0;
    while ((more = database_step(statement, err)) > 0) {
        const struct policy_record record = {
            .id = database_text(statement, 0),
            .data = database_text(statement, 1),
            .created_at_ms = database_int(statement, 2),
            .updated_at_ms = database_int(statement, 3),
        };
        if (!row(argument, &record, err)) {
            database_reset(statement);
            return false;
        }
    }
    return more == 0;
}
