/* dotenv.h - `.env` files: NAME=value lines, as docker-compose and systemd users write them. Thread-safe. */
#ifndef TERMINALS_COMMON_DOTENV_H
#define TERMINALS_COMMON_DOTENV_H

#include <stdbool.h>

#include "common/error.h"

/* Calls `each` for every assignment in `text`: `NAME=value`, an optional `export ` in front, empty lines and `#`
 * comments between. A value may stand in single quotes (taken as it is) or double quotes (\n, \t, \", \\ and \$ are
 * escapes); unquoted it ends at ` #` and is trimmed. Nothing is expanded. False with the line's number in *err for
 * anything else, or when `each` says false. */
bool dotenv_parse(const char *text,
                  bool (*each)(void *argument, const char *name, const char *value, struct error *err), void *argument,
                  struct error *err);

#endif
