#include "instance/text_sink.h"

#include <string.h>

#define REPLACEMENT_CHARACTER 0xFFFD

void text_sink_line(struct text_sink *sink) {
    if (sink->has_line) {
        fputc('\n', sink->file);
    }
    sink->has_line = true;
}

void text_sink_add(struct text_sink *sink, const char *text, size_t length) {
    sink->has_line = sink->has_line || length > 0;
    fwrite(text, 1, length, sink->file);
}

void text_sink_add_string(struct text_sink *sink, const char *text) {
    text_sink_add(sink, text, strlen(text));
}

void text_sink_add_character(struct text_sink *sink, uint32_t c) {
    char bytes[4];
    size_t length = 0;
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) {
        c = REPLACEMENT_CHARACTER;
    }
    if (c < 0x80) {
        bytes[length++] = (char)c;
    } else {
        static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
        int size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        bytes[length++] = (char)(leads[size] | c >> 6 * (size - 1));
        while (--size > 0) {
            bytes[length++] = (char)(0x80 | (c >> 6 * (size - 1) & 0x3F));
        }
    }
    text_sink_add(sink, bytes, length);
}
