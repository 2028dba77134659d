/* options_table.h - the settings, one a row, with where each may come from. For options….c only. */
#ifndef TERMINALS_INSTANCE_OPTIONS_TABLE_H
#define TERMINALS_INSTANCE_OPTIONS_TABLE_H

#include <stddef.h>

#include "instance/options.h"

enum option_source { OPTION_FLAG = 1, OPTION_VARIABLE = 2, OPTION_FILE = 4, OPTION_ANYWHERE = 6 /* no flag */ };

enum option_kind {
    OPTION_TEXT,    /* char *, NULL without a fallback */
    OPTION_NUMBER,  /* double */
    OPTION_WHOLE,   /* uint64_t */
    OPTION_BOOLEAN, /* bool */
    OPTION_SPECIAL, /* options.c looks at it by itself */
};

enum option {
    OPTION_HOST,
    OPTION_PORT,
    OPTION_API_KEY,
    OPTION_CWD,
    OPTION_CONFIG,
    OPTION_CORS,
    OPTION_TRANSPORT,
    OPTION_MULTI_USER,
    OPTION_LOG_DIR,
    OPTION_LOG_FORMAT,
    OPTION_FIRST_PLAIN, /* from here on nobody needs to name them */
    OPTION_COUNT = OPTION_FIRST_PLAIN + 16,
};

struct option_row {
    const char *name; /* in a file; --name-with-dashes; OPEN_TERMINAL_NAME */
    unsigned sources;
    enum option_kind kind;
    size_t offset; /* in struct options */
    const char *fallback;
    double minimum;
    double maximum;
};

extern const struct option_row option_rows[OPTION_COUNT];

/* What was given, each from malloc(); NULL: not given. */
struct option_values {
    char *text[OPTION_COUNT];
};

/* Puts one value, NULL for none, where it belongs. False with *err when it is none that the setting can have. */
bool option_apply(const struct option_row *row, const char *text, struct options *options, struct error *err);

/* Fills in, from TOML files, what is not given yet. `config` is what --config says, or NULL. False with *err. */
bool options_read_files(const char *config, struct option_values *values, struct error *err);

/* The key from the file that OPEN_TERMINAL_API_KEY_FILE names, if none is given yet. False with *err. */
bool options_read_key_file(struct option_values *values, struct error *err);

/* Moves the key to where it belongs, or makes one, and takes it out of the environment. */
bool options_take_key(struct option_values *values, struct options *options, struct error *err);

#endif
