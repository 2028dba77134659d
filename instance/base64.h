/* base64.h - base64 with padding (RFC 4648 §4). Thread-safe. */
#ifndef TERMINALS_INSTANCE_BASE64_H
#define TERMINALS_INSTANCE_BASE64_H

#include <stddef.h>

extern const char base64_digits[65];

#define BASE64_LENGTH(bytes) (((bytes) + 2) / 3 * 4)

/* Writes BASE64_LENGTH(length) characters and a NUL. */
void base64_encode(const void *bytes, size_t length, char *out);

#endif
