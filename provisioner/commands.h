/* commands.h - what this program does instead of serving, when `terminals` says so: for the command line has neither
 * the database's libraries nor the backends'. */
#ifndef TERMINALS_PROVISIONER_COMMANDS_H
#define TERMINALS_PROVISIONER_COMMANDS_H

#include "provisioner/backend.h"

struct command;

/* The one that the words (a flag and its arguments, one at least) say; NULL: there is none. */
const struct command *command_find(int count, char **words);

/* `arguments`, ended by NULL, follow the flag. */
bool command_run(const struct command *command, const struct settings *settings,
                 const struct backend_operations *operations, char **arguments, struct error *err);

#endif
