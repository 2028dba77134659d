#include "provisioner/migrations.h"

#include <string.h>

#include "common/log.h"

static bool database_error(sqlite3 *database, int result, struct error *err, const char *what) {
    enum error_code code =
        (result & 0xff) == SQLITE_FULL || (result & 0xff) == SQLITE_BUSY ? ERROR_CAPACITY : ERROR_INTERNAL;
    return error_set(err, code, "%s: %s", what, sqlite3_errmsg(database));
}

static bool execute(sqlite3 *database, const char *sql, const char *what, struct error *err) {
    int result = sqlite3_exec(database, sql, NULL, NULL, NULL);
    return result == SQLITE_OK || database_error(database, result, err, what);
}

/* The highest version that the database has seen; 0 for a new one, -1 with *err. */
static int current_version(sqlite3 *database, struct error *err) {
    sqlite3_stmt *statement = NULL;
    int version = -1;
    int result = sqlite3_prepare_v2(
        database, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'", -1,
        &statement, NULL);
    if (result == SQLITE_OK && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        bool exists = sqlite3_column_int(statement, 0) > 0;
        sqlite3_finalize(statement);
        statement = NULL;
        if (!exists) {
            return 0;
        }
        result = sqlite3_prepare_v2(database, "SELECT coalesce(max(version), 0) FROM schema_migrations", -1, &statement,
                                    NULL);
        if (result == SQLITE_OK && (result = sqlite3_step(statement)) == SQLITE_ROW) {
            version = sqlite3_column_int(statement, 0);
        }
    }
    if (version < 0) {
        database_error(database, result, err, "read the version of the database");
    }
    sqlite3_finalize(statement);
    return version;
}

static bool record_version(sqlite3 *database, const struct embedded_sql *migration, struct error *err) {
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(database, "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)", -1,
                                    &statement, NULL);
    bool ok = result == SQLITE_OK && (result = sqlite3_bind_int(statement, 1, migration->version)) == SQLITE_OK &&
              (result = sqlite3_bind_text(statement, 2, migration->name, -1, SQLITE_STATIC)) == SQLITE_OK &&
              (result = sqlite3_step(statement)) == SQLITE_DONE;
    if (!ok) {
        database_error(database, result, err, "record the version of the database");
    }
    sqlite3_finalize(statement);
    return ok;
}

static bool run_one(sqlite3 *database, const struct embedded_sql *migration, struct error *err) {
    if (!execute(database, "BEGIN IMMEDIATE", "begin a migration", err)) {
        return false;
    }
    bool ok =
        execute(database,
                "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY NOT NULL, name TEXT NOT "
                "NULL)",
                "create schema_migrations", err) &&
        execute(database, migration->text, migration->name, err) && record_version(database, migration, err) &&
        execute(database, "COMMIT", "commit a migration", err);
    if (!ok) {
        /* SQLite has rolled back by itself after some errors; then this fails, and nothing is lost. */
        sqlite3_exec(database, "ROLLBACK", NULL, NULL, NULL);
        return error_prefix(err, "migrate the database to version %d", migration->version);
    }
    log_info(NULL, "database migrated to version %d (%s)", migration->version, migration->name);
    return true;
}

bool migrations_run(sqlite3 *database, const struct embedded_sql *migrations, size_t count, struct error *err) {
    int version = current_version(database, err);
    if (version < 0) {
        return false;
    }
    int newest = count == 0 ? 0 : migrations[count - 1].version;
    if (version > newest) {
        return error_set(
            err, ERROR_CONFLICT,
            "the database has version %d, this program knows versions up to %d: run the newer program that "
            "wrote it, or use another database",
            version, newest);
    }
    for (size_t i = 0; i < count; i++) {
        if (migrations[i].version > version && !run_one(database, &migrations[i], err)) {
            return false;
        }
    }
    return true;
}
