/* store_keys.c - all encrypted keys at once, and the property that tells which key encrypted them. */
#include "provisioner/store_internal.h"

/* Whoever holds the new key only must find it here after a power cut, too: this one commit waits for the disk. */
static bool set_durable(struct store *store, bool is_durable, struct error *err) {
    const char *pragma = is_durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
    int result = sqlite3_exec(store->database, pragma, NULL, NULL, NULL);
    return result == SQLITE_OK || store_error(store, result, err);
}

static bool replace_one(struct store *store, const struct sealed_key *key, struct error *err) {
    sqlite3_stmt *statement = store_statement(store, STATEMENT_REPLACE_KEY);
    return store_bind_blob(store, statement, 1, key->box, key->length, err) &&
           store_bind_text(store, statement, 2, key->tenant_id, err) && store_run(store, statement, err);
}

bool store_replace_keys(struct store *store, const struct sealed_key *keys, size_t count, const char *check_name,
                        const void *check, size_t check_length, struct error *err) {
    if (!set_durable(store, true, err)) {
        return false;
    }
    bool ok = store_begin(store, err);
    if (ok) {
        for (size_t i = 0; ok && i < count; i++) {
            ok = replace_one(store, &keys[i], err);
        }
        ok = store_end(store, ok && store_set_property(store, check_name, check, check_length, err), err);
    }
    set_durable(store, false, NULL); /* slower is all it is if this fails */
    return ok;
}
