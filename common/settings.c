#include "common/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/dotenv.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/settings_check.h"
#include "common/settings_table.h"
#include "common/settings_value.h"

#define FILE_MAX_BYTES (1024 * 1024)
#define SETTINGS_MAX   128

extern char **environ;

/* While reading: where each setting's text came from so far. */
struct reading {
    struct settings *settings;
    char *texts[SETTINGS_MAX]; /* by row of the table; NULL: the default holds */
    bool by_alias[SETTINGS_MAX];
    char *from_dotenv[SETTINGS_MAX]; /* only what the environment does not set is taken from here */
    bool dotenv_by_alias[SETTINGS_MAX];
};

static void reading_cleanup(struct reading *reading) {
    for (size_t i = 0; i < settings_table_count; i++) {
        secret_free(reading->texts[i]);
        secret_free(reading->from_dotenv[i]);
    }
}

static size_t row_called(const char *name, size_t length) {
    for (size_t i = 0; i < settings_table_count; i++) {
        if (strlen(settings_table[i].name) == length && strncmp(settings_table[i].name, name, length) == 0) {
            return i;
        }
    }
    return settings_table_count;
}

/* A file's content as a string, without the line feeds at its end (what `echo` and Docker secrets leave there). */
static char *read_text_file(const char *path, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        error_set_errno(err, ERROR_INVALID, "open `%s`", path);
        return NULL;
    }
    cleanup_secret char *text = calloc(1, FILE_MAX_BYTES + 1);
    size_t length = 0;
    while (text != NULL && length < FILE_MAX_BYTES) {
        ssize_t got = read(fd, text + length, FILE_MAX_BYTES - length);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            error_set_errno(err, ERROR_INVALID, "read `%s`", path);
            return NULL;
        }
        if (got == 0) {
            break;
        }
        length += (size_t)got;
    }
    if (text == NULL || length == FILE_MAX_BYTES || memchr(text, '\0', length) != NULL) {
        error_set(err, ERROR_INVALID, "`%s` is no text file of at most 1 MiB", path);
        return NULL;
    }
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r')) {
        text[--length] = '\0';
    }
    return strdup(text);
}

static char *multiplied(const char *text, int64_t factor) {
    int64_t number = 0;
    char *result = NULL;
    if (!settings_number(text, &number) || __builtin_mul_overflow(number, factor, &number)) {
        return strdup(text); /* what is wrong with it is said where the setting is stored */
    }
    return asprintf(&result, "%lld", (long long)number) < 0 ? NULL : result;
}

static bool remember(char **texts, bool *by_alias, size_t row, bool alias, char *text, struct error *err) {
    if (text == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (alias && texts[row] != NULL && !by_alias[row]) {
        secret_free(text);
        return true;
    }
    secret_free(texts[row]);
    texts[row] = text;
    by_alias[row] = alias;
    return true;
}

/* One NAME=value of a source. Names that are not ours are skipped. */
static bool take_assignment(char **texts, bool *by_alias, const char *name, const char *value, struct error *err) {
    if (strncmp(name, SETTINGS_PREFIX, SETTINGS_PREFIX_LENGTH) != 0) {
        return true;
    }
    const char *own = name + SETTINGS_PREFIX_LENGTH;
    if (strcmp(own, SETTINGS_COMPLETE) == 0) {
        return true;
    }
    size_t row = row_called(own, strlen(own));
    if (row < settings_table_count) {
        return remember(texts, by_alias, row, false, strdup(value), err);
    }
    size_t length = strlen(own);
    if (length > 5 && strcmp(own + length - 5, "_FILE") == 0) {
        row = row_called(own, length - 5);
        if (row < settings_table_count && settings_table[row].type == SETTING_SECRET) {
            char *text = read_text_file(value, err);
            if (text == NULL) {
                return error_prefix(err, "%s", name);
            }
            return remember(texts, by_alias, row, true, text, err);
        }
    }
    for (size_t i = 0; i < settings_aliases_count; i++) {
        if (strcmp(settings_aliases[i].alias, own) == 0) {
            row = row_called(settings_aliases[i].name, strlen(settings_aliases[i].name));
            int64_t factor = settings_aliases[i].factor;
            return remember(texts, by_alias, row, true, factor == 1 ? strdup(value) : multiplied(value, factor), err);
        }
    }
    return error_set(err, ERROR_INVALID, "%s is not a setting of this version", name);
}

static bool take_from_dotenv(void *argument, const char *name, const char *value, struct error *err) {
    struct reading *reading = argument;
    return take_assignment(reading->from_dotenv, reading->dotenv_by_alias, name, value, err);
}

static bool take_environment(struct reading *reading, const char *const *environment, struct error *err) {
    for (; *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');
        if (equals == NULL || strncmp(*environment, SETTINGS_PREFIX, SETTINGS_PREFIX_LENGTH) != 0) {
            continue;
        }
        cleanup_free char *name = strndup(*environment, (size_t)(equals - *environment));
        if (name == NULL) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
        if (!take_assignment(reading->texts, reading->by_alias, name, equals + 1, err)) {
            return false;
        }
    }
    return true;
}

bool settings_parse(struct settings *settings, const char *const *environment, const char *dotenv,
                    const struct settings_override *overrides, struct error *err) {
    *settings = (struct settings){0};
    __attribute__((cleanup(reading_cleanup))) struct reading reading = {.settings = settings};
    if (dotenv != NULL && !dotenv_parse(dotenv, take_from_dotenv, &reading, err)) {
        return false;
    }
    if (!take_environment(&reading, environment, err)) {
        return false;
    }
    for (; overrides != NULL && overrides->name != NULL; overrides++) {
        if (!take_assignment(reading.texts, reading.by_alias, overrides->name, overrides->value, err)) {
            return false;
        }
    }
    for (size_t i = 0; i < settings_table_count; i++) {
        const char *text = reading.texts[i] != NULL ? reading.texts[i] : reading.from_dotenv[i];
        if (!settings_store(settings, &settings_table[i], text, err)) {
            settings_free(settings);
            return false;
        }
    }
    if (!settings_check(settings, err)) {
        settings_free(settings);
        return false;
    }
    return true;
}

bool settings_load(struct settings *settings, const struct settings_override *overrides, struct error *err) {
    cleanup_secret char *dotenv = NULL;
    if (getenv(SETTINGS_PREFIX SETTINGS_COMPLETE) == NULL && access(".env", F_OK) == 0) {
        dotenv = read_text_file(".env", err);
        if (dotenv == NULL) {
            return false;
        }
    }
    return settings_parse(settings, (const char *const *)environ, dotenv, overrides, err);
}

void settings_free(struct settings *settings) {
    for (size_t i = 0; i < settings_table_count; i++) {
        if (settings_table[i].type == SETTING_TEXT || settings_table[i].type == SETTING_SECRET ||
            settings_table[i].type == SETTING_AMOUNT) {
            secret_free(*(char **)settings_field(settings, &settings_table[i]));
        }
    }
    *settings = (struct settings){0};
}

void settings_configure_log(const struct settings *settings, const char *process) {
    log_configure(process, (enum log_level)settings->log_level, (enum log_format)settings->log_format);
}
