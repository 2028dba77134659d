#include "instance/sha1.h"

#include <string.h>

#define BLOCK_SIZE 64

static uint32_t rotate_left(uint32_t value, unsigned bits) {
    return (value << bits) | (value >> (32 - bits));
}

/* RFC 3174 §5: the function and constant of round t. */
static uint32_t mix(unsigned t, uint32_t b, uint32_t c, uint32_t d) {
    if (t < 20) {
        return ((b & c) | (~b & d)) + 0x5a827999;
    }
    if (t < 40) {
        return (b ^ c ^ d) + 0x6ed9eba1;
    }
    if (t < 60) {
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    }
    return (b ^ c ^ d) + 0xca62c1d6;
}

/* RFC 3174 §6.1. */
static void add_block(uint32_t hash[5], const uint8_t *block) {
    uint32_t w[80];
    for (unsigned t = 0; t < 16; t++) {
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 | (uint32_t)block[4 * t + 2] << 8 |
               block[4 * t + 3];
    }
    for (unsigned t = 16; t < 80; t++) {
        w[t] = rotate_left(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    }
    uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3], e = hash[4];
    for (unsigned t = 0; t < 80; t++) {
        uint32_t next = rotate_left(a, 5) + mix(t, b, c, d) + e + w[t];
        e = d;
        d = c;
        c = rotate_left(b, 30);
        b = a;
        a = next;
    }
    hash[0] += a;
    hash[1] += b;
    hash[2] += c;
    hash[3] += d;
    hash[4] += e;
}

void sha1(const void *data, size_t length, uint8_t digest[SHA1_SIZE]) {
    uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[2 * BLOCK_SIZE] = {0};
    size_t padded_length = length + 9 > BLOCK_SIZE ? 2 * BLOCK_SIZE : BLOCK_SIZE;
    memcpy(padded, data, length);
    padded[length] = 0x80;
    padded[padded_length - 2] = (uint8_t)(length * 8 >> 8);
    padded[padded_length - 1] = (uint8_t)(length * 8);
    for (size_t i = 0; i < padded_length; i += BLOCK_SIZE) {
        add_block(hash, padded + i);
    }
    for (size_t i = 0; i < SHA1_SIZE; i++) {
        digest[i] = (uint8_t)(hash[i / 4] >> (24 - 8 * (i % 4)));
    }
}
