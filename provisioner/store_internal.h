/* store_internal.h - what the store_*.c files share: a connection with its prepared statements. Not for others. */
#ifndef TERMINALS_PROVISIONER_STORE_INTERNAL_H
#define TERMINALS_PROVISIONER_STORE_INTERNAL_H

#include "provisioner/database.h"
#include "provisioner/store.h"

enum statement {
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
    struct database *database;
    struct database_statement *statements[STATEMENT_COUNT];
};

/* Returns a statement, reset and without parameters. */
struct database_statement *store_statement(struct store *store, enum statement which);

/* Its SQL. */
const char *store_statement_text(enum database_kind kind, enum statement which);

#endif
