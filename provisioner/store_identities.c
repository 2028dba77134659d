/* store_identities.c - rows of `identities`: digests of API keys ("*") and of users' tokens. */
#include "provisioner/store_internal.h"

bool store_replace_api_keys(struct store *store, const char *const *digests, size_t count, struct error *err) {
    if (!store_begin(store, err)) {
        return false;
    }
    bool ok = database_run(store_statement(store, STATEMENT_DELETE_API_KEYS), err);
    for (size_t i = 0; ok && i < count; i++) {
        struct database_statement *statement = store_statement(store, STATEMENT_ADD_API_KEY);
        ok = database_bind_text(statement, 1, digests[i], err) && database_run(statement, err);
    }
    return store_end(store, ok, err);
}

bool store_each_identity(struct store *store, int64_t now_ms,
                         bool (*row)(void *argument, const struct identity_record *record, struct error *err),
                         void *argument, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_LIST_IDENTITIES);
    if (!database_bind_int(statement, 1, now_ms, err)) {
        return false;
    }
    int more = 0;
    while ((more = database_step(statement, err)) > 0) {
        struct identity_record record = {
            .digest = database_text(statement, 0),
            .user_id = database_text(statement, 1),
            .expires_at_ms = database_int(statement, 2),
        };
        if (!row(argument, &record, err)) {
            database_reset(statement);
            return false;
        }
    }
    return more == 0;
}

bool store_save_identity(struct store *store, const struct identity_record *record, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_SAVE_IDENTITY);
    return database_bind_text(statement, 1, record->digest, err) &&
           database_bind_text(statement, 2, record->user_id, err) &&
           database_bind_int(statement, 3, record->expires_at_ms, err) && database_run(statement, err);
}

bool store_forget_identities(struct store *store, enum identity_kind kind, int64_t expired_at_ms, struct error *err) {
    static const enum statement statements[] = {
        [IDENTITIES_EXPIRED] = STATEMENT_DELETE_EXPIRED_IDENTITIES,
        [IDENTITIES_OF_USERS] = STATEMENT_DELETE_USERS_IDENTITIES,
        [IDENTITIES_ALL] = STATEMENT_DELETE_ALL_IDENTITIES,
    };
    struct database_statement *statement = store_statement(store, statements[kind]);
    return (kind != IDENTITIES_EXPIRED || database_bind_int(statement, 1, expired_at_ms, err)) &&
           database_run(statement, err);
}
