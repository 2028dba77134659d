/* files_text.h - text as the file endpoints understand it: lines, numbers and error sentences in the forms that clients
 * of the original (a Python program) know. Thread-safe. */
#ifndef TERMINALS_INSTANCE_FILES_TEXT_H
#define TERMINALS_INSTANCE_FILES_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "common/buffer.h"
#include "common/error.h"

/* A stretch of text counted in lines, from 1, both ends included. */
struct line_range {
    int64_t first; /* 1: the first */
    int64_t last;  /* INT64_MAX: to the end */
};

#define LINE_RANGE_ALL ((struct line_range){.first = 1, .last = INT64_MAX})

/* How much of `text` is its first line, line ending included. Lines end where Python's str.splitlines() ends them: LF,
 * CR, CR LF, VT, FF, FS, GS, RS, NEL, U+2028, U+2029. 0 only for an empty text. */
size_t line_length(const char *text, size_t length);

/* True if the text ends with such a line ending. */
bool line_is_ended(const char *text, size_t length);

/* Where the lines of the range are: from *start, of the returned length. */
size_t line_range_find(const char *text, size_t length, struct line_range range, size_t *start);

/* CR LF and lone CR become LF, in place; returns the new length. */
size_t newlines_normalize(char *text, size_t length);

/* True if there are line feeds and each follows a CR, and there is no lone CR. */
bool newlines_are_crlf(const char *text, size_t length);

/* Appends a number in decimal. */
bool append_integer(struct buffer *out, int64_t number);

/* Appends a time as Python prints st_mtime: seconds, the shortest decimals that give the same double, ".0" if none. */
bool append_timestamp(struct buffer *out, struct timespec time);

/* Appends text in quotes as Python's repr() does. What is not UTF-8 is written as a lone surrogate's escape. */
bool append_repr(struct buffer *out, const char *text, size_t length);

/* "[Errno 13] Permission denied: '/root/x'", with a code: ERROR_FORBIDDEN for what is not permitted, ERROR_NOT_FOUND
 * for what is not there, ERROR_INTERNAL for lack of memory or descriptors, ERROR_INVALID for the rest. A very long path
 * is cut. Returns false. */
bool error_set_path(struct error *err, int number, const char *path);

#endif
