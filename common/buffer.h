/* buffer.h - a growable run of bytes, always followed by a NUL that is not counted.
 *
 * `struct buffer b = {0};` is a valid empty buffer. A failed allocation leaves the content as it was and sets
 * `failed`, which stays set: append as often as you like and check once. Not thread-safe. */
#ifndef TERMINALS_COMMON_BUFFER_H
#define TERMINALS_COMMON_BUFFER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data; /* NULL while nothing was ever appended */
    size_t length;
    size_t capacity;
    bool failed;
};

/* Each appends and returns whether there was memory for it. */
bool buffer_append(struct buffer *buffer, const void *bytes, size_t length);
bool buffer_append_string(struct buffer *buffer, const char *text);
bool buffer_append_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Makes room for `length` more bytes and returns where they go; the caller adds to `length` what it wrote. NULL: no
 * memory. */
char *buffer_reserve(struct buffer *buffer, size_t length);

/* Drops the first `length` bytes (at most what there is). */
void buffer_consume(struct buffer *buffer, size_t length);

/* The content as a string the caller frees, the buffer empty again; NULL if an append failed. */
char *buffer_take(struct buffer *buffer);

/* Frees the memory; the buffer may be used again. */
void buffer_free(struct buffer *buffer);

#define cleanup_buffer __attribute__((cleanup(buffer_free)))

#endif
