#include "instance/files_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/utf8.h"

#define PATH_SHOWN_MAX_BYTES 300 /* of a path in an error, which has room for 511 bytes */

/* The length of the line ending at the start of `text`, 0 if there is none. */
static size_t line_ending_length(const char *text, size_t length) {
    switch ((unsigned char)text[0]) {
    case '\r':
        return length > 1 && text[1] == '\n' ? 2 : 1;
    case '\n':
    case '\v':
    case '\f':
    case 0x1C:
    case 0x1D:
    case 0x1E:
        return 1;
    case 0xC2: /* U+0085 */
        return length > 1 && (unsigned char)text[1] == 0x85 ? 2 : 0;
    case 0xE2: /* U+2028, U+2029 */
        return length > 2 && (unsigned char)text[1] == 0x80 && ((unsigned char)text[2] & 0xFE) == 0xA8 ? 3 : 0;
    default:
        return 0;
    }
}

size_t line_length(const char *text, size_t length) {
    for (size_t at = 0; at < length; at++) {
        size_t ending = line_ending_length(text + at, length - at);
        if (ending > 0) {
            return at + ending;
        }
    }
    return length;
}

bool line_is_ended(const char *text, size_t length) {
    for (size_t size = 1; size <= 3 && size <= length; size++) {
        if (line_ending_length(text + length - size, size) == size) {
            return true;
        }
    }
    return false;
}

size_t line_range_find(const char *text, size_t length, struct line_range range, size_t *start) {
    size_t at = 0;
    *start = length;
    for (int64_t line = 1; at < length && line <= range.last; line++) {
        if (line == range.first) {
            *start = at;
        }
        at += line_length(text + at, length - at);
    }
    return at > *start ? at - *start : 0;
}

size_t newlines_normalize(char *text, size_t length) {
    size_t out = 0;
    for (size_t at = 0; at < length; at++) {
        if (text[at] != '\r') {
            text[out++] = text[at];
        } else if (at + 1 == length || text[at + 1] != '\n') {
            text[out++] = '\n';
        }
    }
    return out;
}

bool newlines_are_crlf(const char *text, size_t length) {
    bool has_any = false;
    for (size_t at = 0; at < length; at++) {
        if (text[at] == '\n') {
            return false;
        }
        if (text[at] == '\r') {
            if (at + 1 == length || text[++at] != '\n') {
                return false;
            }
            has_any = true;
        }
    }
    return has_any;
}

bool append_integer(struct buffer *out, int64_t number) {
    char digits[24];
    char *end = digits + sizeof(digits);
    char *at = end;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0) {
        *--at = '-';
    }
    return buffer_append(out, at, (size_t)(end - at));
}

/* A fraction of `digits` decimals, without the zeros at its end but one. */
static void append_fraction(struct buffer *out, int64_t fraction, int digits) {
    char text[16] = ".";
    int length = 1 + digits;
    for (int i = digits; i > 0; i--) {
        text[i] = (char)('0' + fraction % 10);
        fraction /= 10;
    }
    while (length > 2 && text[length - 1] == '0') {
        length--;
    }
    buffer_append(out, text, (size_t)length);
}

/* number / 2^bits, rounded to the nearest, a tie to the even one (as IEEE 754 and printf() do). */
static int64_t divide_to_even(int64_t number, int bits) {
    int64_t half = (int64_t)1 << (bits - 1);
    int64_t quotient = number >> bits;
    int64_t rest = number - (quotient << bits);
    return quotient + (rest > half || (rest == half && quotient % 2 == 1));
}

/* The quick way for the years 2001 to 2255, without the C library's exact but slow printing: a double of this size has
 * ten digits before the point and 15 to 17 significant ones, so it takes microseconds, or one digit more. Its fraction
 * is a multiple of 2^-23. False: another time. */
static bool append_recent(struct buffer *out, double seconds) {
    if (seconds < 1e9 || seconds >= 9e9) {
        return false;
    }
    int64_t whole = (int64_t)seconds;
    double fraction = seconds - (double)whole;
    int64_t micros = whole * 1000000 + (int64_t)(fraction * 1e6 + 0.5);
    if ((double)micros / 1e6 == seconds) { /* both are below 2^53, so the quotient is the nearest double */
        append_integer(out, micros / 1000000);
        append_fraction(out, micros % 1000000, 6);
        return true;
    }
    int64_t scaled = (int64_t)(fraction * (1 << 23)); /* exact */
    append_integer(out, whole);
    append_fraction(out, divide_to_even(scaled * 10000000, 23), 7);
    return true;
}

bool append_timestamp(struct buffer *out, struct timespec time) {
    if (time.tv_nsec == 0) {
        append_integer(out, time.tv_sec);
        return buffer_append(out, ".0", 2);
    }
    double seconds = (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
    if (append_recent(out, seconds)) {
        return !out->failed;
    }
    for (int precision = 1; precision <= 17; precision++) {
        char text[64];
        int length = snprintf(text, sizeof(text), "%.*g", precision, seconds);
        if (precision < 17 && strtod(text, NULL) != seconds) {
            continue;
        }
        buffer_append(out, text, (size_t)length);
        return strpbrk(text, ".e") != NULL ? !out->failed : buffer_append_string(out, ".0");
    }
    return false;
}

/* What Python's str.isprintable() denies among the characters that a file name is likely to hold: controls, separators,
 * the soft hyphen, and the invisible marks. */
static bool is_printable(uint32_t code_point) {
    static const struct {
        uint32_t first, last;
    } hidden[] = {
        {0x00, 0x1F},     {0x7F, 0xA0},     {0xAD, 0xAD},     {0x1680, 0x1680},   {0x180E, 0x180E},
        {0x2000, 0x200F}, {0x2028, 0x202F}, {0x205F, 0x206F}, {0x3000, 0x3000},   {0xE000, 0xF8FF},
        {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF}, {0xE0000, 0xE0FFF}, {0xF0000, 0x10FFFF},
    };
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        if (code_point >= hidden[i].first && code_point <= hidden[i].last) {
            return false;
        }
    }
    return true;
}

static void append_repr_character(struct buffer *out, uint32_t code_point, const char *bytes, size_t size, char quote) {
    static const char names[] = "\nn\rr\tt\\\\";
    for (const char *name = names; *name != '\0'; name += 2) {
        if ((unsigned char)name[0] == code_point) {
            buffer_append(out, (char[]){'\\', name[1]}, 2);
            return;
        }
    }
    if (code_point == (unsigned char)quote) {
        buffer_append(out, (char[]){'\\', quote}, 2);
    } else if (is_printable(code_point)) {
        buffer_append(out, bytes, size);
    } else if (code_point < 0x100) {
        buffer_append_format(out, "\\x%02x", code_point);
    } else if (code_point < 0x10000) {
        buffer_append_format(out, "\\u%04x", code_point);
    } else {
        buffer_append_format(out, "\\U%08x", code_point);
    }
}

bool append_repr(struct buffer *out, const char *text, size_t length) {
    bool has_single = memchr(text, '\'', length) != NULL;
    char quote = has_single && memchr(text, '"', length) == NULL ? '"' : '\'';
    buffer_append(out, &quote, 1);
    for (size_t at = 0; at < length;) {
        uint32_t code_point;
        size_t size = utf8_decode(text + at, length - at, &code_point);
        if (size == 0) {
            buffer_append_format(out, "\\udc%02x", (unsigned char)text[at]);
            size = 1;
        } else {
            append_repr_character(out, code_point, text + at, size, quote);
        }
        at += size;
    }
    return buffer_append(out, &quote, 1);
}

static enum error_code code_of_errno(int number) {
    switch (number) {
    case EACCES:
    case EPERM:
    case EROFS:
        return ERROR_FORBIDDEN;
    case ENOENT:
        return ERROR_NOT_FOUND;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return ERROR_INTERNAL;
    default:
        return ERROR_INVALID;
    }
}

bool error_set_path(struct error *err, int number, const char *path) {
    cleanup_buffer struct buffer shown = {0};
    size_t length = strlen(path);
    bool is_cut = length > PATH_SHOWN_MAX_BYTES;
    if (is_cut) {
        bool ignored;
        length = utf8_valid_prefix(path, PATH_SHOWN_MAX_BYTES / 4, &ignored); /* repr makes up to six bytes of one */
    }
    append_repr(&shown, path, length);
    return error_set(err, code_of_errno(number), "[Errno %d] %s: %s%s", number, strerror(number),
                     shown.failed ? "?" : shown.data, is_cut ? "…" : "");
}
