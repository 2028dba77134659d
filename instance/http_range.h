/* http_range.h - the Range header of a request for a file (RFC 9110 §14.1.2, §14.2). Thread-safe. */
#ifndef TERMINALS_INSTANCE_HTTP_RANGE_H
#define TERMINALS_INSTANCE_HTTP_RANGE_H

#include <stdint.h>

enum http_range_kind {
    HTTP_RANGE_WHOLE,         /* no header, or one that is to be ignored: another unit, malformed, or several ranges */
    HTTP_RANGE_PART,          /* 206 */
    HTTP_RANGE_UNSATISFIABLE, /* 416 */
};

struct http_range {
    uint64_t first;
    uint64_t length; /* in bytes, 1 at least */
};

/* What the value of a Range header (NULL: there is none) asks of `size` bytes; `range` is set for HTTP_RANGE_PART.
 * Several ranges get the whole, which §14.2 allows and every client of several ranges has to expect. */
enum http_range_kind http_range_parse(const char *header, uint64_t size, struct http_range *range);

#endif
