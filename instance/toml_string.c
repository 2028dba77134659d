/* toml_string.c - the four kinds of strings in TOML (see toml.h). */
#include <string.h>

#include "instance/toml_reader.h"

static bool append_character(struct buffer *out, unsigned long code) {
    char bytes[4];
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0x00, 0xc0, 0xe0, 0xf0};
    for (size_t i = length; i-- > 1; code >>= 6) {
        bytes[i] = (char)(0x80 | (code & 0x3f));
    }
    bytes[0] = (char)(first[length] | code);
    return buffer_append(out, bytes, length);
}

static bool take_unicode(struct toml_reader *reader, int digits, struct buffer *out) {
    unsigned long code = 0;
    for (int i = 0; i < digits; i++, reader->at++) {
        char c = *reader->at;
        int lower = c | 0x20;
        if (!toml_is_digit(c) && (lower < 'a' || lower > 'f')) {
            return toml_bad(reader, "\\u needs %d hexadecimal digits", digits);
        }
        code = code << 4 | (unsigned long)(toml_is_digit(c) ? c - '0' : lower - 'a' + 10);
    }
    if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return toml_bad(reader, "\\u names no character that a setting may hold");
    }
    return append_character(out, code);
}

/* After the backslash. */
static bool take_escape(struct toml_reader *reader, bool is_multi_line, struct buffer *out) {
    static const char letters[] = "btnfr\"\\";
    static const char meanings[] = "\b\t\n\f\r\"\\";
    char c = *reader->at;
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    if (letter != NULL) {
        reader->at++;
        return buffer_append(out, &meanings[letter - letters], 1);
    }
    if (c == 'u' || c == 'U') {
        reader->at++;
        return take_unicode(reader, c == 'u' ? 4 : 8, out);
    }
    const char *after_blanks = reader->at + strspn(reader->at, " \t");
    if (is_multi_line && toml_is_line_end(after_blanks)) {
        reader->at = after_blanks;
        while (toml_is_line_end(reader->at)) {
            toml_take_line_end(reader);
            reader->at += strspn(reader->at, " \t");
        }
        return true;
    }
    return toml_bad(reader, "an unknown escape in a string");
}

bool toml_take_string(struct toml_reader *reader, char quote, bool may_span_lines, struct buffer *out) {
    bool is_multi_line = reader->at[1] == quote && reader->at[2] == quote;
    if (is_multi_line && !may_span_lines) {
        return toml_bad(reader, "a key cannot span lines");
    }
    reader->at += is_multi_line ? 3 : 1;
    if (is_multi_line && toml_is_line_end(reader->at)) {
        toml_take_line_end(reader);
    }
    for (;;) {
        char c = *reader->at;
        if (c == quote && (!is_multi_line || (reader->at[1] == quote && reader->at[2] == quote))) {
            /* """""  is two quotation marks and the end. */
            for (int extra = 0; is_multi_line && extra < 2 && reader->at[3] == quote; extra++, reader->at++) {
                buffer_append(out, &quote, 1);
            }
            reader->at += is_multi_line ? 3 : 1;
            return true;
        }
        if (is_multi_line && toml_is_line_end(reader->at)) {
            toml_take_line_end(reader);
            buffer_append(out, "\n", 1);
        } else if (c == '\0' || toml_is_control(c)) {
            return toml_bad(reader, "a string does not end");
        } else {
            reader->at++;
            if (c != '\\' || quote != '"') {
                buffer_append(out, &c, 1);
            } else if (!take_escape(reader, is_multi_line, out)) {
                return false;
            }
        }
    }
}
