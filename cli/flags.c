#include "cli/flags.h"

#include <string.h>

static const struct {
    const char *flag;
    const char *setting;
} known[FLAGS_MAX] = {
    {"--host", "TERMINALS_HOST"},
    {"--port", "TERMINALS_PORT"},
    {"--api-key", "TERMINALS_API_KEY"},
    {"--backend", "TERMINALS_BACKEND"},
};

/* The setting behind `argument` up to its `=`, or NULL. */
static const char *setting_of(const char *argument) {
    size_t length = strcspn(argument, "=");
    for (size_t i = 0; i < FLAGS_MAX; i++) {
        if (strlen(known[i].flag) == length && strncmp(known[i].flag, argument, length) == 0) {
            return known[i].setting;
        }
    }
    return NULL;
}

static void put(struct flags *flags, const char *name, const char *value) {
    struct settings_override *override = flags->overrides;
    while (override->name != NULL && strcmp(override->name, name) != 0) {
        override++;
    }
    *override = (struct settings_override){name, value};
}

bool flags_parse(struct flags *flags, int argc, char *const *argv, struct error *err) {
    *flags = (struct flags){0};
    for (int i = 1; i < argc; i++) {
        const char *setting = setting_of(argv[i]);
        const char *value = strchr(argv[i], '=');
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            flags->help = true;
            continue;
        }
        if (setting == NULL) {
            return error_set(err, ERROR_INVALID, "unknown argument `%.*s`", (int)strcspn(argv[i], "="), argv[i]);
        }
        if (value == NULL && ++i == argc) {
            return error_set(err, ERROR_INVALID, "`%s` needs a value", argv[i - 1]);
        }
        put(flags, setting, value != NULL ? value + 1 : argv[i]);
    }
    return true;
}
