#include "gate/utf8.h"

#include <stdint.h>

/* The length of the valid sequence that starts here, 0 if none does (RFC 3629 §4: no overlong forms, no surrogates). */
static size_t sequence_length(const unsigned char *bytes, size_t length) {
    static const struct {
        unsigned char lead_mask, lead;
        size_t length;
        uint32_t smallest;
    } forms[] = {{0x80, 0x00, 1, 0}, {0xe0, 0xc0, 2, 0x80}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};

    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if ((bytes[0] & forms[i].lead_mask) != forms[i].lead) {
            continue;
        }
        if (forms[i].length > length) {
            return 0;
        }
        uint32_t code = bytes[0] & (unsigned char)~forms[i].lead_mask;
        for (size_t k = 1; k < forms[i].length; k++) {
            if ((bytes[k] & 0xc0) != 0x80) {
                return 0;
            }
            code = code << 6 | (bytes[k] & 0x3f);
        }
        bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
        return code < forms[i].smallest || code > 0x10ffff || is_surrogate ? 0 : forms[i].length;
    }
    return 0;
}

bool utf8_is_valid(const char *text, size_t length) {
    for (size_t i = 0; i < length;) {
        size_t step = sequence_length((const unsigned char *)text + i, length - i);
        if (step == 0) {
            return false;
        }
        i += step;
    }
    return true;
}

void utf8_make_valid(char *text, size_t length) {
    for (size_t i = 0; i < length;) {
        size_t step = sequence_length((const unsigned char *)text + i, length - i);
        if (step == 0) {
            text[i] = '?';
            step = 1;
        }
        i += step;
    }
}
