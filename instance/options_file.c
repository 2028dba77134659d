/* options_file.c - settings from TOML files. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "instance/options_table.h"
#include "instance/toml.h"

#define SYSTEM_FILE "/etc/open-terminal/config.toml"
#define USER_FILE   "open-terminal/config.toml"

struct reading {
    const char *path;
    struct option_values found;
};

static bool is_kind_fit(enum option_kind wanted, enum toml_kind kind) {
    switch (kind) {
    case TOML_INTEGER:
    case TOML_FLOAT:
        return wanted == OPTION_NUMBER || wanted == OPTION_WHOLE;
    case TOML_BOOLEAN:
        return wanted == OPTION_BOOLEAN || wanted == OPTION_SPECIAL;
    case TOML_STRING:
    case TOML_ARRAY:
        break;
    }
    return wanted == OPTION_TEXT || wanted == OPTION_SPECIAL;
}

static bool take_setting(void *state, const char *key, enum toml_kind kind, const char *text, struct error *err) {
    struct reading *reading = state;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        if ((row->sources & OPTION_FILE) == 0 || strcmp(row->name, key) != 0) {
            continue;
        }
        if (reading->found.text[i] != NULL) {
            return error_set(err, ERROR_INVALID, "`%s` is given twice", key);
        }
        if (!is_kind_fit(row->kind, kind)) {
            return error_set(err, ERROR_INVALID, "`%s` has a value of the wrong type", key);
        }
        struct options scratch = {0};
        bool is_good = option_apply(row, text, &scratch, err);
        options_free(&scratch);
        if (!is_good) {
            return false;
        }
        reading->found.text[i] = strdup(text);
        return reading->found.text[i] != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
    }
    log_warning(NULL, "%s: `%s` is no setting of open-terminal", reading->path, key);
    return true;
}

static bool read_whole(const char *path, struct buffer *out, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t length = fd >= 0 ? 1 : -1;
    while (length > 0 && out->length <= TOML_FILE_MAX_BYTES) {
        char *room = buffer_reserve(out, 4096);
        if (room == NULL) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
        length = read(fd, room, 4096);
        out->length += length > 0 ? (size_t)length : 0;
    }
    return length >= 0 || error_set_errno(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_INVALID, "read `%s`", path);
}

static bool read_file(const char *path, struct option_values *values, struct error *err) {
    struct buffer text = {0};
    struct reading reading = {.path = path};
    bool ok = read_whole(path, &text, err);
    if (ok && !toml_parse(text.data != NULL ? text.data : "", text.length, take_setting, &reading, err)) {
        ok = error_prefix(err, "%s", path);
    }
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (ok && values->text[i] == NULL) {
            values->text[i] = steal_pointer(&reading.found.text[i]);
        }
        secret_free(reading.found.text[i]); /* one of them is the key */
    }
    if (text.data != NULL) {
        explicit_bzero(text.data, text.length);
    }
    buffer_free(&text);
    return ok;
}

static char *user_file(void) {
    const char *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    char *path = NULL;
    int length = -1;
    if (config != NULL && *config == '/') {
        length = asprintf(&path, "%s/%s", config, USER_FILE);
    } else if (home != NULL && *home == '/') {
        length = asprintf(&path, "%s/.config/%s", home, USER_FILE);
    }
    return length < 0 ? NULL : path;
}

bool options_read_files(const char *config, struct option_values *values, struct error *err) {
    if (config != NULL) {
        return read_file(config, values, err);
    }
    struct error problem = {0};
    cleanup_free char *path = user_file();
    if (path != NULL && !read_file(path, values, &problem) && problem.code != ERROR_NOT_FOUND) {
        log_warning(NULL, "the file is ignored: %s", problem.message);
    }
    problem = (struct error){0};
    if (!read_file(SYSTEM_FILE, values, &problem) && problem.code != ERROR_NOT_FOUND) {
        if (err != NULL) {
            *err = problem;
        }
        return false;
    }
    return true;
}
