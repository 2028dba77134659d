/* migrations.h - brings a database's schema to the version this program knows.
 *
 * The files sql/<dialect>/NNN_name.sql are built into the program, in order; the table schema_migrations records which
 * of them a database has seen. */
#ifndef TERMINALS_PROVISIONER_MIGRATIONS_H
#define TERMINALS_PROVISIONER_MIGRATIONS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/* One file, as the Makefile generates it (embedded_sql.c). */
struct embedded_sql {
    int version; /* NNN */
    const char *name;
    const char *text;
};
extern const struct embedded_sql embedded_sql_sqlite[];
extern const size_t embedded_sql_sqlite_count;

/* Runs what is missing, each file in a transaction of its own together with its record, so that a program killed in
 * between continues where it was. A database that has seen more than `migrations` holds was written by a newer program
 * and is refused, untouched. */
bool migrations_run(sqlite3 *database, const struct embedded_sql *migrations, size_t count, struct error *err);

#endif
