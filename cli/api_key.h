/* api_key.h - the key that `terminals serve` makes up when nobody has configured any authentication. */
#ifndef TERMINALS_CLI_API_KEY_H
#define TERMINALS_CLI_API_KEY_H

#include "common/error.h"
#include "common/settings.h"

/* Where it is kept: `api.key` beside the SQLite database, else in the data folder. The caller frees; NULL: no memory.
 */
char *api_key_path(const struct settings *settings);

/* Reads the key. NULL with *err, whose code is ERROR_NONE if there is no such file; secret_free() frees. */
char *api_key_load(const char *path, struct error *err);

/* Reads the key, or makes one of 256 random bits and keeps it (mode 0600), so that a restart has the same. The file is
 * there whole or not at all, whenever we are killed. The caller frees with secret_free(); NULL with *err. */
char *api_key_load_or_create(const char *path, struct error *err);

#endif
