#include "provisioner/migrations.h"

#include "common/log.h"

#define CREATE_TABLE                                                                                                   \
    "CREATE TABLE IF NOT EXISTS schema_migrations (version INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL)"

struct migration_list migrations_known(const struct database *database) {
    return database_kind(database) == DATABASE_SQLITE ? migrations_sqlite : migrations_postgres;
}

/* The first column of a query's first row; -1 with *err. */
static int64_t ask_number(struct database *database, const char *sql, struct error *err) {
    struct database_statement *statement = database_prepare(database, sql, err);
    int64_t number = -1;
    if (statement != NULL && database_step(statement, err) > 0) {
        number = database_int(statement, 0);
    }
    database_statement_free(statement);
    return number;
}

int migrations_current(struct database *database, struct error *err) {
    static const char *const has_table[] = {
        [DATABASE_SQLITE] = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_migrations'",
        [DATABASE_POSTGRES] = "SELECT count(to_regclass('schema_migrations'))",
    };
    int64_t version = ask_number(database, has_table[database_kind(database)], err);
    if (version > 0) {
        version = ask_number(database, "SELECT coalesce(max(version), 0) FROM schema_migrations", err);
    }
    if (version < 0) {
        error_prefix(err, "read the version of the database");
    }
    return (int)version;
}

static bool record_version(struct database *database, const struct migration *migration, struct error *err) {
    struct database_statement *statement =
        database_prepare(database, "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)", err);
    bool ok = statement != NULL && database_bind_int(statement, 1, migration->version, err) &&
              database_bind_text(statement, 2, migration->name, err) && database_run(statement, err);
    database_statement_free(statement);
    return ok || error_prefix(err, "record the version of the database");
}

static bool refuse_newer(int version, int newest, struct error *err) {
    return error_set(err, ERROR_CONFLICT,
                     "the database has version %d, this program knows versions up to %d: run the newer program that "
                     "wrote it, or use another database",
                     version, newest);
}

/* In a transaction: somebody else may have done it since we looked. The table comes first, as PostgreSQL remembers that
 * there was none until a statement that needs it makes it look again. */
static bool run_missing(struct database *database, struct migration_list migrations, struct error *err) {
    int version = database_execute(database, CREATE_TABLE, err) ? migrations_current(database, err) : -1;
    if (version < 0) {
        return false;
    }
    for (size_t i = 0; i < migrations.count; i++) {
        const struct migration *migration = &migrations.items[i];
        if (migration->version > version &&
            (!database_execute(database, migration->text, err) || !record_version(database, migration, err))) {
            return error_prefix(err, "migrate the database to version %d (%s)", migration->version, migration->name);
        }
    }
    return true;
}

static bool forget_newer(struct database *database, int version, struct error *err) {
    struct database_statement *statement =
        database_prepare(database, "DELETE FROM schema_migrations WHERE version > $1", err);
    bool ok = statement != NULL && database_bind_int(statement, 1, version, err) && database_run(statement, err);
    database_statement_free(statement);
    return ok;
}

static bool stamp(struct database *database, struct migration_list migrations, int version, struct error *err) {
    if (!database_execute(database, CREATE_TABLE, err)) {
        return false;
    }
    int current = migrations_current(database, err);
    if (current < 0 || !forget_newer(database, version, err)) {
        return false;
    }
    for (size_t i = 0; i < migrations.count; i++) {
        const struct migration *migration = &migrations.items[i];
        if (migration->version > current && migration->version <= version &&
            !record_version(database, migration, err)) {
            return false;
        }
    }
    return true;
}

bool migrations_stamp(struct database *database, struct migration_list migrations, int version, struct error *err) {
    bool is_known = version == 0;
    for (size_t i = 0; i < migrations.count; i++) {
        is_known = is_known || migrations.items[i].version == version;
    }
    if (!is_known) {
        return error_set(err, ERROR_INVALID, "there is no version %d", version);
    }
    if (!database_begin(database, TRANSACTION_ALONE, err)) {
        return false;
    }
    if (!stamp(database, migrations, version, err)) {
        database_rollback(database);
        return false;
    }
    return database_commit(database, err);
}

int migrations_newest(struct migration_list migrations) {
    return migrations.count == 0 ? 0 : migrations.items[migrations.count - 1].version;
}

bool migrations_run(struct database *database, struct migration_list migrations, struct error *err) {
    int newest = migrations_newest(migrations);
    int version = migrations_current(database, err);
    if (version < 0) {
        return false;
    }
    if (version > newest) {
        return refuse_newer(version, newest, err);
    }
    if (version == newest) {
        return true;
    }
    if (!database_begin(database, TRANSACTION_ALONE, err)) {
        return error_prefix(err, "migrate the database");
    }
    if (!run_missing(database, migrations, err)) {
        database_rollback(database);
        return false;
    }
    if (!database_commit(database, err)) {
        return error_prefix(err, "commit the migration of the database");
    }
    log_info(NULL, "database migrated from version %d to %d", version, newest);
    return true;
}
