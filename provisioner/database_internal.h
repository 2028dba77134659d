/* database_internal.h - what an implementation of database.h is. Not for others. */
#ifndef TERMINALS_PROVISIONER_DATABASE_INTERNAL_H
#define TERMINALS_PROVISIONER_DATABASE_INTERNAL_H

#include "provisioner/database.h"

/* The functions of database.h; those that database.c can do by the others are not here. */
struct database_operations {
    enum database_kind kind;
    void (*close)(struct database *database);
    const char *(*folder)(const struct database *database);
    bool (*execute)(struct database *database, const char *script, struct error *err);
    bool (*begin)(struct database *database, enum database_transaction kind, struct error *err);
    bool (*commit)(struct database *database, struct error *err);
    void (*rollback)(struct database *database);
    struct database_statement *(*prepare)(struct database *database, const char *sql, struct error *err);
    void (*statement_free)(struct database_statement *statement);
    void (*reset)(struct database_statement *statement);
    void (*clear)(struct database_statement *statement);
    bool (*bind_null)(struct database_statement *statement, int index, struct error *err);
    bool (*bind_text)(struct database_statement *statement, int index, const char *text, struct error *err);
    bool (*bind_int)(struct database_statement *statement, int index, int64_t value, struct error *err);
    bool (*bind_blob)(struct database_statement *statement, int index, const void *data, size_t length,
                      struct error *err);
    int (*step)(struct database_statement *statement, struct error *err);
    bool (*run)(struct database_statement *statement, struct error *err);
    int64_t (*changes)(const struct database_statement *statement);
    const char *(*text)(const struct database_statement *statement, int column);
    int64_t (*integer)(const struct database_statement *statement, int column);
    const void *(*blob)(const struct database_statement *statement, int column, size_t *length);
};

/* The first member of every implementation's own structures. */
struct database {
    const struct database_operations *operations;
    struct error failure;        /* of what was asked last; ERROR_NONE: it worked */
    struct histogram commits;    /* bounds: histogram_bounds_of_latencies */
    struct histogram statements; /* the same, of database_run() */
};
struct database_statement {
    struct database *database;
};

/* What users are told of an error that names the database. */
#define DATABASE_TOLD "The database is not available"

/* The connection to PostgreSQL, for what only it can (store_nodes.c). */
struct postgres_link *database_postgres_link(struct database *database);

/* NULL with *err. */
struct database *database_sqlite_open(const char *url, struct error *err);
struct database *database_postgres_open(const char *url, const char *password, enum database_use use,
                                        struct error *err);

#endif
