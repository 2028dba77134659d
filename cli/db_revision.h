/* db_revision.h - `terminals db revision`: the files of a new version of the schema, for those who work on Terminals.
 */
#ifndef TERMINALS_CLI_DB_REVISION_H
#define TERMINALS_CLI_DB_REVISION_H

#include <stdbool.h>

#include "common/error.h"

/* Makes `sql/sqlite/NNN_message.sql` and `sql/postgres/NNN_message.sql` below `folder`, the source tree, with the next
 * number, and prints their names. A file that exists is never touched. */
bool db_revision(const char *folder, const char *message, struct error *err);

#endif
