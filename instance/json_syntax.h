/* json_syntax.h - is a text JSON (RFC 8259), and if not, what would Python's json module say, and where?
 *
 * json-c is more lenient than clients of the original are used to ("1.", strings in single quotes), and its words are
 * others. So a body is checked first and then parsed. Thread-safe. */
#ifndef TERMINALS_INSTANCE_JSON_SYNTAX_H
#define TERMINALS_INSTANCE_JSON_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>

struct json_syntax_problem {
    size_t position; /* in bytes */
    const char *message;
};

/* `text` is UTF-8. False: *problem is what Python 3.13 raises; except that NaN and Infinity are no JSON here, half of a
 * surrogate pair is none either, and arrays and objects are nested `depth_max` deep at most. */
bool json_syntax_check(const char *text, size_t length, unsigned depth_max, struct json_syntax_problem *problem);

#endif
