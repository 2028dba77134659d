#include "provisioner/database_catalog.h"

#include <stdlib.h>
#include <string.h>

/* What follows from the version, is counted in another way, or tells which nodes live at this moment. */
#define NOT_CONTENT "'schema_migrations', 'audit_sequence', 'nodes', 'leadership', 'node_messages'"

const char *const catalog_type_names[] = {
    [CATALOG_TEXT] = "text", [CATALOG_INTEGER] = "integer", [CATALOG_BYTES] = "bytes"};

static const struct {
    const char *name;
    enum catalog_type type;
} type_names[] = {
    {"TEXT", CATALOG_TEXT},       {"text", CATALOG_TEXT},      {"INTEGER", CATALOG_INTEGER},
    {"integer", CATALOG_INTEGER}, {"BIGINT", CATALOG_INTEGER}, {"bigint", CATALOG_INTEGER},
    {"BLOB", CATALOG_BYTES},      {"bytea", CATALOG_BYTES},
};

/* Names, and whether the table refers to another one. */
static const char *const select_tables[] = {
    [DATABASE_SQLITE] = "SELECT name, EXISTS (SELECT 1 FROM pragma_foreign_key_list(m.name)) AS refers "
                        "FROM sqlite_master m WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
                        "AND name NOT IN (" NOT_CONTENT ") ORDER BY refers, name",
    [DATABASE_POSTGRES] =
        "SELECT relname::TEXT, EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = c.oid AND contype = 'f') AS refers "
        "FROM pg_class c WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace "
        "AND relname NOT IN (" NOT_CONTENT ") ORDER BY refers, relname",
};

static const char *const select_columns[] = {
    [DATABASE_SQLITE] = "SELECT name, type FROM pragma_table_info($1) ORDER BY cid",
    [DATABASE_POSTGRES] = "SELECT column_name::TEXT, data_type::TEXT FROM information_schema.columns "
                          "WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
};

static bool add_column(struct catalog_table *table, const char *name, const char *type, struct error *err) {
    for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++) {
        if (strcmp(type_names[i].name, type) == 0 && table->count < CATALOG_COLUMNS_MAX) {
            table->types[table->count] = type_names[i].type;
            table->columns[table->count] = strdup(name);
            return table->columns[table->count++] != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
        }
    }
    return error_set(err, ERROR_INTERNAL, "the column `%s.%s` has the type `%s`, which no dump knows", table->name,
                     name, type);
}

static bool read_columns(struct database *database, struct catalog_table *table, struct error *err) {
    struct database_statement *statement = database_prepare(database, select_columns[database_kind(database)], err);
    bool ok = statement != NULL && database_bind_text(statement, 1, table->name, err);
    int stepped = 0;
    while (ok && (stepped = database_step(statement, err)) == 1) {
        ok = add_column(table, database_text(statement, 0), database_text(statement, 1), err);
    }
    database_statement_free(statement);
    return ok && stepped == 0;
}

static bool add_table(struct catalog *catalog, const char *name, struct error *err) {
    struct catalog_table *longer = reallocarray(catalog->tables, catalog->count + 1, sizeof *longer);
    if (longer == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    catalog->tables = longer;
    catalog->tables[catalog->count] = (struct catalog_table){.name = strdup(name)};
    return catalog->tables[catalog->count++].name != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

bool catalog_read(struct database *database, struct catalog *catalog, struct error *err) {
    *catalog = (struct catalog){0};
    struct database_statement *statement = database_prepare(database, select_tables[database_kind(database)], err);
    bool ok = statement != NULL;
    int stepped = 0;
    while (ok && (stepped = database_step(statement, err)) == 1) {
        ok = add_table(catalog, database_text(statement, 0), err);
    }
    database_statement_free(statement);
    ok = ok && stepped == 0;
    for (size_t i = 0; ok && i < catalog->count; i++) {
        ok = read_columns(database, &catalog->tables[i], err);
    }
    if (!ok) {
        catalog_free(catalog);
    }
    return ok;
}

void catalog_free(struct catalog *catalog) {
    for (size_t i = 0; i < catalog->count; i++) {
        free(catalog->tables[i].name);
        for (size_t j = 0; j < catalog->tables[i].count; j++) {
            free(catalog->tables[i].columns[j]);
        }
    }
    free(catalog->tables);
    *catalog = (struct catalog){0};
}

const struct catalog_table *catalog_find(const struct catalog *catalog, const char *name) {
    for (size_t i = 0; i < catalog->count; i++) {
        if (strcmp(catalog->tables[i].name, name) == 0) {
            return &catalog->tables[i];
        }
    }
    return NULL;
}
