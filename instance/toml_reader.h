/* toml_reader.h - the inside of toml.c: where in the text it is, and strings and values, which have files of their own.
 */
#ifndef TERMINALS_INSTANCE_TOML_READER_H
#define TERMINALS_INSTANCE_TOML_READER_H

#include "common/buffer.h"
#include "instance/toml.h"

struct toml_reader {
    const char *at; /* the text ends with a NUL and holds no other */
    unsigned line;
    struct error *err;
};

#define toml_bad(reader, ...) error_set((reader)->err, ERROR_INVALID, __VA_ARGS__)

static inline bool toml_is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Control characters but the tab are allowed nowhere, DEL neither. */
static inline bool toml_is_control(char c) {
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

static inline bool toml_is_line_end(const char *at) {
    return *at == '\n' || (at[0] == '\r' && at[1] == '\n');
}

static inline void toml_take_line_end(struct toml_reader *reader) {
    reader->at += *reader->at == '\r' ? 2 : 1;
    reader->line++;
}

/* Blanks, comments and line ends, as between the elements of an array. */
bool toml_skip_lines(struct toml_reader *reader);

/* At the quotation marks; `quote` is '"' (with escapes) or '\'' (without). Appends the content. */
bool toml_take_string(struct toml_reader *reader, char quote, bool may_span_lines, struct buffer *out);

/* Any value; appends its text. */
bool toml_take_value(struct toml_reader *reader, int depth, enum toml_kind *kind, struct buffer *out);

#endif
