/* options.h - what `open-terminal run` is told: flags first, then the environment. */
#ifndef TERMINALS_INSTANCE_OPTIONS_H
#define TERMINALS_INSTANCE_OPTIONS_H

#include <stdbool.h>

#include "common/error.h"

struct options {
    char *host;
    unsigned port;
    char *api_key; /* secret; NULL: everybody may call */
    char *home;    /* absolute */
    char *cors_allowed_origins;
    bool is_help_wanted;
};

extern const char options_usage[];

/* Reads `run [--host H] [--port P] [--api-key K] [--cwd D] [--cors-allowed-origins L]`, and OPEN_TERMINAL_API_KEY,
 * OPEN_TERMINAL_API_KEY_FILE, OPEN_TERMINAL_HOST, _PORT, _CORS_ALLOWED_ORIGINS and HOME for what no flag says. The key
 * is wiped from argv and from the environment, so that no command that is run later finds it. False with *err. */
bool options_parse(int argc, char **argv, struct options *options, struct error *err);
void options_free(struct options *options);

#endif
