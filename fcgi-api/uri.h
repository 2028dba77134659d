/* uri.h - request targets (RFC 3986): taking them apart, undoing percent-encoding, and keeping them in their place.
 * Thread-safe. */
#ifndef TERMINALS_FCGI_API_URI_H
#define TERMINALS_FCGI_API_URI_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/* The length of the path of a request target: all before the first `?`. */
size_t uri_path_length(const char *target);

/* The query after the first `?`, or "". */
const char *uri_query(const char *target);

/* Decodes `length` bytes; a `%` that two hex digits do not follow stands for itself, and so does `+` unless
 * `plus_is_space` (HTML forms). Returns a new string, which the caller frees; NULL with ERROR_INVALID if it would hold
 * a NUL or is no UTF-8, ERROR_INTERNAL without memory. */
char *uri_decode(const char *text, size_t length, bool plus_is_space, struct error *err);

/* May this target be asked of an instance? Its path begins with `/`, holds no control character, does not climb out of
 * the instance's root by `..` segments, and does not come to lie under /api/v1 there, which is ours: all of it looked
 * at as the instance would after decoding. ERROR_INVALID, or ERROR_NOT_FOUND for /api/v1. What is good passes
 * unchanged. */
bool uri_check_instance_target(const char *target, struct error *err);

#endif
