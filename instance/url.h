/* url.h - percent-encoding and query strings, as the instance's clients write them. Thread-safe. */
#ifndef TERMINALS_INSTANCE_URL_H
#define TERMINALS_INSTANCE_URL_H

#include <stdbool.h>
#include <stddef.h>

struct url_parameter {
    char *name;
    char *value;
    size_t value_length; /* the value may hold NUL bytes, from %00 */
};

struct url_query {
    struct url_parameter *parameters;
    size_t count;
    char *storage;
};

/* Decodes %XX (and, for a query, + as a space) from `text` into `out`, which has room for length + 1 bytes and may be
 * `text` itself; a % that no two hex digits follow stays as it is (WHATWG URL, percent-decode). Returns the length;
 * out ends with a NUL that is not counted. */
size_t url_decode(const char *text, size_t length, bool plus_is_space, char *out);

/* Splits "a=1&b=%20" (application/x-www-form-urlencoded). A name without "=" has the value "". False: no memory. */
bool url_query_parse(const char *text, struct url_query *query);
void url_query_free(struct url_query *query);

#endif
