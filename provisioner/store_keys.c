/* store_keys.c - all encrypted keys at once, and the property that tells which key encrypted them. */
#include "provisioner/store_internal.h"

static bool replace_one(struct store *store, const struct sealed_key *key, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_REPLACE_KEY);
    return database_bind_blob(statement, 1, key->box, key->length, err) &&
           database_bind_text(statement, 2, key->tenant_id, err) && database_run(statement, err);
}

bool store_replace_keys(struct store *store, const struct sealed_key *keys, size_t count, const char *check_name,
                        const void *check, size_t check_length, struct error *err) {
    /* Whoever holds the new key only must find it here after a power cut, too. */
    if (!database_begin(store->database, TRANSACTION_DURABLE, err)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = replace_one(store, &keys[i], err);
    }
    return store_end(store, ok && store_set_property(store, check_name, check, check_length, err), err);
}
