#include "provisioner/database.h"

#include <string.h>

#include "provisioner/database_internal.h"

struct database *database_open(const char *url, const char *password, enum database_use use, struct error *err) {
    return strncmp(url, "postgres", strlen("postgres")) == 0 ? database_postgres_open(url, password, use, err)
                                                             : database_sqlite_open(url, err);
}

void database_close(struct database *database) {
    if (database != NULL) {
        database->operations->close(database);
    }
}

/* Remembers how it went. */
static bool note(struct database *database, bool ok, const struct error *err) {
    if (!ok) {
        database->failure = *err;
    } else if (database->failure.code != ERROR_NONE) {
        database->failure = (struct error){0};
    }
    return ok;
}

bool database_is_failing(const struct database *database, struct error *err) {
    if (database->failure.code != ERROR_NONE) {
        *err = database->failure;
    }
    return database->failure.code != ERROR_NONE;
}

const struct histogram *database_commits(const struct database *database) {
    return &database->commits;
}

const struct histogram *database_statements(const struct database *database) {
    return &database->statements;
}

static void observe_since(struct histogram *histogram, double began_s) {
    histogram_observe(histogram, &histogram_bounds_of_latencies, histogram_now_seconds() - began_s);
}

enum database_kind database_kind(const struct database *database) {
    return database->operations->kind;
}

const char *database_folder(const struct database *database) {
    return database->operations->folder(database);
}

bool database_execute(struct database *database, const char *script, struct error *err) {
    return note(database, database->operations->execute(database, script, err), err);
}

bool database_begin(struct database *database, enum database_transaction kind, struct error *err) {
    return note(database, database->operations->begin(database, kind, err), err);
}

bool database_commit(struct database *database, struct error *err) {
    double began_s = histogram_now_seconds();
    bool ok = note(database, database->operations->commit(database, err), err);
    observe_since(&database->commits, began_s);
    return ok;
}

void database_rollback(struct database *database) {
    database->operations->rollback(database);
}

struct database_statement *database_prepare(struct database *database, const char *sql, struct error *err) {
    return database->operations->prepare(database, sql, err);
}

void database_statement_free(struct database_statement *statement) {
    if (statement != NULL) {
        statement->database->operations->statement_free(statement);
    }
}

void database_reset(struct database_statement *statement) {
    statement->database->operations->reset(statement);
}

void database_clear(struct database_statement *statement) {
    statement->database->operations->clear(statement);
}

bool database_bind_text(struct database_statement *statement, int index, const char *text, struct error *err) {
    const struct database_operations *operations = statement->database->operations;
    return text == NULL ? operations->bind_null(statement, index, err)
                        : operations->bind_text(statement, index, text, err);
}

bool database_bind_int(struct database_statement *statement, int index, int64_t value, struct error *err) {
    return statement->database->operations->bind_int(statement, index, value, err);
}

bool database_bind_int_or_null(struct database_statement *statement, int index, int64_t value, struct error *err) {
    return value == 0 ? statement->database->operations->bind_null(statement, index, err)
                      : database_bind_int(statement, index, value, err);
}

bool database_bind_blob(struct database_statement *statement, int index, const void *data, size_t length,
                        struct error *err) {
    const struct database_operations *operations = statement->database->operations;
    return data == NULL ? operations->bind_null(statement, index, err)
                        : operations->bind_blob(statement, index, data, length, err);
}

int database_step(struct database_statement *statement, struct error *err) {
    int row = statement->database->operations->step(statement, err);
    note(statement->database, row >= 0, err);
    return row;
}

bool database_run(struct database_statement *statement, struct error *err) {
    struct database *database = statement->database;
    double began_s = histogram_now_seconds();
    bool ok = note(database, database->operations->run(statement, err), err);
    observe_since(&database->statements, began_s);
    return ok;
}

int64_t database_changes(const struct database_statement *statement) {
    return statement->database->operations->changes(statement);
}

const char *database_text(const struct database_statement *statement, int column) {
    return statement->database->operations->text(statement, column);
}

int64_t database_int(const struct database_statement *statement, int column) {
    return statement->database->operations->integer(statement, column);
}

const void *database_blob(const struct database_statement *statement, int column, size_t *length) {
    return statement->database->operations->blob(statement, column, length);
}
