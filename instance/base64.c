#include "instance/base64.h"

#include <stdint.h>

const char base64_digits[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const void *bytes, size_t length, char *out) {
    const unsigned char *in = bytes;
    for (size_t i = 0; i < length; i += 3) {
        size_t there = length - i < 3 ? length - i : 3;
        uint32_t group =
            (uint32_t)in[i] << 16 | (there > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (there > 2 ? in[i + 2] : 0);
        for (size_t digit = 0; digit < 4; digit++) {
            *out++ = '=';
            if (digit <= there) {
                out[-1] = base64_digits[group >> (18 - 6 * digit) & 0x3f];
            }
        }
    }
    *out = '\0';
}
