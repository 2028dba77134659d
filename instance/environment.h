/* environment.h - the environment that a command or shell gets: ours, with changes. */
#ifndef TERMINALS_INSTANCE_ENVIRONMENT_H
#define TERMINALS_INSTANCE_ENVIRONMENT_H

#include "common/json.h"

/* A NULL-terminated list of "NAME=value": our own environment, with `extra` (an object of strings, or NULL) over it.
 * A name that is empty or holds "=" is left out. One block: free() it. NULL: no memory. */
char **environment_make(struct json_object *extra);

/* The user's shell: $SHELL, else /bin/bash, else /bin/sh; the first that there is. Borrowed. */
const char *environment_shell(void);

#endif
