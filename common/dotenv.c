#include "common/dotenv.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t\r");
}

static bool is_name_character(char c, bool first) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (!first && c >= '0' && c <= '9');
}

/* The value between quotes, from behind the opening one; NULL when the closing one is missing or something follows it.
 */
static char *quoted_value(const char *at, char quote) {
    cleanup_free char *value = malloc(strlen(at) + 1);
    size_t length = 0;
    if (value == NULL) {
        return NULL;
    }
    for (; *at != quote; at++) {
        if (*at == '\0') {
            return NULL;
        }
        if (quote == '"' && *at == '\\' && at[1] != '\0' && strchr("nt\"\\$", at[1]) != NULL) {
            at++;
            value[length++] = *at == 'n' ? '\n' : *at == 't' ? '\t' : *at;
        } else {
            value[length++] = *at;
        }
    }
    value[length] = '\0';
    at = skip_blanks(at + 1);
    if (*at != '\0' && *at != '#') {
        return NULL;
    }
    return steal_pointer(&value);
}

static char *plain_value(const char *at) {
    size_t length = 0;
    while (at[length] != '\0' && !(at[length] == '#' && (length == 0 || strchr(" \t", at[length - 1]) != NULL))) {
        length++;
    }
    while (length > 0 && strchr(" \t\r", at[length - 1]) != NULL) {
        length--;
    }
    return strndup(at, length);
}

/* One line, which is modified. */
static bool parse_line(char *line, int number,
                       bool (*each)(void *argument, const char *name, const char *value, struct error *err),
                       void *argument, struct error *err) {
    char *name = (char *)skip_blanks(line);
    if (*name == '\0' || *name == '#') {
        return true;
    }
    if (strncmp(name, "export ", 7) == 0) {
        name = (char *)skip_blanks(name + 7);
    }
    char *end = name;
    while (is_name_character(*end, end == name)) {
        end++;
    }
    char *equals = (char *)skip_blanks(end);
    if (end == name || *equals != '=') {
        return error_set(err, ERROR_INVALID, ".env line %d: expected NAME=value", number);
    }
    *end = '\0';
    const char *start = skip_blanks(equals + 1);
    bool quoted = *start == '\'' || *start == '"';
    cleanup_free char *value = quoted ? quoted_value(start + 1, *start) : plain_value(start);
    if (value == NULL) {
        return error_set(err, ERROR_INVALID, ".env line %d: the quotes of %s are not closed at the line's end", number,
                         name);
    }
    return each(argument, name, value, err);
}

bool dotenv_parse(const char *text,
                  bool (*each)(void *argument, const char *name, const char *value, struct error *err), void *argument,
                  struct error *err) {
    cleanup_free char *copy = strdup(text);
    if (copy == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    char *rest = copy;
    for (int number = 1; rest != NULL; number++) {
        char *line = strsep(&rest, "\n");
        if (!parse_line(line, number, each, argument, err)) {
            return false;
        }
    }
    return true;
}
