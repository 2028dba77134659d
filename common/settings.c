#include "common/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auth_settings.h"
#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/docker_settings.h"
#include "common/dotenv.h"
#include "common/kubernetes_settings.h"
#include "common/log.h"
#include "common/networks.h"
#include "common/origins.h"
#include "common/quantity.h"
#include "common/sandbox.h"
#include "common/secret.h"
#include "common/settings_table.h"

#define PREFIX        "TERMINALS_"
#define PREFIX_LENGTH (sizeof PREFIX - 1)
/* Set by settings_export(): the supervisor has read everything, and a process must not find in `.env` what was kept
 * from it. */
#define COMPLETE       "SETTINGS_COMPLETE"
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

static void *field_of(const struct settings *settings, const struct setting *row) {
    return (char *)settings + row->offset;
}

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

static bool take_number(const char *text, int64_t *number) {
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *number = value;
    return errno == 0 && end != text && *end == '\0' && strchr(" \t\n\v\f\r+", text[0]) == NULL;
}

static char *multiplied(const char *text, int64_t factor) {
    int64_t number = 0;
    char *result = NULL;
    if (!take_number(text, &number) || __builtin_mul_overflow(number, factor, &number)) {
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
    if (strncmp(name, PREFIX, PREFIX_LENGTH) != 0) {
        return true;
    }
    const char *own = name + PREFIX_LENGTH;
    if (strcmp(own, COMPLETE) == 0) {
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
        if (equals == NULL || strncmp(*environment, PREFIX, PREFIX_LENGTH) != 0) {
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

static bool store_switch(bool *field, const char *text) {
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"1", true},  {"yes", true}, {"on", true},
                 {"false", false}, {"0", false}, {"no", false}, {"off", false}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(words[i].word, text) == 0) {
            *field = words[i].value;
            return true;
        }
    }
    return false;
}

static bool store_choice(int *field, const struct setting *row, const char *text) {
    for (int i = 0; row->choices[i] != NULL; i++) {
        if (strcasecmp(row->choices[i], text) == 0) {
            *field = i;
            return true;
        }
    }
    return false;
}

/* "TERMINALS_X: `value` is not one of a, b" */
static bool refuse_choice(const struct setting *row, const char *text, struct error *err) {
    cleanup_buffer struct buffer list = {0};
    for (int i = 0; row->choices[i] != NULL; i++) {
        buffer_append_format(&list, "%s%s", i > 0 ? ", " : "", row->choices[i]);
    }
    return error_set(err, ERROR_INVALID, PREFIX "%s: `%s` is not one of %s", row->name, text,
                     list.data == NULL ? "" : list.data);
}

static bool store_text(char **field, const struct setting *row, const char *text, struct error *err) {
    if (text == NULL) {
        return true;
    }
    if (text[0] == '\0') {
        return error_set(err, ERROR_INVALID, PREFIX "%s is empty", row->name);
    }
    if (strpbrk(text, "\n\r") != NULL) {
        return error_set(err, ERROR_INVALID, PREFIX "%s holds a line feed", row->name);
    }
    *field = strdup(text);
    return *field != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool store_amount(char **field, const struct setting *row, const char *text, struct error *err) {
    int64_t amount = 0;
    if (text != NULL && (!quantity_thousandths(text, &amount) || amount <= 0)) {
        return error_set(err, ERROR_INVALID,
                         PREFIX "%s: `%s` is not a Kubernetes quantity above zero (500m, 2, 512Mi, 4Gi)", row->name,
                         text);
    }
    return store_text(field, row, text, err);
}

static bool store(struct settings *settings, const struct setting *row, const char *text, struct error *err) {
    void *field = field_of(settings, row);
    /* Empty is what an unset variable in a compose file becomes. */
    if (text == NULL || (text[0] == '\0' && (row->type != SETTING_TEXT || row->default_value == NULL))) {
        text = row->default_value;
    }
    int64_t number = 0;
    switch (row->type) {
    case SETTING_TEXT:
    case SETTING_SECRET:
        return store_text(field, row, text, err);
    case SETTING_AMOUNT:
        return store_amount(field, row, text, err);
    case SETTING_SWITCH:
        return store_switch(field, text) ||
               error_set(err, ERROR_INVALID, PREFIX "%s: `%s` is neither true nor false", row->name, text);
    case SETTING_CHOICE:
        return store_choice(field, row, text) || refuse_choice(row, text, err);
    case SETTING_NUMBER:
        if (!take_number(text, &number) || number < row->minimum || number > row->maximum) {
            return error_set(err, ERROR_INVALID, PREFIX "%s: `%s` is not a number from %lld to %lld", row->name, text,
                             (long long)row->minimum, (long long)row->maximum);
        }
        *(int64_t *)field = number;
        return true;
    }
    return false;
}

/* `sqlite:///…` or `postgresql://…`, or with a driver's name, which means nothing to us: `sqlite+aiosqlite:///…`. What
 * else libpq wants of a URL it says itself. */
static bool is_database_url(const char *url) {
    static const char *const schemes[] = {"sqlite", "postgresql", "postgres"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i]);
        const char *rest = url + length;
        if (strncmp(url, schemes[i], length) == 0 && (*rest == '+' || *rest == ':')) {
            rest += *rest == '+' ? strcspn(rest, ":") : 0;
            return i > 0 ? strncmp(rest, "://", 3) == 0 : strncmp(rest, ":///", 4) == 0 && rest[4] != '\0';
        }
    }
    return false;
}

/* Neither is quoted: they are secrets. */
static bool check_webhook(const struct settings *settings, struct error *err) {
    const char *url = settings->siem_webhook_url;
    const char *host = url == NULL                            ? "x"
                       : strncasecmp(url, "http://", 7) == 0  ? url + 7
                       : strncasecmp(url, "https://", 8) == 0 ? url + 8
                                                              : "";
    for (const char *c = url == NULL ? "" : url; *c != '\0'; c++) {
        host = *c <= 0x20 || *c >= 0x7f ? "" : host;
    }
    if (host[0] == '\0' || strchr("/?#:@", host[0]) != NULL) {
        return error_set(err, ERROR_INVALID, PREFIX "SIEM_WEBHOOK_URL: expected `http://…` or `https://…`");
    }
    for (const char *c = settings->siem_webhook_token == NULL ? "" : settings->siem_webhook_token; *c != '\0'; c++) {
        if (*c < 0x20 || *c >= 0x7f) {
            return error_set(err, ERROR_INVALID,
                             PREFIX "SIEM_WEBHOOK_TOKEN: a header has printable ASCII characters only");
        }
    }
    return true;
}

/* What no row can say by itself. */
static bool check_together(struct settings *settings, struct error *err) {
    if (!is_database_url(settings->database_url)) {
        return error_set(err, ERROR_INVALID,
                         PREFIX "DATABASE_URL: expected `sqlite:///path` or `postgresql://user@host/database`");
    }
    if (settings->trusted_proxies != NULL && !networks_check(settings->trusted_proxies, err)) {
        return error_prefix(err, PREFIX "TRUSTED_PROXIES");
    }
    if (!origins_check(settings->cors_allowed_origins, err)) {
        return error_prefix(err, PREFIX "CORS_ALLOWED_ORIGINS");
    }
    if (!sandbox_check(settings->instance_sandbox, err)) {
        return error_prefix(err, PREFIX "INSTANCE_SANDBOX");
    }
    if (!check_webhook(settings, err)) {
        return false;
    }
    return auth_settings_check(settings, err) && docker_settings_check(settings, err) &&
           kubernetes_settings_check(settings, err);
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
        if (!store(settings, &settings_table[i], text, err)) {
            settings_free(settings);
            return false;
        }
    }
    if (!check_together(settings, err)) {
        settings_free(settings);
        return false;
    }
    return true;
}

bool settings_load(struct settings *settings, const struct settings_override *overrides, struct error *err) {
    cleanup_secret char *dotenv = NULL;
    if (getenv(PREFIX COMPLETE) == NULL && access(".env", F_OK) == 0) {
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
            secret_free(*(char **)field_of(settings, &settings_table[i]));
        }
    }
    *settings = (struct settings){0};
}

void settings_configure_log(const struct settings *settings, const char *process) {
    log_configure(process, (enum log_level)settings->log_level, (enum log_format)settings->log_format);
}

/* Removes every TERMINALS_ name from the environment of this process. */
static bool unset_all(void) {
    for (char **entry = environ; *entry != NULL;) {
        const char *equals = strchr(*entry, '=');
        if (equals == NULL || strncmp(*entry, PREFIX, PREFIX_LENGTH) != 0) {
            entry++;
            continue;
        }
        cleanup_free char *name = strndup(*entry, (size_t)(equals - *entry));
        if (name == NULL || unsetenv(name) != 0) {
            return false;
        }
        entry = environ; /* unsetenv() moved the rest */
    }
    return true;
}

static bool export_row(const struct settings *settings, const struct setting *row) {
    const void *field = field_of(settings, row);
    cleanup_free char *name = NULL;
    cleanup_free char *number = NULL;
    const char *value = NULL;
    if (asprintf(&name, PREFIX "%s", row->name) < 0) {
        name = NULL;
        return false;
    }
    switch (row->type) {
    case SETTING_TEXT:
    case SETTING_SECRET:
    case SETTING_AMOUNT:
        value = *(char *const *)field;
        break;
    case SETTING_SWITCH:
        value = *(const bool *)field ? "true" : "false";
        break;
    case SETTING_CHOICE:
        value = row->choices[*(const int *)field];
        break;
    case SETTING_NUMBER:
        if (asprintf(&number, "%lld", (long long)*(const int64_t *)field) < 0) {
            number = NULL;
            return false;
        }
        value = number;
        break;
    }
    return value == NULL || setenv(name, value, 1) == 0;
}

bool settings_export(const struct settings *settings, enum settings_reader reader, struct error *err) {
    if (!unset_all()) {
        return error_set_errno(err, ERROR_INTERNAL, "clear the environment");
    }
    for (size_t i = 0; i < settings_table_count; i++) {
        if ((settings_table[i].readers & reader) != 0 && !export_row(settings, &settings_table[i])) {
            return error_set_errno(err, ERROR_INTERNAL, "set %s%s", PREFIX, settings_table[i].name);
        }
    }
    return setenv(PREFIX COMPLETE, "true", 1) == 0 || error_set_errno(err, ERROR_INTERNAL, "set %s", PREFIX COMPLETE);
}

static bool row_to_json(const struct settings *settings, const struct setting *row, struct json_object *object) {
    const void *field = field_of(settings, row);
    char key[64] = "";
    if (row->type == SETTING_SECRET) {
        strcpy(key, "has_");
    }
    size_t used = strlen(key);
    for (size_t i = 0; row->name[i] != '\0' && used + 1 < sizeof key; i++) {
        char c = row->name[i];
        key[used++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        key[used] = '\0';
    }
    switch (row->type) {
    case SETTING_SECRET:
        return json_add_bool(object, key, *(char *const *)field != NULL);
    case SETTING_TEXT:
    case SETTING_AMOUNT:
        return json_add_string(object, key, *(char *const *)field);
    case SETTING_SWITCH:
        return json_add_bool(object, key, *(const bool *)field);
    case SETTING_CHOICE:
        return json_add_string(object, key, row->choices[*(const int *)field]);
    case SETTING_NUMBER:
        return json_add_int(object, key, *(const int64_t *)field);
    }
    return false;
}

struct json_object *settings_to_json(const struct settings *settings, unsigned readers) {
    struct json_object *object = json_object_new_object();
    for (size_t i = 0; object != NULL && i < settings_table_count; i++) {
        if ((settings_table[i].readers & readers) != 0 && !row_to_json(settings, &settings_table[i], object)) {
            json_object_put(object);
            return NULL;
        }
    }
    return object;
}
