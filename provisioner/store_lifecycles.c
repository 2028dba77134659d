/* store_lifecycles.c - rows of `lifecycles` and `resets`. */
#include "provisioner/store_internal.h"

bool store_save_lifecycle(struct store *store, const struct lifecycle_record *record, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_SAVE_LIFECYCLE);
    return database_bind_text(statement, 1, record->policy_id, err) &&
           database_bind_text(statement, 2, record->schedule, err) &&
           database_bind_text(statement, 3, record->time_zone, err) &&
           database_bind_int(statement, 4, record->since_ms, err) && database_run(statement, err);
}

bool store_delete_lifecycle(struct store *store, const char *policy_id, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_DELETE_LIFECYCLE);
    return database_bind_text(statement, 1, policy_id, err) && database_run(statement, err);
}

bool store_each_lifecycle(struct store *store,
                          bool (*row)(void *argument, const struct lifecycle_record *record, struct error *err),
                          void *argument, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_LIST_LIFECYCLES);
    int more = 0;
    while ((more = database_step(statement, err)) > 0) {
        const struct lifecycle_record record = {
            .policy_id = database_text(statement, 0),
            .schedule = database_text(statement, 1),
            .time_zone = database_text(statement, 2),
            .since_ms = database_int(statement, 3),
        };
        if (!row(argument, &record, err)) {
            database_reset(statement);
            return false;
        }
    }
    return more == 0;
}

bool store_save_reset(struct store *store, const struct reset_record *record, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_SAVE_RESET);
    return database_bind_text(statement, 1, record->tenant_id, err) &&
           database_bind_int(statement, 2, record->due_at_ms, err) && database_run(statement, err);
}

bool store_each_reset(struct store *store,
                      bool (*row)(void *argument, const struct reset_record *record, struct error *err), void *argument,
                      struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_LIST_RESETS);
    int more = 0;
    while ((more = database_step(statement, err)) > 0) {
        const struct reset_record record = {
            .tenant_id = database_text(statement, 0),
            .route_key = database_text(statement, 1),
            .due_at_ms = database_int(statement, 2),
        };
        if (!row(argument, &record, err)) {
            database_reset(statement);
            return false;
        }
    }
    return more == 0;
}
