#include "provisioner/database_dump.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/json.h"
#include "provisioner/database_catalog.h"
#include "provisioner/migrations.h"

#define FORMAT       1
#define ROWS_AT_ONCE "1000" /* of PostgreSQL's, which come all at once in one answer */

/* Both read everything as of the first statement. SQLite's is not database_begin(), which would keep writers away. */
static bool begin_snapshot(struct database *database, struct error *err) {
    if (database_kind(database) == DATABASE_SQLITE) {
        return database_execute(database, "BEGIN", err);
    }
    if (!database_begin(database, TRANSACTION_ORDINARY, err)) {
        return false;
    }
    if (database_execute(database, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", err)) {
        return true;
    }
    database_rollback(database);
    return false;
}

static bool write_line(FILE *out, struct json_object *line, struct error *err) {
    const char *text = line == NULL ? NULL : json_text(line, &(size_t){0});
    if (text == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return (fputs(text, out) != EOF && putc('\n', out) != EOF) ||
           error_set_errno(err, ERROR_INTERNAL, "write the dump");
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

/* NULL is JSON's null. False: no memory. */
static bool add_value(struct json_object *row, const struct database_statement *statement, int column,
                      enum catalog_type type) {
    const char *text = database_text(statement, column);
    if (text == NULL) {
        return json_object_array_add(row, NULL) == 0;
    }
    struct json_object *value =
        type == CATALOG_INTEGER ? json_object_new_int64(strtoll(text, NULL, 10)) : json_object_new_string(text);
    if (value == NULL || json_object_array_add(row, value) != 0) {
        json_object_put(value);
        return false;
    }
    return true;
}

static bool write_row(FILE *out, const struct catalog_table *table, const struct database_statement *statement,
                      struct error *err) {
    cleanup_json struct json_object *row = json_object_new_array();
    for (size_t i = 0; row != NULL && i < table->count; i++) {
        if (!add_value(row, statement, (int)i, table->types[i])) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
    }
    return write_line(out, row, err);
}

/* Writes the rows that a statement gives, and counts them. */
static bool write_rows(struct database *database, const char *sql, const struct catalog_table *table, FILE *out,
                       int64_t *count, struct error *err) {
    struct database_statement *statement = database_prepare(database, sql, err);
    bool ok = statement != NULL;
    int stepped = 0;
    *count = 0;
    while (ok && (stepped = database_step(statement, err)) == 1) {
        ok = write_row(out, table, statement, err);
        ++*count;
    }
    database_statement_free(statement);
    return ok && stepped == 0;
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

/* All comes as text: a number that is NULL would be 0 else, and no bytes would be NULL. Names are our schema's. */
static char *select_all(enum database_kind kind, const struct catalog_table *table, const char *before) {
    struct buffer sql = {0};
    buffer_append_format(&sql, "%sSELECT ", before);
    for (size_t i = 0; i < table->count; i++) {
        const char *separator = i > 0 ? ", " : "";
        const char *column = table->columns[i];
        if (table->types[i] == CATALOG_TEXT) {
            buffer_append_format(&sql, "%s%s", separator, column);
        } else if (table->types[i] == CATALOG_INTEGER) {
            buffer_append_format(&sql, "%sCAST(%s AS TEXT)", separator, column);
        } else if (kind == DATABASE_SQLITE) { /* hex(NULL) is no NULL there */
            buffer_append_format(&sql, "%sCASE WHEN %s IS NOT NULL THEN lower(hex(%s)) END", separator, column, column);
        } else {
            buffer_append_format(&sql, "%sencode(%s, 'hex')", separator, column);
        }
    }
    buffer_append_format(&sql, " FROM %s", table->name);
    char *text = buffer_take(&sql);
    buffer_free(&sql);
    return text;
}

static bool write_postgres_rows(struct database *database, const char *declare, const struct catalog_table *table,
                                FILE *out, int64_t *total, struct error *err) {
    int64_t count = 1;
    bool ok = database_execute(database, declare, err);
    while (ok && count > 0) {
        ok = write_rows(database, "FETCH " ROWS_AT_ONCE " FROM dump", table, out, &count, err);
        *total += count;
    }
    return ok && database_execute(database, "CLOSE dump", err);
}

static bool write_head(FILE *out, const struct catalog_table *table, struct error *err) {
    cleanup_json struct json_object *head = json_object_new_object();
    struct json_object *columns = json_object_new_array();
    struct json_object *types = json_object_new_array();
    bool ok = head != NULL && columns != NULL && types != NULL && json_add_string(head, "table", table->name);
    for (size_t i = 0; ok && i < table->count; i++) {
        ok = json_object_array_add(columns, json_object_new_string(table->columns[i])) == 0 &&
             json_object_array_add(types, json_object_new_string(catalog_type_names[table->types[i]])) == 0;
    }
    ok = ok && json_add(head, "columns", json_object_get(columns)) && json_add(head, "types", json_object_get(types));
    json_object_put(columns);
    json_object_put(types);
    return ok ? write_line(out, head, err) : error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool write_table(struct database *database, const struct catalog_table *table, FILE *out, int64_t *total,
                        struct error *err) {
    bool is_sqlite = database_kind(database) == DATABASE_SQLITE;
    int64_t count = 0;
    char *sql = select_all(database_kind(database), table, is_sqlite ? "" : "DECLARE dump NO SCROLL CURSOR FOR ");
    if (sql == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    bool ok = write_head(out, table, err) && (is_sqlite ? write_rows(database, sql, table, out, &count, err)
                                                        : write_postgres_rows(database, sql, table, out, &count, err));
    *total += count;
    free(sql);
    return ok;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static bool audit_sequence(struct database *database, int64_t *number, struct error *err) {
    static const char *const sql[] = {
        [DATABASE_SQLITE] = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit_logs'), 0)",
        [DATABASE_POSTGRES] = "SELECT last FROM audit_sequence",
    };
    struct database_statement *statement = database_prepare(database, sql[database_kind(database)], err);
    int stepped = statement == NULL ? -1 : database_step(statement, err);
    *number = stepped == 1 ? database_int(statement, 0) : 0;
    database_statement_free(statement);
    return stepped >= 0;
}

static bool write_first(struct database *database, FILE *out, struct error *err) {
    int64_t sequence = 0;
    int version = migrations_current(database, err);
    if (version < 0) {
        return false;
    }
    if (version != migrations_newest(migrations_known(database))) {
        return error_set(err, ERROR_CONFLICT,
                         "the database is at version %d, this program at %d: `terminals db upgrade` first, or use the "
                         "program of that version",
                         version, migrations_newest(migrations_known(database)));
    }
    cleanup_json struct json_object *first = json_object_new_object();
    if (!audit_sequence(database, &sequence, err)) {
        return false;
    }
    bool ok = first != NULL && json_add_int(first, "format", FORMAT) && json_add_int(first, "version", version) &&
              json_add_int(first, "audit_sequence", sequence);
    return ok ? write_line(out, first, err) : error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool write_all(struct database *database, FILE *out, struct error *err) {
    struct catalog catalog;
    int64_t total = 0;
    if (!write_first(database, out, err) || !catalog_read(database, &catalog, err)) {
        return false;
    }
    bool ok = true;
    for (size_t i = 0; ok && i < catalog.count; i++) {
        ok = write_table(database, &catalog.tables[i], out, &total, err);
    }
    catalog_free(&catalog);
    cleanup_json struct json_object *last = json_object_new_object();
    return ok && (last != NULL && json_add_int(last, "rows", total) ? write_line(out, last, err)
                                                                    : error_set(err, ERROR_INTERNAL, "out of memory"));
}

bool database_dump(struct database *database, FILE *out, struct error *err) {
    if (!begin_snapshot(database, err)) {
        return false;
    }
    bool ok = write_all(database, out, err);
    database_rollback(database); /* nothing was written */
    return ok;
}
