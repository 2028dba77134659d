/* flags.h - the flags of `terminals serve`: `--name value` or `--name=value`, each the same as a setting. */
#ifndef TERMINALS_CLI_FLAGS_H
#define TERMINALS_CLI_FLAGS_H

#include <stdbool.h>

#include "common/error.h"
#include "common/settings.h"

#define FLAGS_MAX 4

struct flags {
    struct settings_override overrides[FLAGS_MAX + 1]; /* ends with {NULL, NULL}; values point into argv */
    bool help;
};

/* `argv[0]` is the subcommand's name. False with one sentence in *err. A flag that comes twice counts as it came last.
 */
bool flags_parse(struct flags *flags, int argc, char *const *argv, struct error *err);

#endif
