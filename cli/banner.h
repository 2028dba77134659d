/* banner.h - what `terminals serve` tells the person who started it, once everything answers. */
#ifndef TERMINALS_CLI_BANNER_H
#define TERMINALS_CLI_BANNER_H

#include <stdbool.h>

#include "common/buffer.h"
#include "common/settings.h"

/* Appends address, key and a request that works when pasted into a shell. `key_file` is where a generated key is kept,
 * NULL for a key of the settings; that one is shown only if `show_key`, else named. */
bool banner_write(struct buffer *out, const struct settings *settings, const char *key_file, bool show_key);

#endif
