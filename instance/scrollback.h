/* scrollback.h - the last SCROLLBACK_MAX_BYTES of what a shell wrote. Grows to that as it is needed. Not thread-safe.
 */
#ifndef TERMINALS_INSTANCE_SCROLLBACK_H
#define TERMINALS_INSTANCE_SCROLLBACK_H

#include <stdbool.h>
#include <stddef.h>

#define SCROLLBACK_MAX_BYTES (256 * 1024)

/* `struct scrollback s = {0};` is a valid empty one. */
struct scrollback {
    char *bytes;
    size_t capacity;
    size_t length;
    size_t start; /* of the oldest byte; other than 0 only when it is full */
};

/* Adds bytes, and drops the oldest for which there is no more room. When memory runs out everything is dropped: what is
 * kept is always one unbroken stretch that ends with the newest byte, or nothing. */
void scrollback_append(struct scrollback *scrollback, const char *bytes, size_t length);

/* The content, oldest first, in two pieces, of which either may be empty. Borrowed until the next append. */
struct scrollback_piece {
    const char *bytes;
    size_t length;
};
void scrollback_read(const struct scrollback *scrollback, struct scrollback_piece pieces[2]);

/* Empties it and gives its memory back. */
void scrollback_free(struct scrollback *scrollback);

#endif
