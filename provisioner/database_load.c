/* database_load.c - database_dump.h, the way back. */
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/json.h"
#include "provisioner/database_catalog.h"
#include "provisioner/database_dump.h"
#include "provisioner/migrations.h"
#include "provisioner/postgres_link.h"

#define FORMAT                   1
#define FIRST_VERSION_WITH_NODES 7

/* The dump that is read, and the table in hand. */
struct load {
    struct database *database;
    FILE *in;
    char *line;
    size_t room;
    struct catalog catalog;
    const struct catalog_table *table;  /* NULL: none yet */
    int column_of[CATALOG_COLUMNS_MAX]; /* of the table, for each of the dump */
    size_t columns;                     /* of the dump's table */
    char *sql;
    struct database_statement *insert;
    int64_t rows;
    int64_t audit_sequence;
};

/* --- lines -------------------------------------------------------------------------------------------------------- */

/* The next line; NULL with *err, also at the end: the last line says that it is. */
static struct json_object *read_line(struct load *load, struct error *err) {
    ssize_t length = getline(&load->line, &load->room, load->in);
    if (length <= 0) {
        error_set(err, ERROR_INVALID, "the dump ends too early");
        return NULL;
    }
    return json_parse(load->line, (size_t)length, err);
}

static bool read_first(struct load *load, int *version, struct error *err) {
    cleanup_json struct json_object *first = read_line(load, err);
    if (first == NULL) {
        return false;
    }
    if (json_get_int(first, "format", 0) != FORMAT) {
        return error_set(err, ERROR_INVALID, "this is no dump, or one of a newer program");
    }
    *version = (int)json_get_int(first, "version", 0);
    load->audit_sequence = json_get_int(first, "audit_sequence", 0);
    return true;
}

/* --- what may be loaded into -------------------------------------------------------------------------------------- */

static bool count_rows(struct database *database, const char *sql, int64_t *count, struct error *err) {
    struct database_statement *statement = database_prepare(database, sql, err);
    int stepped = statement == NULL ? -1 : database_step(statement, err);
    *count = stepped == 1 ? database_int(statement, 0) : 0;
    database_statement_free(statement);
    return stepped >= 0;
}

bool database_has_no_nodes(struct database *database, struct error *err) {
    int version = migrations_current(database, err);
    if (version < FIRST_VERSION_WITH_NODES || database_kind(database) == DATABASE_SQLITE) {
        return version >= 0;
    }
    struct database_statement *statement = database_prepare(
        database, "SELECT name FROM nodes WHERE seen_at > extract(epoch FROM clock_timestamp()) * 1000 - 6000 LIMIT 1",
        err);
    int found = statement == NULL ? -1 : database_step(statement, err);
    if (found > 0) {
        const char *name = database_text(statement, 0);
        error_set(err, ERROR_CONFLICT,
                  "the node `%s` was there within the last 6 seconds: stop Terminals on all nodes first",
                  name == NULL ? "" : name);
    }
    database_statement_free(statement);
    return found == 0;
}

bool database_may_load(struct database *database, bool force, struct error *err) {
    int64_t tenants = 0;
    int64_t events = 0;
    int version = migrations_current(database, err);
    int newest = migrations_newest(migrations_known(database));
    if (version <= 0) {
        return version == 0;
    }
    if (version > newest) {
        return error_set(err, ERROR_CONFLICT, "the database is at version %d, which this program does not know",
                         version);
    }
    if (force) {
        return true;
    }
    if (!count_rows(database, "SELECT count(*) FROM tenants", &tenants, err) ||
        !count_rows(database, "SELECT count(*) FROM audit_logs", &events, err)) {
        return false;
    }
    return (tenants == 0 && events == 0) ||
           error_set(err, ERROR_CONFLICT,
                     "the database has %lld tenants and %lld rows in its audit log: --force puts the backup in their "
                     "place",
                     (long long)tenants, (long long)events);
}

/* Makes the tables of `version` if there are none. */
static bool prepare_tables(struct database *database, int version, struct error *err) {
    struct migration_list known = migrations_known(database);
    int current = migrations_current(database, err);
    if (current < 0) {
        return false;
    }
    if (version > migrations_newest(known)) {
        return error_set(err, ERROR_CONFLICT,
                         "the backup is of version %d of the database, this program knows %d: use a "
                         "newer one",
                         version, migrations_newest(known));
    }
    if (current > 0 && current != version) {
        return error_set(err, ERROR_CONFLICT,
                         "the backup is of version %d of the database, which is at %d: restore into a new database, or "
                         "with the program of that version",
                         version, current);
    }
    while (known.count > 0 && known.items[known.count - 1].version > version) {
        known.count--;
    }
    return current > 0 || migrations_run(database, known, err);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static int find_column(const struct catalog_table *table, const char *name) {
    for (size_t i = 0; name != NULL && i < table->count; i++) {
        if (strcmp(table->columns[i], name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Every column of the dump has its place, under the same name: names in the dump never become SQL. */
static bool match_columns(struct load *load, struct json_object *columns, struct error *err) {
    load->columns = columns == NULL ? 0 : json_object_array_length(columns);
    if (load->columns == 0 || load->columns > CATALOG_COLUMNS_MAX) {
        return error_set(err, ERROR_INVALID, "the dump has a table without columns");
    }
    for (size_t i = 0; i < load->columns; i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(columns, i));
        load->column_of[i] = find_column(load->table, name);
        if (load->column_of[i] < 0) {
            return error_set(err, ERROR_CONFLICT, "the database has no column `%.60s.%.60s`", load->table->name,
                             name == NULL ? "" : name);
        }
    }
    return true;
}

static bool prepare_insert(struct load *load, struct error *err) {
    cleanup_buffer struct buffer sql = {0};
    buffer_append_format(&sql, "INSERT INTO %s (", load->table->name);
    for (size_t i = 0; i < load->columns; i++) {
        buffer_append_format(&sql, "%s%s", i > 0 ? ", " : "", load->table->columns[load->column_of[i]]);
    }
    buffer_append_string(&sql, ") VALUES (");
    for (size_t i = 0; i < load->columns; i++) {
        buffer_append_format(&sql, "%s$%zu", i > 0 ? ", " : "", i + 1);
    }
    buffer_append_string(&sql, ")");
    database_statement_free(load->insert);
    load->insert = NULL;
    free(load->sql);
    load->sql = buffer_take(&sql);
    if (load->sql == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    load->insert = database_prepare(load->database, load->sql, err);
    return load->insert != NULL;
}

static bool begin_table(struct load *load, struct json_object *head, struct error *err) {
    const char *name = json_get_string(head, "table");
    load->table = name == NULL ? NULL : catalog_find(&load->catalog, name);
    if (load->table == NULL) {
        return error_set(err, ERROR_CONFLICT, "the database has no table `%.60s`", name == NULL ? "" : name);
    }
    return match_columns(load, json_get_array(head, "columns"), err) && prepare_insert(load, err);
}

static int hex_digit(char digit) {
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* In place; false if it is no hex. */
static bool decode(char *text, size_t *length) {
    size_t digits = strlen(text);
    for (size_t i = 0; i + 1 < digits; i += 2) {
        int high = hex_digit(text[i]);
        int low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        text[i / 2] = (char)(high << 4 | low);
    }
    *length = digits / 2;
    return digits % 2 == 0;
}

/* `copy` is where bytes are until the run has ended. */
static bool bind_value(struct load *load, size_t index, struct json_object *value, char **copy, struct error *err) {
    int parameter = (int)index + 1;
    enum catalog_type type = load->table->types[load->column_of[index]];
    size_t length = 0;
    if (value == NULL) {
        return database_bind_text(load->insert, parameter, NULL, err);
    }
    if (type == CATALOG_INTEGER && json_object_is_type(value, json_type_int)) {
        return database_bind_int(load->insert, parameter, json_object_get_int64(value), err);
    }
    if (type == CATALOG_INTEGER || !json_object_is_type(value, json_type_string)) {
        return error_set(err, ERROR_INVALID, "the dump has a value of another type than `%s.%s`", load->table->name,
                         load->table->columns[load->column_of[index]]);
    }
    if (type == CATALOG_TEXT) {
        return database_bind_text(load->insert, parameter, json_object_get_string(value), err);
    }
    *copy = strdup(json_object_get_string(value));
    return *copy != NULL && decode(*copy, &length)
               ? database_bind_blob(load->insert, parameter, *copy, length, err)
               : error_set(err, ERROR_INVALID, "the dump has bytes that are no hex digits");
}

static bool insert_row(struct load *load, struct json_object *row, struct error *err) {
    char *copies[CATALOG_COLUMNS_MAX] = {0};
    if (load->insert == NULL || json_object_array_length(row) != load->columns) {
        return error_set(err, ERROR_INVALID, "the dump has a row that fits no table");
    }
    bool ok = true;
    for (size_t i = 0; ok && i < load->columns; i++) {
        ok = bind_value(load, i, json_object_array_get_idx(row, i), &copies[i], err);
    }
    ok = ok && database_run(load->insert, err);
    database_clear(load->insert);
    for (size_t i = 0; i < load->columns; i++) {
        free(copies[i]);
    }
    load->rows++;
    return ok;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

/* Those that refer to others first. */
static bool delete_all(struct load *load, struct error *err) {
    bool ok = true;
    for (size_t i = load->catalog.count; ok && i > 0; i--) {
        char sql[128];
        snprintf(sql, sizeof sql, "DELETE FROM %s", load->catalog.tables[i - 1].name);
        ok = database_execute(load->database, sql, err);
    }
    return ok;
}

static bool insert_all(struct load *load, struct error *err) {
    for (;;) {
        cleanup_json struct json_object *line = read_line(load, err);
        if (line == NULL) {
            return false;
        }
        bool is_row = json_object_is_type(line, json_type_array);
        if (!is_row && json_object_object_get_ex(line, "rows", NULL)) {
            return json_get_int(line, "rows", -1) == load->rows ||
                   error_set(err, ERROR_INVALID, "the dump has %lld rows and should have %lld", (long long)load->rows,
                             (long long)json_get_int(line, "rows", -1));
        }
        if (is_row ? !insert_row(load, line, err) : !begin_table(load, line, err)) {
            return false;
        }
    }
}

static bool set_sequence(struct load *load, struct error *err) {
    char sql[256];
    bool is_sqlite = database_kind(load->database) == DATABASE_SQLITE;
    snprintf(sql, sizeof sql,
             is_sqlite ? "DELETE FROM sqlite_sequence WHERE name = 'audit_logs'; "
                         "INSERT INTO sqlite_sequence (name, seq) VALUES ('audit_logs', %lld)"
                       : "UPDATE audit_sequence SET last = %lld",
             (long long)load->audit_sequence);
    return database_execute(load->database, sql, err);
}

static bool set_restore_id(struct load *load, const char *restore_id, struct error *err) {
    struct database_statement *statement =
        database_prepare(load->database,
                         "INSERT INTO properties (name, value) VALUES ('" DATABASE_RESTORE_ID
                         "', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                         err);
    bool ok = statement != NULL && database_bind_blob(statement, 1, restore_id, strlen(restore_id), err) &&
              database_run(statement, err);
    database_statement_free(statement);
    return ok;
}

/* A node that led until now, and whose connection is broken, is not to go on with what it remembers (store.c), nor one
 * that has come meanwhile with what it has read. */
static bool end_leadership(struct load *load, int version, struct error *err) {
    return database_kind(load->database) == DATABASE_SQLITE || version < FIRST_VERSION_WITH_NODES ||
           database_execute(load->database,
                            "UPDATE leadership SET term = term + 1; "
                            "SELECT pg_notify(" POSTGRES_CHANNEL ", kind) FROM unnest('{R,I}'::TEXT[]) AS kind",
                            err);
}

static bool replace_all(struct load *load, int version, const char *restore_id, struct error *err) {
    /* SQLite's waits for the disk; PostgreSQL's commit does so anyhow, and the other kind keeps no time limit. */
    bool is_sqlite = database_kind(load->database) == DATABASE_SQLITE;
    if (!database_begin(load->database, is_sqlite ? TRANSACTION_DURABLE : TRANSACTION_ALONE, err)) {
        return false;
    }
    bool ok = delete_all(load, err) && insert_all(load, err) && set_sequence(load, err) &&
              set_restore_id(load, restore_id, err) && end_leadership(load, version, err);
    if (!ok) {
        database_rollback(load->database);
    }
    return ok && database_commit(load->database, err);
}

bool database_load(struct database *database, FILE *in, const char *restore_id, struct error *err) {
    struct load load = {.database = database, .in = in};
    int version = 0;
    bool ok = read_first(&load, &version, err) && prepare_tables(database, version, err) &&
              catalog_read(database, &load.catalog, err) && replace_all(&load, version, restore_id, err);
    database_statement_free(load.insert);
    catalog_free(&load.catalog);
    free(load.sql);
    if (load.line != NULL) {
        explicit_bzero(load.line, load.room);
    }
    free(load.line);
    return ok;
}
