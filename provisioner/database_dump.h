/* database_dump.h - the whole content of a database as lines of JSON, and back into an empty one, of either kind.
 *
 * Not the file or the tables as they are on the disk: what SQLite has can be loaded into PostgreSQL and the other way
 * round, which is the way from one machine to several. The first line is {"format": 1, "version": <of the schema>,
 * "audit_sequence": n}; then for each table a line {"table": …, "columns": […], "types": […]} and a line [...] a row,
 * tables that refer to others after those; the last line is {"rows": n}. Bytes are hex digits. */
#ifndef TERMINALS_PROVISIONER_DATABASE_DUMP_H
#define TERMINALS_PROVISIONER_DATABASE_DUMP_H

#include <stdbool.h>
#include <stdio.h>

#include "common/error.h"
#include "provisioner/database.h"

/* Writes all of it as of one moment, while others write on. On SQLite no write has to wait for this. */
bool database_dump(struct database *database, FILE *out, struct error *err);

/* Whether a dump may be loaded: the database has no tables yet, or (`force`) is of a version that this program knows;
 * without `force`, it has no tenant and no row in its audit log. */
bool database_may_load(struct database *database, bool force, struct error *err);

/* Whether no node lives that works with the database (docs/clustering.md). */
bool database_has_no_nodes(struct database *database, struct error *err);

/* Loads a dump in place of all that is there, in one transaction: afterwards the database is as it was, or has the
 * dump's content and the property `restore_id` with this value, and is on the disk. A database without tables gets
 * those of the dump's version; one that has them must be of that version. */
bool database_load(struct database *database, FILE *in, const char *restore_id, struct error *err);

/* The property that tells which restore has made this content. */
#define DATABASE_RESTORE_ID "restore_id"

#endif
