/* database_sqlite.c - database.h on SQLite: opening the file, and what its errors mean to us. */
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "provisioner/database_internal.h"
#include "provisioner/run_folder.h"

/* Others at the same file: a person with sqlite3, a backup. Longer than that the event loop shall not stand still. */
#define BUSY_TIMEOUT_MS 1000

struct sqlite_database {
    struct database base;
    sqlite3 *connection;
    char *path;
    char *folder;
    bool is_durable; /* PRAGMA synchronous is FULL */
};

struct sqlite_statement {
    struct database_statement base;
    sqlite3_stmt *handle;
};

static struct sqlite_database *of(struct database *database) {
    return (struct sqlite_database *)database;
}

static sqlite3_stmt *handle_of(const struct database_statement *statement) {
    return ((const struct sqlite_statement *)statement)->handle;
}

static bool fail(const struct sqlite_database *database, int result, struct error *err) {
    static const struct {
        int result;
        enum error_code code;
        const char *meaning;
    } meanings[] = {
        {SQLITE_FULL, ERROR_CAPACITY, "the disk is full"},
        {SQLITE_BUSY, ERROR_CAPACITY, "another program keeps it locked"},
        {SQLITE_LOCKED, ERROR_CAPACITY, "another program keeps it locked"},
        {SQLITE_READONLY, ERROR_INTERNAL, "it cannot be written"},
        {SQLITE_CANTOPEN, ERROR_INTERNAL, "it cannot be opened"},
        {SQLITE_CORRUPT, ERROR_INTERNAL, "it is damaged: restore it from a backup"},
        {SQLITE_NOTADB, ERROR_INTERNAL, "it is not an SQLite database"},
        {SQLITE_IOERR, ERROR_INTERNAL, "the disk does not do what it is told"},
        {SQLITE_NOMEM, ERROR_INTERNAL, "out of memory"},
    };
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].result == (result & 0xff)) {
            error_set(err, meanings[i].code, "database `%s`: %s (%s)", database->path, meanings[i].meaning,
                      sqlite3_errmsg(database->connection));
            return error_veil(err, DATABASE_TOLD);
        }
    }
    error_set(err, ERROR_INTERNAL, "database `%s`: %s", database->path, sqlite3_errmsg(database->connection));
    return error_veil(err, DATABASE_TOLD);
}

static bool check(const struct sqlite_database *database, int result, struct error *err) {
    return result == SQLITE_OK || fail(database, result, err);
}

static bool check_bind(const struct database_statement *statement, int result, struct error *err) {
    return check(of(statement->database), result, err);
}

/* --- statements -----------------------------------------------------------------------------------------------------
 */

static void statement_free(struct database_statement *statement) {
    sqlite3_finalize(handle_of(statement));
    free(statement);
}

/* To SQLite "$7" is a name, and its place is where it first appears. */
static bool is_numbered_in_order(sqlite3_stmt *handle) {
    for (int i = 1; i <= sqlite3_bind_parameter_count(handle); i++) {
        const char *name = sqlite3_bind_parameter_name(handle, i);
        if (name == NULL || atoi(name + 1) != i) {
            return false;
        }
    }
    return true;
}

static struct database_statement *prepare(struct database *database, const char *sql, struct error *err) {
    struct sqlite_statement *statement = calloc(1, sizeof *statement);
    if (statement == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    statement->base.database = database;
    bool ok = check(of(database),
                    sqlite3_prepare_v3(of(database)->connection, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement->handle,
                                       NULL),
                    err) &&
              (is_numbered_in_order(statement->handle) ||
               error_set(err, ERROR_INTERNAL, "the parameters are not numbered in order: %s", sql));
    if (!ok) {
        statement_free(&statement->base);
        return NULL;
    }
    return &statement->base;
}

static void reset(struct database_statement *statement) {
    /* Reports the error of the last run, which its caller has seen. */
    sqlite3_reset(handle_of(statement));
}

static void clear(struct database_statement *statement) {
    reset(statement);
    sqlite3_clear_bindings(handle_of(statement));
}

static bool bind_null(struct database_statement *statement, int index, struct error *err) {
    return check_bind(statement, sqlite3_bind_null(handle_of(statement), index), err);
}

static bool bind_text(struct database_statement *statement, int index, const char *text, struct error *err) {
    return check_bind(statement, sqlite3_bind_text(handle_of(statement), index, text, -1, SQLITE_STATIC), err);
}

static bool bind_int(struct database_statement *statement, int index, int64_t value, struct error *err) {
    return check_bind(statement, sqlite3_bind_int64(handle_of(statement), index, value), err);
}

static bool bind_blob(struct database_statement *statement, int index, const void *data, size_t length,
                      struct error *err) {
    return check_bind(statement, sqlite3_bind_blob64(handle_of(statement), index, data, length, SQLITE_STATIC), err);
}

static int step(struct database_statement *statement, struct error *err) {
    int result = sqlite3_step(handle_of(statement));
    if (result == SQLITE_ROW) {
        return 1;
    }
    if (result != SQLITE_DONE) {
        fail(of(statement->database), result, err);
    }
    reset(statement);
    return result == SQLITE_DONE ? 0 : -1;
}

static bool run(struct database_statement *statement, struct error *err) {
    int stepped = step(statement, err);
    reset(statement);
    return stepped == 0;
}

static int64_t changes(const struct database_statement *statement) {
    return sqlite3_changes64(of(statement->database)->connection);
}

static const char *text(const struct database_statement *statement, int column) {
    return (const char *)sqlite3_column_text(handle_of(statement), column);
}

static int64_t integer(const struct database_statement *statement, int column) {
    return sqlite3_column_int64(handle_of(statement), column);
}

static const void *blob(const struct database_statement *statement, int column, size_t *length) {
    const void *data = sqlite3_column_blob(handle_of(statement), column);
    *length = (size_t)sqlite3_column_bytes(handle_of(statement), column);
    return data;
}

/* --- transactions ---------------------------------------------------------------------------------------------------
 */

static bool execute(struct database *database, const char *script, struct error *err) {
    return check(of(database), sqlite3_exec(of(database)->connection, script, NULL, NULL, NULL), err);
}

/* With NORMAL, a commit does not wait for the disk (see configure()). */
static bool set_durable(struct database *database, bool is_durable, struct error *err) {
    if (of(database)->is_durable == is_durable) {
        return true;
    }
    if (!execute(database, is_durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", err)) {
        return false;
    }
    of(database)->is_durable = is_durable;
    return true;
}

static bool begin(struct database *database, enum database_transaction kind, struct error *err) {
    return set_durable(database, kind == TRANSACTION_DURABLE, err) && execute(database, "BEGIN IMMEDIATE", err);
}

static void rollback(struct database *database) {
    /* SQLite rolls back by itself after some errors (a full disk); then there is nothing to roll back. */
    if (sqlite3_get_autocommit(of(database)->connection) == 0) {
        sqlite3_exec(of(database)->connection, "ROLLBACK", NULL, NULL, NULL);
    }
}

static bool commit(struct database *database, struct error *err) {
    if (execute(database, "COMMIT", err)) {
        return true;
    }
    rollback(database);
    return false;
}

/* --- opening and closing --------------------------------------------------------------------------------------------
 */

/* The path in `sqlite:///path` or `sqlite+driver:///path`; NULL with *err. */
static const char *url_path(const char *url, struct error *err) {
    size_t scheme = strcspn(url, "+:");
    const char *rest = strstr(url, "://");
    if (scheme != strlen("sqlite") || strncmp(url, "sqlite", scheme) != 0 || rest == NULL ||
        strcspn(url, ":") != (size_t)(rest - url)) {
        error_set(err, ERROR_INVALID, "TERMINALS_DATABASE_URL: expected `sqlite:///path`");
        return NULL;
    }
    rest += strlen("://");
    if (rest[0] != '/' || rest[1] == '\0' || rest[strlen(rest) - 1] == '/' || strcmp(rest, "/:memory:") == 0 ||
        strchr(rest, '?') != NULL) {
        error_set(err, ERROR_INVALID,
                  "TERMINALS_DATABASE_URL: expected a file, `sqlite:///relative/path` or `sqlite:////absolute/path`");
        return NULL;
    }
    return rest + 1;
}

static bool split_path(struct sqlite_database *database, const char *path, struct error *err) {
    const char *slash = strrchr(path, '/');
    database->path = strdup(path);
    database->folder = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (database->path == NULL || database->folder == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return true;
}

static bool configure(struct sqlite_database *database, struct error *err) {
    /* WAL with synchronous=NORMAL: a killed process loses nothing that was committed; a power cut may lose the last
     * transactions but never tears one, and after it no instance of that boot runs anyway. */
    static const char *const pragmas[] = {
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA cache_size = -2048",
    };
    if (!check(database, sqlite3_busy_timeout(database->connection, BUSY_TIMEOUT_MS), err)) {
        return false;
    }
    sqlite3_extended_result_codes(database->connection, 1);
    for (size_t i = 0; i < sizeof pragmas / sizeof pragmas[0]; i++) {
        if (!check(database, sqlite3_exec(database->connection, pragmas[i], NULL, NULL, NULL), err)) {
            return false;
        }
    }
    if (sqlite3_db_readonly(database->connection, "main") != 0) {
        return error_set(err, ERROR_INTERNAL, "database `%s`: it cannot be written (check its owner and mode)",
                         database->path);
    }
    return true;
}

static void close_sqlite(struct database *database) {
    sqlite3_close(of(database)->connection);
    free(of(database)->path);
    free(of(database)->folder);
    free(database);
}

static const char *folder(const struct database *database) {
    return ((const struct sqlite_database *)database)->folder;
}

static const struct database_operations operations = {
    .kind = DATABASE_SQLITE,
    .close = close_sqlite,
    .folder = folder,
    .execute = execute,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .prepare = prepare,
    .statement_free = statement_free,
    .reset = reset,
    .clear = clear,
    .bind_null = bind_null,
    .bind_text = bind_text,
    .bind_int = bind_int,
    .bind_blob = bind_blob,
    .step = step,
    .run = run,
    .changes = changes,
    .text = text,
    .integer = integer,
    .blob = blob,
};

/* Sorts and new indexes that outgrow the cache go into files, which SQLite unlinks as it makes them: beside the
 * database, where we may write. In a container with a read-only root no other place may be left, and they failed. The
 * folder of the first database is the process's: the setting is a global of SQLite's
 * (https://sqlite.org/c3ref/temp_directory.html). */
static void choose_temporary_folder(const char *folder_of_first) {
    if (sqlite3_temp_directory == NULL) {
        sqlite3_temp_directory = sqlite3_mprintf("%s", folder_of_first); /* NULL, without memory: as it was */
    }
}

struct database *database_sqlite_open(const char *url, struct error *err) {
    const char *path = url_path(url, err);
    struct sqlite_database *database = path == NULL ? NULL : calloc(1, sizeof *database);
    if (database == NULL) {
        if (path != NULL) {
            error_set(err, ERROR_INTERNAL, "out of memory");
        }
        return NULL;
    }
    database->base.operations = &operations;
    bool ok = split_path(database, path, err) && run_folder_create(database->folder, err) &&
              check(database,
                    sqlite3_open_v2(database->path, &database->connection,
                                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL),
                    err) &&
              configure(database, err);
    if (!ok) {
        close_sqlite(&database->base);
        return NULL;
    }
    choose_temporary_folder(database->folder);
    return &database->base;
}
