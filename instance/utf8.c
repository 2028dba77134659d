#include "instance/utf8.h"

#include <string.h>

#define ESCAPE_FIRST 0xEF80 /* a byte b >= 0x80 that is no UTF-8 is told as U+EF00 + b */
#define ESCAPE_LAST  0xEFFF
#define ESCAPE_BYTES 3 /* the length of such a character in UTF-8 */

/* What is known from the first byte of a sequence: its length and the bounds of its second byte, which rule out
 * overlong forms, surrogates and what lies past U+10FFFF (RFC 3629 §4). */
struct lead {
    unsigned char first, last;
    unsigned char length;
    unsigned char second_min, second_max;
};

static const struct lead leads[] = {
    {0xC2, 0xDF, 2, 0x80, 0xBF}, {0xE0, 0xE0, 3, 0xA0, 0xBF}, {0xE1, 0xEC, 3, 0x80, 0xBF}, {0xED, 0xED, 3, 0x80, 0x9F},
    {0xEE, 0xEF, 3, 0x80, 0xBF}, {0xF0, 0xF0, 4, 0x90, 0xBF}, {0xF1, 0xF3, 4, 0x80, 0xBF}, {0xF4, 0xF4, 4, 0x80, 0x8F},
};

/* The length of the sequence at `bytes`; 0: malformed; -1: good so far but longer than what is there. */
static int sequence_length(const unsigned char *bytes, size_t length) {
    if (bytes[0] < 0x80) {
        return 1;
    }
    for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++) {
        const struct lead *lead = &leads[i];
        if (bytes[0] < lead->first || bytes[0] > lead->last) {
            continue;
        }
        for (size_t at = 1; at < lead->length; at++) {
            if (at == length) {
                return -1;
            }
            unsigned char minimum = at == 1 ? lead->second_min : 0x80;
            unsigned char maximum = at == 1 ? lead->second_max : 0xBF;
            if (bytes[at] < minimum || bytes[at] > maximum) {
                return 0;
            }
        }
        return lead->length;
    }
    return 0;
}

size_t utf8_decode(const char *text, size_t length, uint32_t *code_point) {
    const unsigned char *bytes = (const unsigned char *)text;
    int size = length == 0 ? 0 : sequence_length(bytes, length);
    if (size <= 0) {
        return 0;
    }
    if (code_point != NULL) {
        static const unsigned char lead_masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
        *code_point = bytes[0] & lead_masks[size];
        for (int i = 1; i < size; i++) {
            *code_point = *code_point << 6 | (bytes[i] & 0x3F);
        }
    }
    return (size_t)size;
}

size_t utf8_valid_prefix(const char *text, size_t length, bool *is_cut) {
    const unsigned char *bytes = (const unsigned char *)text;
    size_t at = 0;
    *is_cut = false;
    while (at < length) {
        uint64_t eight; /* ASCII is most of most texts */
        while (length - at >= sizeof(eight) &&
               (memcpy(&eight, bytes + at, sizeof(eight)), eight & 0x8080808080808080U) == 0) {
            at += sizeof(eight);
        }
        if (at == length) {
            break;
        }
        int size = sequence_length(bytes + at, length - at);
        if (size <= 0) {
            *is_cut = size < 0;
            return at;
        }
        at += (size_t)size;
    }
    return at;
}

bool utf8_is_valid(const char *text, size_t length) {
    bool is_cut;
    return utf8_valid_prefix(text, length, &is_cut) == length;
}

static void append_escaped_byte(struct buffer *out, unsigned char byte) {
    unsigned code_point = 0xEF00U + byte;
    char text[ESCAPE_BYTES] = {(char)(0xE0 | code_point >> 12), (char)(0x80 | (code_point >> 6 & 0x3F)),
                               (char)(0x80 | (code_point & 0x3F))};
    buffer_append(out, text, sizeof(text));
}

/* Copies the longest start of `text` that needs nothing done, or deals with the one sequence or byte that does. Returns
 * how much was consumed. */
static size_t append_name_piece(struct buffer *out, const char *text, size_t length) {
    uint32_t code_point;
    size_t plain = 0;
    size_t size;
    while (plain < length && (size = utf8_decode(text + plain, length - plain, &code_point)) > 0 &&
           (code_point < ESCAPE_FIRST || code_point > ESCAPE_LAST)) {
        plain += size;
    }
    if (plain > 0) {
        buffer_append(out, text, plain);
        return plain;
    }
    append_escaped_byte(out, (unsigned char)text[0]);
    return 1;
}

static void append_name(struct buffer *out, const char *name, size_t length) {
    /* The bytes after the first of a real U+EF80…U+EFFF are continuation bytes: each is malformed on its own, so each
     * is escaped in turn. */
    for (size_t at = 0; at < length;) {
        at += append_name_piece(out, name + at, length - at);
    }
    buffer_append(out, "", 0);
}

char *utf8_name_to_text(const char *name) {
    struct buffer text = {0};
    append_name(&text, name, strlen(name));
    char *result = buffer_take(&text);
    buffer_free(&text);
    return result;
}

size_t utf8_text_to_name(char *text, size_t length) {
    size_t out = 0;
    for (size_t at = 0; at < length;) {
        uint32_t code_point = 0;
        size_t size = utf8_decode(text + at, length - at, &code_point);
        if (code_point >= ESCAPE_FIRST && code_point <= ESCAPE_LAST) {
            text[out++] = (char)(code_point & 0xFF);
            at += size;
        } else {
            text[out++] = text[at++];
        }
    }
    text[out] = '\0';
    return out;
}

static void append_json_escape(struct buffer *out, unsigned char byte) {
    static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *name = names; *name != '\0'; name += 2) {
        if ((unsigned char)name[0] == byte) {
            buffer_append(out, (char[]){'\\', name[1]}, 2);
            return;
        }
    }
    buffer_append_format(out, "\\u%04x", byte);
}

bool utf8_append_json(struct buffer *out, const char *text, size_t length) {
    buffer_append(out, "\"", 1);
    size_t at = 0;
    while (at < length) {
        size_t plain = at; /* ASCII that needs no escape, the common case */
        while (plain < length && (unsigned char)text[plain] >= 0x20 && (unsigned char)text[plain] < 0x80 &&
               text[plain] != '"' && text[plain] != '\\') {
            plain++;
        }
        buffer_append(out, text + at, plain - at);
        at = plain;
        if (at < length && (unsigned char)text[at] < 0x80) {
            append_json_escape(out, (unsigned char)text[at++]);
            continue;
        }
        size_t run = at;
        while (run < length && (unsigned char)text[run] >= 0x80) {
            run++;
        }
        append_name(out, text + at, run - at);
        at = run;
    }
    return buffer_append(out, "\"", 1);
}
