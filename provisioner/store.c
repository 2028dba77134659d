#include "provisioner/store.h"

#include <stdlib.h>

#include "provisioner/migrations.h"
#include "provisioner/store_internal.h"

static bool prepare(struct store *store, struct error *err) {
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        const char *text = store_statement_text(database_kind(store->database), i);
        store->statements[i] = database_prepare(store->database, text, err);
        if (store->statements[i] == NULL) {
            return false;
        }
    }
    return true;
}

static struct store *open_for(const char *url, const char *password, enum database_use use, struct error *err) {
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    store->database = database_open(url, password, use, err);
    if (store->database == NULL || !migrations_run(store->database, migrations_known(store->database), err) ||
        !prepare(store, err)) {
        store_close(store);
        return NULL;
    }
    return store;
}

/* Nodes that led until now, and whose connection is broken, are not to go on as if nothing had happened. */
static bool count_as_leader(struct store *store, struct error *err) {
    return database_kind(store->database) != DATABASE_POSTGRES ||
           database_execute(store->database, "UPDATE leadership SET term = term + 1", err);
}

struct store *store_open(const char *url, const char *password, struct error *err) {
    struct store *store = open_for(url, password, DATABASE_OWNED, err);
    if (store != NULL && !count_as_leader(store, err)) {
        store_close(store);
        return NULL;
    }
    return store;
}

struct store *store_join(const char *url, const char *password, struct error *err) {
    return open_for(url, password, DATABASE_SHARED, err);
}

void store_close(struct store *store) {
    if (store == NULL) {
        return;
    }
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        database_statement_free(store->statements[i]);
    }
    database_close(store->database);
    free(store);
}

const char *store_kind_name(const struct store *store) {
    return database_kind(store->database) == DATABASE_POSTGRES ? "postgres" : "sqlite";
}

const struct histogram *store_commits(const struct store *store) {
    return database_commits(store->database);
}

const struct histogram *store_statements(const struct store *store) {
    return database_statements(store->database);
}

bool store_is_failing(struct store *store, struct error *err) {
    /* Something is written, since a full disk can be read. */
    return database_is_failing(store->database, err) && !store_set_property(store, "probe", "", 0, err);
}

const char *store_folder(const struct store *store) {
    return database_folder(store->database);
}

struct database_statement *store_statement(struct store *store, enum statement which) {
    database_clear(store->statements[which]);
    return store->statements[which];
}

bool store_begin(struct store *store, struct error *err) {
    return database_begin(store->database, TRANSACTION_ORDINARY, err);
}

bool store_end(struct store *store, bool ok, struct error *err) {
    if (ok) {
        return database_commit(store->database, err);
    }
    database_rollback(store->database);
    return false;
}
