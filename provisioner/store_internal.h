/* store_internal.h - what the store_*.c files share: a connection with its prepared statements. Not for others. */
#ifndef TERMINALS_PROVISIONER_STORE_INTERNAL_H
#define TERMINALS_PROVISIONER_STORE_INTERNAL_H

#include <sqlite3.h>

#include "provisioner/store.h"

enum statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_SAVE_TENANT,
    STATEMENT_DELETE_TENANT,
    STATEMENT_LIST_TENANTS,
    STATEMENT_SAVE_ACCESS,
    STATEMENT_REPLACE_KEY,
    STATEMENT_SAVE_POLICY,
    STATEMENT_DELETE_POLICY,
    STATEMENT_LIST_POLICIES,
    STATEMENT_SAVE_LIFECYCLE,
    STATEMENT_DELETE_LIFECYCLE,
    STATEMENT_LIST_LIFECYCLES,
    STATEMENT_SAVE_RESET,
    STATEMENT_LIST_RESETS,
    STATEMENT_DELETE_API_KEYS,
    STATEMENT_ADD_API_KEY,
    STATEMENT_LIST_IDENTITIES,
    STATEMENT_SAVE_IDENTITY,
    STATEMENT_DELETE_EXPIRED_IDENTITIES,
    STATEMENT_DELETE_USERS_IDENTITIES,
    STATEMENT_DELETE_ALL_IDENTITIES,
    STATEMENT_APPEND_AUDIT,
    STATEMENT_COUNT_AUDIT,
    STATEMENT_COUNT_AUDIT_OF_ACTION,
    STATEMENT_COUNT_AUDIT_OF_USER,
    STATEMENT_COUNT_AUDIT_OF_BOTH,
    STATEMENT_LIST_AUDIT,
    STATEMENT_LIST_AUDIT_OF_ACTION,
    STATEMENT_LIST_AUDIT_OF_USER,
    STATEMENT_LIST_AUDIT_OF_BOTH,
    STATEMENT_NEXT_AUDIT,
    STATEMENT_LAST_AUDIT,
    STATEMENT_DELETE_AUDIT,
    STATEMENT_GET_PROPERTY,
    STATEMENT_SET_PROPERTY,
    STATEMENT_COUNT,
};

struct store {
    sqlite3 *database;
    char *path;
    char *folder;
    sqlite3_stmt *statements[STATEMENT_COUNT];
};

/* Returns a statement, reset and without parameters. */
sqlite3_stmt *store_statement(struct store *store, enum statement which);

/* Bind a parameter, counted from 1; NULL (and for store_bind_time 0) becomes SQL NULL. Text must stay until the
 * statement is done. */
bool store_bind_text(struct store *store, sqlite3_stmt *statement, int index, const char *text, struct error *err);
bool store_bind_int(struct store *store, sqlite3_stmt *statement, int index, int64_t value, struct error *err);
bool store_bind_int_or_null(struct store *store, sqlite3_stmt *statement, int index, int64_t value, struct error *err);
bool store_bind_blob(struct store *store, sqlite3_stmt *statement, int index, const void *data, size_t length,
                     struct error *err);

/* Runs a statement that gives no rows, and resets it. */
bool store_run(struct store *store, sqlite3_stmt *statement, struct error *err);

/* The next row: 1, 0 at the end (reset), -1 with *err (reset). */
int store_step(struct store *store, sqlite3_stmt *statement, struct error *err);

/* The text of a column, borrowed until the next step; NULL for SQL NULL. */
const char *store_column_text(sqlite3_stmt *statement, int column);

/* Fills *err from the database's own message. Returns false. */
bool store_error(struct store *store, int result, struct error *err);

#endif
