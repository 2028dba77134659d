/* database_commands.h - the schema's versions, for people: `terminals db upgrade | current | history | stamp`. */
#ifndef TERMINALS_PROVISIONER_DATABASE_COMMANDS_H
#define TERMINALS_PROVISIONER_DATABASE_COMMANDS_H

#include <stdbool.h>

#include "common/error.h"
#include "common/settings.h"

/* Does what `command` names to the database of the settings and prints what came of it. `version` is of `stamp` and
 * NULL for the others. A provisioner may be running. ERROR_INVALID for a command that is none of these. */
bool database_command_run(const struct settings *settings, const char *command, const char *version, struct error *err);

#endif
