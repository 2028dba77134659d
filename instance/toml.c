#include "instance/toml.h"

#include <string.h>

#include "common/text.h"
#include "instance/toml_reader.h"

static bool is_bare(char c) {
    return toml_is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static void skip_blanks(struct toml_reader *reader) {
    reader->at += strspn(reader->at, " \t");
}

static bool skip_comment(struct toml_reader *reader) {
    if (*reader->at == '#') {
        while (*reader->at != '\0' && !toml_is_line_end(reader->at)) {
            if (toml_is_control(*reader->at++)) {
                return toml_bad(reader, "a control character in a comment");
            }
        }
    }
    return true;
}

bool toml_skip_lines(struct toml_reader *reader) {
    for (;;) {
        skip_blanks(reader);
        if (!skip_comment(reader)) {
            return false;
        }
        if (!toml_is_line_end(reader->at)) {
            return true;
        }
        toml_take_line_end(reader);
    }
}

/* ---- keys ---- */

static bool take_key(struct toml_reader *reader, struct buffer *out) {
    for (;;) {
        size_t before = out->length;
        skip_blanks(reader);
        bool is_quoted = *reader->at == '"' || *reader->at == '\'';
        if (is_quoted && !toml_take_string(reader, *reader->at, false, out)) {
            return false;
        }
        while (!is_quoted && is_bare(*reader->at)) {
            buffer_append(out, reader->at++, 1);
        }
        if (!is_quoted && out->length == before) {
            return toml_bad(reader, "expected the name of a setting");
        }
        skip_blanks(reader);
        if (*reader->at != '.') {
            return true;
        }
        buffer_append(out, reader->at++, 1);
    }
}

/* ---- lines ---- */

static bool take_table(struct toml_reader *reader, struct buffer *table) {
    reader->at++;
    if (*reader->at == '[') {
        return toml_bad(reader, "arrays of tables are no settings");
    }
    buffer_free(table);
    if (!take_key(reader, table)) {
        return false;
    }
    if (*reader->at != ']') {
        return toml_bad(reader, "expected ] after the name of a table");
    }
    reader->at++;
    return buffer_append(table, ".", 1);
}

static bool take_setting(struct toml_reader *reader, const struct buffer *table, toml_each each, void *state) {
    cleanup_buffer struct buffer key = {0};
    cleanup_buffer struct buffer value = {0};
    enum toml_kind kind;
    buffer_append(&key, table->data != NULL ? table->data : "", table->length);
    if (!take_key(reader, &key)) {
        return false;
    }
    if (*reader->at != '=') {
        return toml_bad(reader, "expected = after the name of a setting");
    }
    reader->at++;
    skip_blanks(reader);
    if (!toml_take_value(reader, 0, &kind, &value)) {
        return false;
    }
    if (!buffer_append(&key, "", 0) || !buffer_append(&value, "", 0) || key.failed || value.failed) {
        return error_set(reader->err, ERROR_INTERNAL, "out of memory");
    }
    return each(state, key.data, kind, value.data, reader->err);
}

static bool take_line(struct toml_reader *reader, struct buffer *table, toml_each each, void *state) {
    skip_blanks(reader);
    bool ok = true;
    if (*reader->at == '[') {
        ok = take_table(reader, table);
    } else if (*reader->at != '#' && *reader->at != '\0' && !toml_is_line_end(reader->at)) {
        ok = take_setting(reader, table, each, state);
    }
    if (!ok) {
        return false;
    }
    skip_blanks(reader);
    if (!skip_comment(reader)) {
        return false;
    }
    if (*reader->at != '\0' && !toml_is_line_end(reader->at)) {
        return toml_bad(reader, "something after the end of a setting");
    }
    return true;
}

bool toml_parse(const char *text, size_t length, toml_each each, void *state, struct error *err) {
    cleanup_buffer struct buffer copy = {0};
    cleanup_buffer struct buffer table = {0};
    if (!buffer_append(&copy, text, length)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (length > TOML_FILE_MAX_BYTES || strlen(copy.data) != length || !text_is_utf8(copy.data)) {
        return error_set(err, ERROR_INVALID, "expected at most %d bytes of UTF-8 text", TOML_FILE_MAX_BYTES);
    }
    struct toml_reader reader = {.at = copy.data, .line = 1, .err = err};
    for (;;) {
        if (!take_line(&reader, &table, each, state)) {
            return error_prefix(err, "line %u", reader.line);
        }
        if (*reader.at == '\0') {
            return true;
        }
        toml_take_line_end(&reader);
    }
}
