#include "instance/options.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/secret.h"

#define DEFAULT_PORT       "8000"
#define KEY_MAX_BYTES      4096
#define ENVIRONMENT_PREFIX "OPEN_TERMINAL_"

const char options_usage[] = "usage: open-terminal run [--host ADDRESS] [--port PORT] [--api-key KEY] [--cwd FOLDER]\n"
                             "                         [--cors-allowed-origins LIST]\n"
                             "\n"
                             "Serves commands, files and shells of one user over HTTP and WebSocket.\n"
                             "  --host      address to listen on (OPEN_TERMINAL_HOST, default 0.0.0.0)\n"
                             "  --port      port (OPEN_TERMINAL_PORT, default 8000)\n"
                             "  --api-key   bearer token that clients need; better in OPEN_TERMINAL_API_KEY or in the\n"
                             "              file that OPEN_TERMINAL_API_KEY_FILE names, where `ps` does not show it\n"
                             "  --cwd       where relative paths and commands start (default: HOME)\n"
                             "  --cors-allowed-origins  comma-separated web origins, default *\n";

enum flag { FLAG_HOST, FLAG_PORT, FLAG_API_KEY, FLAG_CWD, FLAG_CORS, FLAG_COUNT };

static const struct {
    const char *flag;
    const char *variable; /* NULL: only the flag */
    const char *fallback;
} flags[FLAG_COUNT] = {
    [FLAG_HOST] = {"--host", ENVIRONMENT_PREFIX "HOST", "0.0.0.0"},
    [FLAG_PORT] = {"--port", ENVIRONMENT_PREFIX "PORT", DEFAULT_PORT},
    [FLAG_API_KEY] = {"--api-key", ENVIRONMENT_PREFIX "API_KEY", NULL},
    [FLAG_CWD] = {"--cwd", NULL, NULL},
    [FLAG_CORS] = {"--cors-allowed-origins", ENVIRONMENT_PREFIX "CORS_ALLOWED_ORIGINS", "*"},
};

/* Finds "--name value" and "--name=value". Advances *index past what it used. */
static bool read_flag(int argc, char **argv, int *index, char **values, struct error *err) {
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        size_t length = strlen(flags[i].flag);
        if (strncmp(argv[*index], flags[i].flag, length) != 0) {
            continue;
        }
        if (argv[*index][length] == '=') {
            values[i] = argv[*index] + length + 1;
            return true;
        }
        if (argv[*index][length] == '\0') {
            if (*index + 1 == argc) {
                return error_set(err, ERROR_INVALID, "%s needs a value", flags[i].flag);
            }
            values[i] = argv[++*index];
            return true;
        }
    }
    return error_set(err, ERROR_INVALID, "unknown argument `%s`", argv[*index]);
}

static bool parse_port(const char *text, unsigned *port, struct error *err) {
    char *end = NULL;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number == 0 || number > 65535) {
        return error_set(err, ERROR_INVALID, "port `%s`: expected a number from 1 to 65535", text);
    }
    *port = (unsigned)number;
    return true;
}

/* The first line of the file. */
static char *read_key_file(const char *path, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char key[KEY_MAX_BYTES];
    ssize_t length = fd >= 0 ? read(fd, key, sizeof key - 1) : -1;
    if (length < 0) {
        error_set_errno(err, ERROR_INVALID, "read the API key from `%s`", path);
        return NULL;
    }
    key[length] = '\0';
    key[strcspn(key, "\r\n")] = '\0';
    char *copy = strdup(key);
    explicit_bzero(key, sizeof key);
    return copy;
}

/* Takes the key out of where /proc would show it to every command. */
static bool take_key(char *value, struct options *options, struct error *err) {
    const char *path = getenv(ENVIRONMENT_PREFIX "API_KEY_FILE");
    if (value != NULL) {
        options->api_key = strdup(value);
        explicit_bzero(value, strlen(value));
        if (options->api_key == NULL) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
    } else if (path != NULL && *path != '\0') {
        options->api_key = read_key_file(path, err);
        if (options->api_key == NULL) {
            return false;
        }
        if (*options->api_key == '\0') {
            return error_set(err, ERROR_INVALID, "the API key file `%s` is empty", path);
        }
    }
    unsetenv(ENVIRONMENT_PREFIX "API_KEY");
    unsetenv(ENVIRONMENT_PREFIX "API_KEY_FILE");
    if (options->api_key != NULL && *options->api_key == '\0') {
        free(options->api_key);
        options->api_key = NULL;
    }
    return true;
}

static char *find_home(const char *folder, struct error *err) {
    if (folder == NULL) {
        folder = getenv("HOME");
    }
    if (folder == NULL || *folder == '\0') {
        folder = ".";
    }
    char *home = realpath(folder, NULL);
    if (home == NULL) {
        error_set_errno(err, ERROR_INVALID, "folder `%s`", folder);
    }
    return home;
}

static bool fill(char **values, struct options *options, struct error *err) {
    for (size_t i = 0; i < FLAG_COUNT; i++) {
        if (values[i] == NULL && flags[i].variable != NULL) {
            values[i] = getenv(flags[i].variable);
        }
        if (values[i] != NULL && *values[i] == '\0') {
            values[i] = NULL;
        }
    }
    const char *host = values[FLAG_HOST] != NULL ? values[FLAG_HOST] : flags[FLAG_HOST].fallback;
    const char *port = values[FLAG_PORT] != NULL ? values[FLAG_PORT] : flags[FLAG_PORT].fallback;
    const char *cors = values[FLAG_CORS] != NULL ? values[FLAG_CORS] : flags[FLAG_CORS].fallback;
    if (!parse_port(port, &options->port, err) || !take_key(values[FLAG_API_KEY], options, err)) {
        return false;
    }
    options->home = find_home(values[FLAG_CWD], err);
    if (options->home == NULL) {
        return false;
    }
    options->host = strdup(host);
    options->cors_allowed_origins = strdup(cors);
    if (options->host == NULL || options->cors_allowed_origins == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return true;
}

bool options_parse(int argc, char **argv, struct options *options, struct error *err) {
    *options = (struct options){0};
    if (argc < 2 || strcmp(argv[1], "run") != 0) {
        options->is_help_wanted = argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0);
        return options->is_help_wanted || error_set(err, ERROR_INVALID, "the first argument must be `run`");
    }
    char *values[FLAG_COUNT] = {NULL};
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            options->is_help_wanted = true;
            return true;
        }
        if (!read_flag(argc, argv, &i, values, err)) {
            return false;
        }
    }
    if (!fill(values, options, err)) {
        options_free(options);
        return false;
    }
    return true;
}

void options_free(struct options *options) {
    free(options->host);
    secret_free(options->api_key);
    free(options->home);
    free(options->cors_allowed_origins);
    *options = (struct options){0};
}
