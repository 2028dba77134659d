#include "instance/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "instance/options_table.h"

#define NAME_SIZE 64

const char options_usage[] =
    "usage: open-terminal run [--host ADDRESS] [--port PORT] [--api-key KEY] [--cwd FOLDER] [--config FILE]\n"
    "                         [--cors-allowed-origins LIST] [--wait-fd NUMBER]\n"
    "       open-terminal mcp [--transport stdio|streamable-http] [the flags of `run`]\n"
    "\n"
    "run: serves commands, files and shells of one user over HTTP and WebSocket.\n"
    "mcp: offers the same to a model as tools of the Model Context Protocol, on standard input and output (the\n"
    "     default) or at /mcp.\n"
    "  --host      address to listen on (OPEN_TERMINAL_HOST, default 0.0.0.0)\n"
    "  --port      port (OPEN_TERMINAL_PORT, default 8000)\n"
    "  --api-key   bearer token that clients need, by default one that is made and printed; better in\n"
    "              OPEN_TERMINAL_API_KEY or in the file that OPEN_TERMINAL_API_KEY_FILE names, where `ps` does not "
    "show it\n"
    "  --cwd       where relative paths and commands start (default: HOME)\n"
    "  --config    a TOML file of settings, instead of ~/.config/open-terminal/config.toml and\n"
    "              /etc/open-terminal/config.toml\n"
    "  --cors-allowed-origins  comma-separated web origins, default *\n"
    "  --wait-fd   begins once something can be read from this descriptor, and ends if nothing ever can: for who has "
    "to\n"
    "              write down first that it runs\n";

/* "--max-sessions" or "OPEN_TERMINAL_MAX_SESSIONS" */
static void spell(const char *prefix, const char *name, bool is_flag, char out[NAME_SIZE]) {
    int length = snprintf(out, NAME_SIZE, "%s%s", prefix, name);
    for (char *c = out + strlen(prefix); c < out + length; c++) {
        *c = is_flag && *c == '_' ? '-' : *c;
        *c = is_flag ? *c : (char)toupper((unsigned char)*c);
    }
}

static bool keep(char **value, const char *text, struct error *err) {
    secret_free(*value);
    *value = strdup(text);
    return *value != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* Finds "--name value" and "--name=value". Advances *index past what it used. */
static bool read_flag(int argc, char **argv, int *index, struct option_values *values, struct error *err) {
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char flag[NAME_SIZE];
        spell("--", option_rows[i].name, true, flag);
        size_t length = strlen(flag);
        char *argument = argv[*index];
        if ((option_rows[i].sources & OPTION_FLAG) == 0 || strncmp(argument, flag, length) != 0 ||
            (argument[length] != '=' && argument[length] != '\0')) {
            continue;
        }
        char *value = argument + length + 1;
        if (argument[length] == '\0') {
            if (*index + 1 == argc) {
                return error_set(err, ERROR_INVALID, "%s needs a value", flag);
            }
            value = argv[++*index];
        }
        bool ok = keep(&values->text[i], value, err);
        if (i == OPTION_API_KEY) {
            explicit_bzero(value, strlen(value));
        }
        return ok;
    }
    if (strcmp(argv[*index], "--multi-user") == 0) {
        return keep(&values->text[OPTION_MULTI_USER], "true", err);
    }
    return error_set(err, ERROR_INVALID, "unknown argument `%s`", argv[*index]);
}

/* An empty variable says nothing, as in a compose file that passes on what is not set. */
static bool read_environment(struct option_values *values, struct error *err) {
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char variable[NAME_SIZE];
        spell("OPEN_TERMINAL_", option_rows[i].name, false, variable);
        const char *text = (option_rows[i].sources & OPTION_VARIABLE) != 0 ? getenv(variable) : NULL;
        if (values->text[i] == NULL && text != NULL && *text != '\0' && !keep(&values->text[i], text, err)) {
            return false;
        }
    }
    static const char *const of_the_container[] = {"ALLOWED_DOMAINS", "PACKAGES", "PIP_PACKAGES"};
    for (size_t i = 0; i < sizeof of_the_container / sizeof of_the_container[0]; i++) {
        char variable[NAME_SIZE];
        spell("OPEN_TERMINAL_", of_the_container[i], false, variable);
        if (getenv(variable) != NULL) {
            log_warning(NULL, "%s has no effect: it belongs to the original's image", variable);
        }
    }
    return true;
}

static bool parse_boolean(const char *text, bool *value) {
    static const char *const words[] = {"false", "0", "no", "off", "true", "1", "yes", "on"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *value = i >= 4;
            return true;
        }
    }
    return false;
}

static bool parse_number(const struct option_row *row, const char *text, double *value) {
    char *end = NULL;
    *value = strtod(text, &end);
    bool is_plain = *text >= '0' && *text <= '9' && strpbrk(text, "xXpP") == NULL;
    return is_plain && *end == '\0' && *value >= row->minimum && *value <= row->maximum &&
           (row->kind == OPTION_NUMBER || strspn(text, "0123456789") == strlen(text));
}

bool option_apply(const struct option_row *row, const char *text, struct options *options, struct error *err) {
    void *member = (char *)options + row->offset;
    double number;
    text = text != NULL ? text : row->fallback;
    switch (row->kind) {
    case OPTION_TEXT:
        return text == NULL || keep(member, text, err);
    case OPTION_BOOLEAN:
        return parse_boolean(text, member) ||
               error_set(err, ERROR_INVALID, "%s `%s`: expected true or false", row->name, text);
    case OPTION_NUMBER:
    case OPTION_WHOLE:
        if (!parse_number(row, text, &number)) {
            return error_set(err, ERROR_INVALID, "%s `%s`: expected a%s number from %.0f to %.0f", row->name, text,
                             row->kind == OPTION_WHOLE ? " whole" : "", row->minimum, row->maximum);
        }
        if (row->kind == OPTION_WHOLE) {
            *(uint64_t *)member = (uint64_t)number;
        } else {
            *(double *)member = number;
        }
        break;
    case OPTION_SPECIAL:
        break;
    }
    return true;
}

static char *find_home(const char *folder, struct error *err) {
    if (folder == NULL || *folder == '\0') {
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

/* log_dir, else $XDG_STATE_HOME/open-terminal/logs, else the same below the home folder. */
static bool find_log_dir(const char *given, struct options *options, struct error *err) {
    const char *state = getenv("XDG_STATE_HOME");
    int length;
    if (given != NULL) {
        length =
            asprintf(&options->log_dir, "%s%s%s", *given == '/' ? "" : options->home, *given == '/' ? "" : "/", given);
    } else if (state != NULL && *state == '/') {
        length = asprintf(&options->log_dir, "%s/open-terminal/logs", state);
    } else {
        length = asprintf(&options->log_dir, "%s/.local/state/open-terminal/logs", options->home);
    }
    if (length < 0) {
        options->log_dir = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return true;
}

static bool refuse_multi_user(const char *text, struct error *err) {
    bool is_wanted = false;
    if (text != NULL && !parse_boolean(text, &is_wanted)) {
        return error_set(err, ERROR_INVALID, "multi_user `%s`: expected true or false", text);
    }
    return !is_wanted ||
           error_set(err, ERROR_INVALID,
                     "there is no multi-user mode here: one instance is one user's, and Terminals starts one "
                     "for each. Unset OPEN_TERMINAL_MULTI_USER");
}

static bool read_transport(const char *text, struct options *options, struct error *err) {
    if (!options->is_mcp) {
        return text == NULL || error_set(err, ERROR_INVALID, "--transport belongs to `open-terminal mcp`");
    }
    options->is_stdio = text == NULL || strcmp(text, "stdio") == 0;
    return options->is_stdio || strcmp(text, "streamable-http") == 0 || strcmp(text, "http") == 0 ||
           error_set(err, ERROR_INVALID, "--transport `%s`: expected stdio or streamable-http", text);
}

static bool read_log_format(const char *text, struct options *options, struct error *err) {
    options->is_log_json = text != NULL && strcmp(text, "json") == 0;
    return text == NULL || options->is_log_json || strcmp(text, "text") == 0 ||
           error_set(err, ERROR_INVALID, "log_format `%s`: expected text or json", text);
}

static bool fill(struct option_values *values, struct options *options, struct error *err) {
    if (!read_environment(values, err) || !options_read_key_file(values, err) ||
        !options_read_files(values->text[OPTION_CONFIG], values, err)) {
        return false;
    }
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (!option_apply(&option_rows[i], values->text[i], options, err)) {
            return false;
        }
    }
    if (!refuse_multi_user(values->text[OPTION_MULTI_USER], err) ||
        !read_transport(values->text[OPTION_TRANSPORT], options, err) ||
        !read_log_format(values->text[OPTION_LOG_FORMAT], options, err) || !options_take_key(values, options, err)) {
        return false;
    }
    options->home = find_home(values->text[OPTION_CWD], err);
    return options->home != NULL && find_log_dir(values->text[OPTION_LOG_DIR], options, err);
}

static bool read_command_line(int argc, char **argv, struct options *options, struct option_values *values,
                              struct error *err) {
    options->is_help_wanted = argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0);
    if (options->is_help_wanted) {
        return true;
    }
    options->is_mcp = argc >= 2 && strcmp(argv[1], "mcp") == 0;
    if (!options->is_mcp && (argc < 2 || strcmp(argv[1], "run") != 0)) {
        return error_set(err, ERROR_INVALID, "the first argument must be `run` or `mcp`");
    }
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            options->is_help_wanted = true;
        } else if (!read_flag(argc, argv, &i, values, err)) {
            return false;
        }
    }
    return true;
}

bool options_parse(int argc, char **argv, struct options *options, struct error *err) {
    *options = (struct options){0};
    struct option_values values = {0};
    bool ok = read_command_line(argc, argv, options, &values, err) &&
              (options->is_help_wanted || fill(&values, options, err));
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        secret_free(values.text[i]);
    }
    if (!ok) {
        options_free(options);
    }
    return ok;
}

void options_free(struct options *options) {
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (option_rows[i].kind == OPTION_TEXT) {
            free(*(char **)((char *)options + option_rows[i].offset));
        }
    }
    secret_free(options->api_key);
    free(options->home);
    free(options->log_dir);
    *options = (struct options){0};
}
