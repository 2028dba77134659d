/* options.h - what `open-terminal run` and `open-terminal mcp` are told: flags first, then the environment, then files.
 */
#ifndef TERMINALS_INSTANCE_OPTIONS_H
#define TERMINALS_INSTANCE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

struct options {
    char *host;
    uint64_t port;
    char *api_key;         /* secret; NULL when nothing listens */
    bool is_key_generated; /* nobody gave one, so somebody has to be told */
    char *home;            /* absolute */
    char *cors_allowed_origins;
    char *log_dir;             /* absolute */
    char *term;                /* TERM of shells */
    char *info;                /* what /info says; NULL: there is no /info */
    char *system_prompt;       /* instead of the one that we make; NULL: that */
    char *execute_description; /* added to that of POST /execute; may be NULL */
    char *binary_mime_prefixes;
    double execute_timeout;           /* seconds that POST /execute waits when it is not told; 0: not at all */
    double session_keepalive_seconds; /* of a shell that nobody is attached to; 0: TERMINAL_LINGER_MS */
    double session_cwd_ttl;           /* seconds until the folder of a session that is not used is forgotten */
    uint64_t max_sessions;
    uint64_t max_log_size;    /* bytes, of one command's log */
    double log_retention;     /* seconds, of an earlier run's logs */
    bool is_terminal_enabled; /* /api/terminals */
    bool is_notebooks_enabled;
    bool is_system_prompt_enabled;
    bool is_access_logged; /* a line for each request that is over */
    bool is_log_json;
    uint64_t wait_fd; /* nothing is done before something comes through it; 0: at once */
    bool is_mcp;      /* `mcp` instead of `run`: /mcp is there too */
    bool is_stdio;    /* MCP on standard input and output, and nothing listens */
    bool is_help_wanted;
};

extern const char options_usage[];

/* Reads the command line; OPEN_TERMINAL_… for what no flag says; for what neither says the file that --config names, or
 * else ~/.config/open-terminal/config.toml (XDG_CONFIG_HOME) and then /etc/open-terminal/config.toml. The API key is
 * wiped from argv and from the environment, so that no command that is run later finds it there; without one a key is
 * made. A mistake in the user's own file costs that file, not the start: whoever is locked out could not mend it.
 * False with *err. */
bool options_parse(int argc, char **argv, struct options *options, struct error *err);
void options_free(struct options *options);

#endif
