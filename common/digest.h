/* digest.h - SHA-256 and random bytes, from OpenSSL's libcrypto and the kernel. Thread-safe. */
#ifndef TERMINALS_COMMON_DIGEST_H
#define TERMINALS_COMMON_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#define DIGEST_HEX_LENGTH 64
#define DIGEST_HEX_SIZE   (DIGEST_HEX_LENGTH + 1)

/* SHA-256 in upper-case hex, as HAProxy's `sha2(256),hex` writes it; `out` gets 64 digits and a NUL. */
bool digest_sha256_hex(const void *data, size_t length, char out[DIGEST_HEX_SIZE]);

/* The same in lower case, as upstream's names and folders have it. */
bool digest_sha256_hex_lower(const void *data, size_t length, char out[DIGEST_HEX_SIZE]);

/* `length` bytes from getrandom(2) as 2*length lower-case hex digits and a NUL. */
bool digest_random_hex(size_t length, char *out);

/* A random UUID (RFC 9562 §5.4), 36 characters and a NUL. */
bool digest_uuid(char out[37]);

/* The same with the time in front (RFC 9562 §5.7): an index of such ids grows at its end, and shrinks at its start. */
bool digest_uuid_by_time(char out[37]);

#endif
