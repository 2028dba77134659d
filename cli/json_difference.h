/* json_difference.h - says for people how two JSON objects differ. */
#ifndef TERMINALS_CLI_JSON_DIFFERENCE_H
#define TERMINALS_CLI_JSON_DIFFERENCE_H

#include <stdio.h>

#include "common/json.h"

/* Writes a line for each member that only one has or that is another one, with its path (`a.b`): `- path: value` of the
 * old,
 * `+ path: value` of the new. Objects are gone into. What lies below `env` may be a secret: there only the path is
 * written. Either object may be NULL, which is an empty one. */
void json_difference_print(FILE *out, const char *path, struct json_object *before, struct json_object *after);

#endif
