#include "instance/http_range.h"

#include <ctype.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define UNIT "bytes="

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t");
}

/* Digits at *at; false: there are none. A number too large for 64 bits is as good as the largest. */
static bool read_number(const char **at, uint64_t *value) {
    const char *start = *at;
    *value = 0;
    for (; isdigit((unsigned char)**at); (*at)++) {
        uint64_t digit = (uint64_t)(**at - '0');
        *value = *value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *value * 10 + digit;
    }
    return *at > start;
}

/* "first-", "first-last" or "-suffix length", and nothing else. */
static enum http_range_kind parse_one(const char *at, uint64_t size, struct http_range *range) {
    uint64_t first;
    uint64_t last;
    bool has_first = read_number(&at, &first);
    if (*at++ != '-') {
        return HTTP_RANGE_WHOLE;
    }
    bool has_last = read_number(&at, &last);
    if (*skip_blanks(at) != '\0' || (!has_first && !has_last) || (has_first && has_last && last < first)) {
        return HTTP_RANGE_WHOLE;
    }
    if (has_first ? first >= size : last == 0 || size == 0) {
        return HTTP_RANGE_UNSATISFIABLE;
    }
    if (!has_first) {
        range->length = last < size ? last : size;
        range->first = size - range->length;
    } else {
        range->first = first;
        range->length = (has_last && last < size ? last + 1 : size) - first;
    }
    return HTTP_RANGE_PART;
}

enum http_range_kind http_range_parse(const char *header, uint64_t size, struct http_range *range) {
    if (header == NULL || strncasecmp(header, UNIT, strlen(UNIT)) != 0) {
        return HTTP_RANGE_WHOLE;
    }
    return parse_one(skip_blanks(header + strlen(UNIT)), size, range);
}
