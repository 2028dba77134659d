/* instance_command.h - runs a shell command inside an instance, through the instance API's POST /execute?wait=, which
 * ours and the Python Open Terminal both have. The command's output is not looked at. */
#ifndef TERMINALS_PROVISIONER_INSTANCE_COMMAND_H
#define TERMINALS_PROVISIONER_INSTANCE_COMMAND_H

#include <event2/event.h>

#include "provisioner/tenants.h"

struct instance_command;

/* `failure` is NULL when the command has ended, with `exit_code`; else it says why nobody knows how it went. */
typedef void instance_command_done(void *argument, int64_t exit_code, const char *failure);

/* Runs `command` in the tenant's instance, which runs, and waits for its end for so long. Calls `done` once, later,
 * unless cancelled before. A command that takes longer goes on running. NULL: no memory, or no address. */
struct instance_command *instance_command_start(const struct tenant *tenant, const char *command, int timeout_ms,
                                                instance_command_done *done, void *argument);

/* Not after `done`. NULL is fine. */
void instance_command_cancel(struct instance_command *command);

#endif
