#include "instance/scrollback.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY_BYTES 4096

/* Only while nothing was dropped yet, so that the content starts at 0. */
static bool grow(struct scrollback *scrollback, size_t needed) {
    size_t capacity = scrollback->capacity != 0 ? scrollback->capacity : FIRST_CAPACITY_BYTES;
    while (capacity < needed && capacity < SCROLLBACK_MAX_BYTES) {
        capacity *= 2;
    }
    char *bytes = capacity > scrollback->capacity ? realloc(scrollback->bytes, capacity) : scrollback->bytes;
    if (bytes == NULL) {
        return false;
    }
    scrollback->bytes = bytes;
    scrollback->capacity = capacity;
    return true;
}

void scrollback_append(struct scrollback *scrollback, const char *bytes, size_t length) {
    if (length > SCROLLBACK_MAX_BYTES) {
        bytes += length - SCROLLBACK_MAX_BYTES;
        length = SCROLLBACK_MAX_BYTES;
    }
    if (!grow(scrollback, scrollback->length + length)) {
        scrollback_free(scrollback);
        return;
    }
    size_t at = (scrollback->start + scrollback->length) % scrollback->capacity;
    size_t until_end = scrollback->capacity - at < length ? scrollback->capacity - at : length;
    memcpy(scrollback->bytes + at, bytes, until_end);
    memcpy(scrollback->bytes, bytes + until_end, length - until_end);
    scrollback->length += length;
    if (scrollback->length > scrollback->capacity) {
        scrollback->start = (scrollback->start + scrollback->length - scrollback->capacity) % scrollback->capacity;
        scrollback->length = scrollback->capacity;
    }
}

void scrollback_read(const struct scrollback *scrollback, struct scrollback_piece pieces[2]) {
    size_t until_end = scrollback->capacity - scrollback->start;
    size_t first = scrollback->length < until_end ? scrollback->length : until_end;
    pieces[0] = (struct scrollback_piece){scrollback->bytes + scrollback->start, first};
    pieces[1] = (struct scrollback_piece){scrollback->bytes, scrollback->length - first};
}

void scrollback_free(struct scrollback *scrollback) {
    free(scrollback->bytes);
    *scrollback = (struct scrollback){0};
}
