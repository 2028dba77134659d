/* span.h - a run of bytes inside somebody else's memory: what a parser hands out instead of copies. Not
 * NUL-terminated. */
#ifndef TERMINALS_GATE_SPAN_H
#define TERMINALS_GATE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct span {
    const char *bytes;
    size_t length;
};

static inline bool span_equals(struct span span, const char *text) {
    return span.length == strlen(text) && memcmp(span.bytes, text, span.length) == 0;
}

/* ASCII case is ignored, as header names and tokens want it (RFC 9110 §5.1). */
static inline bool span_equals_ignoring_case(struct span span, const char *text) {
    return span.length == strlen(text) && strncasecmp(span.bytes, text, span.length) == 0;
}

static inline bool span_starts_with_ignoring_case(struct span span, const char *text) {
    size_t length = strlen(text);
    return span.length >= length && strncasecmp(span.bytes, text, length) == 0;
}

/* Without spaces and tabs at both ends (RFC 9110 §5.6.3, OWS). */
static inline struct span span_trim(struct span span) {
    while (span.length > 0 && (span.bytes[0] == ' ' || span.bytes[0] == '\t')) {
        span.bytes++;
        span.length--;
    }
    while (span.length > 0 && (span.bytes[span.length - 1] == ' ' || span.bytes[span.length - 1] == '\t')) {
        span.length--;
    }
    return span;
}

/* Takes the part before the first `separator` off *rest (all of it if there is none). False when *rest was used up,
 * which its NULL `bytes` then says. */
static inline bool span_take(struct span *rest, char separator, struct span *part) {
    if (rest->bytes == NULL) {
        return false;
    }
    const char *end = rest->length == 0 ? NULL : memchr(rest->bytes, separator, rest->length);
    *part = *rest;
    if (end == NULL) {
        *rest = (struct span){0};
    } else {
        part->length = (size_t)(end - rest->bytes);
        rest->bytes = end + 1;
        rest->length -= part->length + 1;
    }
    return true;
}

#endif
