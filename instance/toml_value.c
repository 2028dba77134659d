/* toml_value.c - the values of TOML that a setting can have (see toml.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "instance/toml_reader.h"

#define ARRAY_MAX_DEPTH 4

static bool starts_with(const struct toml_reader *reader, const char *word) {
    return strncmp(reader->at, word, strlen(word)) == 0;
}

/* Copies digits and drops the underscores, each of which must stand between two digits. */
static bool take_digits(struct toml_reader *reader, const char *allowed, struct buffer *out) {
    size_t before = out->length;
    while (*reader->at != '\0' && (strchr(allowed, *reader->at) != NULL || *reader->at == '_')) {
        if (*reader->at == '_') {
            if (out->length == before || reader->at[1] == '\0' || strchr(allowed, reader->at[1]) == NULL) {
                return toml_bad(reader, "a number with an underscore that stands between no digits");
            }
            reader->at++;
        }
        buffer_append(out, reader->at++, 1);
    }
    return out->length > before || toml_bad(reader, "expected a value");
}

static bool take_based_integer(struct toml_reader *reader, struct buffer *out) {
    static const struct {
        char letter;
        int base;
        const char *digits;
    } bases[] = {{'x', 16, "0123456789abcdefABCDEF"}, {'o', 8, "01234567"}, {'b', 2, "01"}};
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        if (reader->at[1] == bases[i].letter) {
            reader->at += 2;
            struct buffer digits = {0};
            bool ok = take_digits(reader, bases[i].digits, &digits) && digits.data != NULL;
            errno = 0;
            long long number = ok ? strtoll(digits.data, NULL, bases[i].base) : 0;
            buffer_free(&digits);
            return ok &&
                   (errno == 0 ? buffer_append_format(out, "%lld", number) : toml_bad(reader, "a number too large"));
        }
    }
    return false;
}

static bool take_number(struct toml_reader *reader, enum toml_kind *kind, struct buffer *out) {
    static const char decimal[] = "0123456789";
    size_t before = out->length;
    *kind = TOML_INTEGER;
    if (*reader->at == '0' && reader->at[1] != '\0' && strchr("xob", reader->at[1]) != NULL) {
        return take_based_integer(reader, out);
    }
    if (*reader->at == '+' || *reader->at == '-') {
        if (*reader->at == '-') {
            buffer_append(out, "-", 1);
        }
        reader->at++;
        before = out->length;
    }
    if (starts_with(reader, "inf") || starts_with(reader, "nan")) {
        *kind = TOML_FLOAT;
        reader->at += 3;
        return buffer_append(out, reader->at - 3, 3);
    }
    if (!take_digits(reader, decimal, out)) {
        return false;
    }
    if (out->data[before] == '0' && out->length > before + 1) {
        return toml_bad(reader, "a number with a leading zero");
    }
    if (*reader->at == '.') {
        *kind = TOML_FLOAT;
        buffer_append(out, reader->at++, 1);
        if (!take_digits(reader, decimal, out)) {
            return false;
        }
    }
    if (*reader->at == 'e' || *reader->at == 'E') {
        *kind = TOML_FLOAT;
        buffer_append(out, reader->at++, 1);
        if (*reader->at == '+' || *reader->at == '-') {
            buffer_append(out, reader->at++, 1);
        }
        return take_digits(reader, decimal, out);
    }
    if (*reader->at == '-' || *reader->at == ':') {
        return toml_bad(reader, "dates and times are no settings");
    }
    return true;
}

static bool take_array(struct toml_reader *reader, int depth, struct buffer *out) {
    if (depth >= ARRAY_MAX_DEPTH) {
        return toml_bad(reader, "arrays nested too deeply");
    }
    reader->at++;
    for (bool is_first = true;; is_first = false) {
        if (!toml_skip_lines(reader)) {
            return false;
        }
        if (*reader->at == ']') {
            reader->at++;
            return true;
        }
        if (!is_first) {
            buffer_append(out, ",", 1);
        }
        enum toml_kind kind;
        if (!toml_take_value(reader, depth + 1, &kind, out) || !toml_skip_lines(reader)) {
            return false;
        }
        if (*reader->at == ',') {
            reader->at++;
        } else if (*reader->at != ']') {
            return toml_bad(reader, "expected a comma or ] in an array");
        }
    }
}

bool toml_take_value(struct toml_reader *reader, int depth, enum toml_kind *kind, struct buffer *out) {
    char c = *reader->at;
    if (c == '"' || c == '\'') {
        *kind = TOML_STRING;
        return toml_take_string(reader, c, true, out);
    }
    if (c == '[') {
        *kind = TOML_ARRAY;
        return take_array(reader, depth, out);
    }
    if (c == '{') {
        return toml_bad(reader, "inline tables are no settings");
    }
    if (starts_with(reader, "true") || starts_with(reader, "false")) {
        *kind = TOML_BOOLEAN;
        size_t length = c == 't' ? 4 : 5;
        reader->at += length;
        return buffer_append(out, reader->at - length, length);
    }
    return take_number(reader, kind, out);
}
