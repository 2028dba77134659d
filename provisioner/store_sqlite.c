/* store_sqlite.c - the SQLite connection: opening it, the statements, and what its errors mean to us. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "provisioner/migrations.h"
#include "provisioner/run_folder.h"
#include "provisioner/store_internal.h"

/* Others at the same file: a person with sqlite3, a backup. Longer than that the event loop shall not stand still. */
#define BUSY_TIMEOUT_MS 1000

#define TENANT_COLUMNS                                                                                                 \
    "id, user_id, policy_id, context_id, route_key, instance_id, instance_name, backend_type, backend_reference, "     \
    "host, port, key_encrypted, status, error, created_at, updated_at, last_accessed_at, policy_hash, started_at"
#define AUDIT_COLUMNS                                                                                                  \
    "id, action, severity, user_id, request_id, resource_type, resource_id, detail, ip_address, user_agent, "          \
    "status_code, created_at"
/* One statement for each way to ask, so that each has its index. */
#define COUNT_AUDIT   "SELECT count(*) FROM (SELECT 1 FROM audit_logs WHERE "
#define COUNT_UP_TO   " LIMIT 100000)" /* STORE_AUDIT_TOTAL_MAX */
#define SELECT_AUDIT  "SELECT " AUDIT_COLUMNS ", sequence FROM audit_logs WHERE "
#define AUDIT_SINCE   "created_at >= $1"
#define AUDIT_OF_ONE  " = $1 AND created_at >= $2"
#define AUDIT_OF_BOTH "user_id = $1 AND action = $2 AND created_at >= $3"
#define AUDIT_BY_AGE  " ORDER BY created_at DESC, sequence DESC "

static const char *const statement_texts[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_SAVE_TENANT] =
        "INSERT INTO tenants (" TENANT_COLUMNS ") "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, "
        "$19) "
        "ON CONFLICT (id) DO UPDATE SET instance_id = excluded.instance_id, instance_name = excluded.instance_name, "
        "backend_type = excluded.backend_type, backend_reference = excluded.backend_reference, host = excluded.host, "
        "port = excluded.port, key_encrypted = excluded.key_encrypted, status = excluded.status, "
        "error = excluded.error, updated_at = excluded.updated_at, last_accessed_at = excluded.last_accessed_at, "
        "policy_hash = excluded.policy_hash, started_at = excluded.started_at",
    [STATEMENT_DELETE_TENANT] = "DELETE FROM tenants WHERE id = $1",
    [STATEMENT_LIST_TENANTS] = "SELECT " TENANT_COLUMNS " FROM tenants ORDER BY created_at, id",
    [STATEMENT_SAVE_ACCESS] = "UPDATE tenants SET last_accessed_at = $1 WHERE id = $2",
    [STATEMENT_REPLACE_KEY] = "UPDATE tenants SET key_encrypted = $1 WHERE id = $2",
    [STATEMENT_SAVE_POLICY] = "INSERT INTO policies (id, data, created_at, updated_at) VALUES ($1, $2, $3, $4) "
                              "ON CONFLICT (id) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at",
    [STATEMENT_DELETE_POLICY] = "DELETE FROM policies WHERE id = $1",
    [STATEMENT_LIST_POLICIES] = "SELECT id, data, created_at, updated_at FROM policies ORDER BY created_at, id",
    [STATEMENT_DELETE_API_KEYS] = "DELETE FROM identities WHERE user_id = '*'",
    [STATEMENT_ADD_API_KEY] = "INSERT INTO identities (digest, user_id) VALUES ($1, '*') "
                              "ON CONFLICT (digest) DO UPDATE SET user_id = '*', expires_at = NULL",
    [STATEMENT_LIST_IDENTITIES] = "SELECT digest, user_id, coalesce(expires_at, 0) FROM identities "
                                  "WHERE expires_at IS NULL OR expires_at > $1",
    [STATEMENT_SAVE_IDENTITY] =
        "INSERT INTO identities (digest, user_id, expires_at) VALUES ($1, $2, $3) "
        "ON CONFLICT (digest) DO UPDATE SET user_id = excluded.user_id, expires_at = excluded.expires_at",
    [STATEMENT_DELETE_EXPIRED_IDENTITIES] = "DELETE FROM identities WHERE expires_at <= $1",
    [STATEMENT_DELETE_USERS_IDENTITIES] = "DELETE FROM identities WHERE user_id <> '*'",
    [STATEMENT_DELETE_ALL_IDENTITIES] = "DELETE FROM identities",
    [STATEMENT_APPEND_AUDIT] = "INSERT INTO audit_logs (" AUDIT_COLUMNS ") "
                               "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 "
                               "WHERE NOT EXISTS (SELECT 1 FROM audit_logs WHERE id = $1)",
    [STATEMENT_COUNT_AUDIT] = COUNT_AUDIT AUDIT_SINCE COUNT_UP_TO,
    [STATEMENT_COUNT_AUDIT_OF_ACTION] = COUNT_AUDIT "action" AUDIT_OF_ONE COUNT_UP_TO,
    [STATEMENT_COUNT_AUDIT_OF_USER] = COUNT_AUDIT "user_id" AUDIT_OF_ONE COUNT_UP_TO,
    [STATEMENT_COUNT_AUDIT_OF_BOTH] = COUNT_AUDIT AUDIT_OF_BOTH COUNT_UP_TO,
    [STATEMENT_LIST_AUDIT] = SELECT_AUDIT AUDIT_SINCE AUDIT_BY_AGE "LIMIT $2 OFFSET $3",
    [STATEMENT_LIST_AUDIT_OF_ACTION] = SELECT_AUDIT "action" AUDIT_OF_ONE AUDIT_BY_AGE "LIMIT $3 OFFSET $4",
    [STATEMENT_LIST_AUDIT_OF_USER] = SELECT_AUDIT "user_id" AUDIT_OF_ONE AUDIT_BY_AGE "LIMIT $3 OFFSET $4",
    [STATEMENT_LIST_AUDIT_OF_BOTH] = SELECT_AUDIT AUDIT_OF_BOTH AUDIT_BY_AGE "LIMIT $4 OFFSET $5",
    [STATEMENT_NEXT_AUDIT] = SELECT_AUDIT "sequence > $1 ORDER BY sequence LIMIT 1",
    [STATEMENT_LAST_AUDIT] = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit_logs'), 0)",
    [STATEMENT_DELETE_AUDIT] = "DELETE FROM audit_logs WHERE sequence IN (SELECT sequence FROM audit_logs "
                               "WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
    [STATEMENT_GET_PROPERTY] = "SELECT value FROM properties WHERE name = $1",
    [STATEMENT_SET_PROPERTY] = "INSERT INTO properties (name, value) VALUES ($1, $2) "
                               "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
};

bool store_error(struct store *store, int result, struct error *err) {
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
            return error_set(err, meanings[i].code, "database `%s`: %s (%s)", store->path, meanings[i].meaning,
                             sqlite3_errmsg(store->database));
        }
    }
    return error_set(err, ERROR_INTERNAL, "database `%s`: %s", store->path, sqlite3_errmsg(store->database));
}

static bool check(struct store *store, int result, struct error *err) {
    return result == SQLITE_OK || store_error(store, result, err);
}

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

static bool split_path(struct store *store, const char *path, struct error *err) {
    const char *slash = strrchr(path, '/');
    store->path = strdup(path);
    store->folder = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (store->path == NULL || store->folder == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return true;
}

static bool configure(struct store *store, struct error *err) {
    /* WAL with synchronous=NORMAL: a killed process loses nothing that was committed; a power cut may lose the last
     * transactions but never tears one, and after it no instance of that boot runs anyway. */
    static const char *const pragmas[] = {
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA cache_size = -2048",
    };
    if (!check(store, sqlite3_busy_timeout(store->database, BUSY_TIMEOUT_MS), err)) {
        return false;
    }
    sqlite3_extended_result_codes(store->database, 1);
    for (size_t i = 0; i < sizeof pragmas / sizeof pragmas[0]; i++) {
        if (!check(store, sqlite3_exec(store->database, pragmas[i], NULL, NULL, NULL), err)) {
            return false;
        }
    }
    if (sqlite3_db_readonly(store->database, "main") != 0) {
        return error_set(err, ERROR_INTERNAL, "database `%s`: it cannot be written (check its owner and mode)",
                         store->path);
    }
    return true;
}

static bool prepare(struct store *store, struct error *err) {
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        int result = sqlite3_prepare_v3(store->database, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                        &store->statements[i], NULL);
        if (!check(store, result, err)) {
            return false;
        }
        /* To SQLite "$7" is a name, and its place is where it first appears. */
        for (int j = 1; j <= sqlite3_bind_parameter_count(store->statements[i]); j++) {
            if (atoi(sqlite3_bind_parameter_name(store->statements[i], j) + 1) != j) {
                return error_set(err, ERROR_INTERNAL, "statement %d does not number its parameters in order", i);
            }
        }
    }
    return true;
}

struct store *store_open(const char *url, struct error *err) {
    const char *path = url_path(url, err);
    struct store *store = path == NULL ? NULL : calloc(1, sizeof *store);
    if (store == NULL) {
        if (path != NULL) {
            error_set(err, ERROR_INTERNAL, "out of memory");
        }
        return NULL;
    }
    bool ok = split_path(store, path, err) && run_folder_create(store->folder, err) &&
              check(store,
                    sqlite3_open_v2(store->path, &store->database,
                                    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL),
                    err) &&
              configure(store, err) &&
              migrations_run(store->database, embedded_sql_sqlite, embedded_sql_sqlite_count, err) &&
              prepare(store, err);
    if (!ok) {
        store_close(store);
        return NULL;
    }
    return store;
}

void store_close(struct store *store) {
    if (store == NULL) {
        return;
    }
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(store->statements[i]);
    }
    sqlite3_close(store->database);
    free(store->path);
    free(store->folder);
    free(store);
}

const char *store_folder(const struct store *store) {
    return store->folder;
}

sqlite3_stmt *store_statement(struct store *store, enum statement which) {
    sqlite3_stmt *statement = store->statements[which];
    /* Reports the error of the last run, which its caller has seen. */
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return statement;
}

bool store_bind_text(struct store *store, sqlite3_stmt *statement, int index, const char *text, struct error *err) {
    return check(store, sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC), err);
}

bool store_bind_int(struct store *store, sqlite3_stmt *statement, int index, int64_t value, struct error *err) {
    return check(store, sqlite3_bind_int64(statement, index, value), err);
}

bool store_bind_int_or_null(struct store *store, sqlite3_stmt *statement, int index, int64_t value, struct error *err) {
    return value == 0 ? check(store, sqlite3_bind_null(statement, index), err)
                      : store_bind_int(store, statement, index, value, err);
}

bool store_bind_blob(struct store *store, sqlite3_stmt *statement, int index, const void *data, size_t length,
                     struct error *err) {
    return check(store, sqlite3_bind_blob64(statement, index, data, length, SQLITE_STATIC), err);
}

int store_step(struct store *store, sqlite3_stmt *statement, struct error *err) {
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        return 1;
    }
    if (result != SQLITE_DONE) {
        store_error(store, result, err);
    }
    sqlite3_reset(statement);
    return result == SQLITE_DONE ? 0 : -1;
}

bool store_run(struct store *store, sqlite3_stmt *statement, struct error *err) {
    return store_step(store, statement, err) == 0;
}

const char *store_column_text(sqlite3_stmt *statement, int column) {
    return (const char *)sqlite3_column_text(statement, column);
}

bool store_begin(struct store *store, struct error *err) {
    return store_run(store, store_statement(store, STATEMENT_BEGIN), err);
}

bool store_end(struct store *store, bool ok, struct error *err) {
    if (ok && store_run(store, store_statement(store, STATEMENT_COMMIT), err)) {
        return true;
    }
    /* SQLite rolls back by itself after some errors (a full disk); then there is nothing to roll back. */
    if (sqlite3_get_autocommit(store->database) == 0) {
        struct error ignored;
        if (!store_run(store, store_statement(store, STATEMENT_ROLLBACK), &ignored)) {
            log_error(NULL, "roll back: %s", ignored.message);
        }
    }
    return false;
}
