#include "instance/escapes.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static int simple_escape(char c) {
    static const char letters[] = "nrtabfv0\\'\"";
    static const char meanings[] = "\n\r\t\a\b\f\v\0\\'\"";
    const char *letter = c != '\0' ? strchr(letters, c) : NULL;
    return letter != NULL ? meanings[letter - letters] : -1;
}

/* `digits` hex digits; -1 if they are not all there. */
static int32_t hex_value(const char *text, size_t available, size_t digits) {
    int32_t value = 0;
    if (available < digits) {
        return -1;
    }
    for (size_t i = 0; i < digits; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static size_t write_utf8(int32_t code, char *out) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    out[0] = (char)(0xe0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 0x3f));
    out[2] = (char)(0x80 | (code & 0x3f));
    return 3;
}

/* Decodes the escape at `text`, which starts with a backslash. Returns how many bytes it has, 0 if it is none; what it
 * stands for is never longer than itself. */
static size_t decode_one(const char *text, size_t length, char *out, size_t *out_length) {
    if (length < 2) {
        return 0;
    }
    int simple = simple_escape(text[1]);
    if (simple >= 0) {
        *out = (char)simple;
        *out_length = 1;
        return 2;
    }
    size_t digits = text[1] == 'x' ? 2 : text[1] == 'u' ? 4 : 0;
    int32_t code = digits > 0 ? hex_value(text + 2, length - 2, digits) : -1;
    bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
    if (code < 0 || is_surrogate) {
        return 0;
    }
    *out_length = write_utf8(code, out);
    return 2 + digits;
}

size_t escapes_decode(char *text, size_t length) {
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        size_t out_length = 0;
        size_t escape_length = text[i] == '\\' ? decode_one(text + i, length - i, text + used, &out_length) : 0;
        if (escape_length > 0) {
            i += escape_length;
            used += out_length;
        } else {
            text[used++] = text[i++];
        }
    }
    return used;
}
