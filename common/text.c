#include "common/text.h"

static bool is_continuation(unsigned char byte) {
    return (byte & 0xc0) == 0x80;
}

size_t text_utf8_character_length(const char *text) {
    /* A NUL is no continuation byte, so the comparisons below never look past the end of the text. */
    const unsigned char *bytes = (const unsigned char *)text;
    if (bytes[0] < 0x80) {
        return bytes[0] == 0 ? 0 : 1;
    }
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || !is_continuation(bytes[1])) {
        return 0;
    }
    if (bytes[0] < 0xe0) {
        return 2;
    }
    bool overlong = (bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xf0 && bytes[1] < 0x90);
    bool surrogate = bytes[0] == 0xed && bytes[1] > 0x9f;
    bool too_large = bytes[0] == 0xf4 && bytes[1] > 0x8f;
    if (overlong || surrogate || too_large || !is_continuation(bytes[2])) {
        return 0;
    }
    if (bytes[0] < 0xf0) {
        return 3;
    }
    return is_continuation(bytes[3]) ? 4 : 0;
}

bool text_is_utf8(const char *text) {
    while (*text != '\0') {
        size_t length = text_utf8_character_length(text);
        if (length == 0) {
            return false;
        }
        text += length;
    }
    return true;
}

static void replace(char *text, bool are_controls_replaced) {
    while (*text != '\0') {
        size_t length = text_utf8_character_length(text);
        bool is_control = (unsigned char)*text < 0x20 || *text == 0x7f;
        if (length == 0 || (is_control && are_controls_replaced)) {
            *text = '?';
            length = 1;
        }
        text += length;
    }
}

void text_make_utf8(char *text) {
    replace(text, false);
}

void text_make_line(char *text) {
    replace(text, true);
}
