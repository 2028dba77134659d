/* store_identities.c - rows of `identities`: digests of API keys ("*") and of users' tokens. */
#include "provisioner/store_internal.h"

bool store_replace_api_keys(struct store *store, const char *const *digests, size_t count, struct error *err) {
    if (!store_begin(store, err)) {
        return false;
    }
    bool ok = store_run(store, store_statement(store, STATEMENT_DELETE_API_KEYS), err);
    for (size_t i = 0; ok && i < count; i++) {
        sqlite3_stmt *statement = store_statement(store, STATEMENT_ADD_API_KEY);
        ok = store_bind_text(store, statement, 1, digests[i], err) && store_run(store, statement, err);
    }
    return store_end(store, ok, err);
}

bool store_each_identity(struct store *store, int64_t now_ms,
                         bool (*row)(void *argument, const struct identity_record *record, struct error *err),
                         void *argument, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_LIST_IDENTITIES);
    if (!store_bind_int(store, statement, 1, now_ms, err)) {
        return false;
    }
    int more = 0;
    while ((more = store_step(store, statement, err)) > 0) {
        struct identity_record record = {
            .digest = store_column_text(statement, 0),
            .user_id = store_column_text(statement, 1),
            .expires_at_ms = sqlite3_column_int64(statement, 2),
        };
        if (!row(argument, &record, err)) {
            sqlite3_reset(statement);
            return false;
        }
    }
    return more == 0;
}

bool store_save_identity(struct store *store, const struct identity_record *record, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_SAVE_IDENTITY);
    return store_bind_text(store, statement, 1, record->digest, err) &&
           store_bind_text(store, statement, 2, record->user_id, err) &&
           store_bind_int(store, statement, 3, record->expires_at_ms, err) && store_run(store, statement, err);
}

bool store_forget_identities(struct store *store, enum identity_kind kind, int64_t expired_at_ms, struct error *err) {
    static const enum statement statements[] = {
        [IDENTITIES_EXPIRED] = STATEMENT_DELETE_EXPIRED_IDENTITIES,
        [IDENTITIES_OF_USERS] = STATEMENT_DELETE_USERS_IDENTITIES,
        [IDENTITIES_ALL] = STATEMENT_DELETE_ALL_IDENTITIES,
    };
    sqlite3_stmt *statement = store_statement(store, statements[kind]);
    return (kind != IDENTITIES_EXPIRED || store_bind_int(store, statement, 1, expired_at_ms, err)) &&
           store_run(store, statement, err);
}
