/* database_catalog.h - which tables and columns a database has, for database_dump.c and database_load.c. */
#ifndef TERMINALS_PROVISIONER_DATABASE_CATALOG_H
#define TERMINALS_PROVISIONER_DATABASE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>

#include "provisioner/database.h"

#define CATALOG_COLUMNS_MAX 32

enum catalog_type { CATALOG_TEXT, CATALOG_INTEGER, CATALOG_BYTES };

/* What a type is called in a dump. */
extern const char *const catalog_type_names[];

struct catalog_table {
    char *name;
    char *columns[CATALOG_COLUMNS_MAX];
    enum catalog_type types[CATALOG_COLUMNS_MAX];
    size_t count; /* of columns */
};

struct catalog {
    struct catalog_table *tables; /* those that refer to others come last */
    size_t count;
};

/* All tables with content of ours. Not schema_migrations, whose content follows from the version; not the counter of
 * the audit log, which each kind has in its own way; not what nodes tell each other. False with *err, and nothing to
 * free.
 */
bool catalog_read(struct database *database, struct catalog *catalog, struct error *err);
void catalog_free(struct catalog *catalog);

/* NULL if there is none. */
const struct catalog_table *catalog_find(const struct catalog *catalog, const char *name);

#endif
