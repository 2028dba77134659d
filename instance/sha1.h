/* sha1.h - SHA-1 (RFC 3174), which a WebSocket handshake needs and nothing else should. Thread-safe. */
#ifndef TERMINALS_INSTANCE_SHA1_H
#define TERMINALS_INSTANCE_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_SIZE             20
#define SHA1_INPUT_MAX_LENGTH 119 /* two blocks with the padding: all that a handshake needs */

/* The digest of at most SHA1_INPUT_MAX_LENGTH bytes. */
void sha1(const void *data, size_t length, uint8_t digest[SHA1_SIZE]);

#endif
