#include "common/digest.h"
#include "common/clock.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"

#define RANDOM_MAX_BYTES 256 /* what getrandom(2) gives in one piece, once it gives at all */

static void write_hex(const unsigned char *bytes, size_t length, const char digits[16], char *out) {
    for (size_t i = 0; i < length; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * length] = '\0';
}

static bool sha256_hex(const void *data, size_t length, const char digits[16], char out[DIGEST_HEX_SIZE]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_length = 0;
    out[0] = '\0';
    if (EVP_Digest(data, length, digest, &digest_length, EVP_sha256(), NULL) != 1 ||
        digest_length * 2 != DIGEST_HEX_LENGTH) {
        return false;
    }
    write_hex(digest, digest_length, digits, out);
    return true;
}

bool digest_sha256_hex(const void *data, size_t length, char out[DIGEST_HEX_SIZE]) {
    return sha256_hex(data, length, "0123456789ABCDEF", out);
}

bool digest_sha256_hex_lower(const void *data, size_t length, char out[DIGEST_HEX_SIZE]) {
    return sha256_hex(data, length, "0123456789abcdef", out);
}

static bool random_bytes(unsigned char *out, size_t length) {
    ssize_t got;
    do {
        got = getrandom(out, length, 0);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)length;
}

bool digest_random_hex(size_t length, char *out) {
    unsigned char bytes[RANDOM_MAX_BYTES];
    out[0] = '\0';
    if (length > sizeof bytes || !random_bytes(bytes, length)) {
        return false;
    }
    write_hex(bytes, length, "0123456789abcdef", out);
    explicit_bzero(bytes, sizeof bytes);
    return true;
}

/* Random bytes become a UUID as text. */
static void format_uuid(unsigned char b[16], int version, char out[37]) {
    b[6] = (unsigned char)((b[6] & 0x0f) | (version << 4));
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80); /* variant of RFC 9562 §4.1 */
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

bool digest_uuid(char out[37]) {
    unsigned char b[16];
    out[0] = '\0';
    if (!random_bytes(b, sizeof b)) {
        return false;
    }
    format_uuid(b, 4, out);
    return true;
}

bool digest_uuid_by_time(char out[37]) {
    unsigned char b[16];
    out[0] = '\0';
    if (!random_bytes(b, sizeof b)) {
        return false;
    }
    uint64_t now_ms = (uint64_t)clock_unix_ms();
    for (int i = 0; i < 6; i++) {
        b[i] = (unsigned char)(now_ms >> (40 - 8 * i));
    }
    format_uuid(b, 7, out);
    return true;
}
