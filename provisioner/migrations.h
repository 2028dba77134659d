/* migrations.h - brings a database's schema to the version this program knows.
 *
 * The files sql/<dialect>/NNN_name.sql are built into the program, in order; the table schema_migrations records which
 * of them a database has seen. */
#ifndef TERMINALS_PROVISIONER_MIGRATIONS_H
#define TERMINALS_PROVISIONER_MIGRATIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "provisioner/database.h"

/* One file, as scripts/embed-sql writes it (embedded_sql.c). */
struct migration {
    int version; /* NNN */
    const char *name;
    const char *text;
};

/* All of one kind of database. */
struct migration_list {
    const struct migration *items;
    size_t count;
};
extern const struct migration_list migrations_sqlite;
extern const struct migration_list migrations_postgres;

/* Those for this database that are built in. */
struct migration_list migrations_known(const struct database *database);

/* The highest version that the database has seen; 0 for a new one, -1 with *err. */
int migrations_current(struct database *database, struct error *err);

/* The version that this program brings a database to. */
int migrations_newest(struct migration_list migrations);

/* Says that the database is at `version`, which must be known or 0, and runs nothing: for a schema that came there in
 * another way, such as from a backup. */
bool migrations_stamp(struct database *database, struct migration_list migrations, int version, struct error *err);

/* Runs what is missing, all in one transaction, so that the database is in the old state or in the new one; of several
 * programs that start at once one does it and the others wait. A database that has seen more than `migrations` holds
 * was written by a newer program and is refused, untouched. */
bool migrations_run(struct database *database, struct migration_list migrations, struct error *err);

#endif
