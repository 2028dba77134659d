#include "provisioner/backends/docker_logs.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/buffer.h"
#include "common/text.h"

#define HEADER_BYTES 8

/* Type (stdin, stdout, stderr), three zeros, length in network order. */
static size_t frame_length(const char *header) {
    const unsigned char *bytes = (const unsigned char *)header;
    return (size_t)bytes[4] << 24 | (size_t)bytes[5] << 16 | (size_t)bytes[6] << 8 | bytes[7];
}

static int is_framed(const char *stream, size_t length) {
    return length >= HEADER_BYTES && stream[0] <= 2 && stream[0] >= 0 && stream[1] == 0 && stream[2] == 0 &&
           stream[3] == 0;
}

static void unframe(const char *stream, size_t length, struct buffer *text) {
    if (!is_framed(stream, length)) {
        buffer_append(text, stream, length);
        return;
    }
    while (is_framed(stream, length)) {
        size_t content = frame_length(stream);
        size_t there = length - HEADER_BYTES;
        content = content < there ? content : there;
        buffer_append(text, stream + HEADER_BYTES, content);
        stream += HEADER_BYTES + content;
        length -= HEADER_BYTES + content;
    }
}

/* One line of UTF-8 without control characters. */
static void flatten(const char *text, size_t length, struct buffer *flat) {
    bool line_ended = false;
    for (size_t i = 0; i < length;) {
        size_t character = text_utf8_character_length(text + i);
        if (text[i] == '\n') {
            line_ended = true;
        }
        if (character == 0 || (unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            i += 1;
            continue;
        }
        if (line_ended && flat->length > 0) {
            buffer_append_string(flat, " / ");
        }
        line_ended = false;
        buffer_append(flat, text + i, character);
        i += character;
    }
}

void docker_logs_join(const char *stream, size_t length, char *out, size_t size) {
    cleanup_buffer struct buffer text = {0};
    cleanup_buffer struct buffer flat = {0};
    unframe(stream, length, &text);
    if (text.data != NULL) {
        flatten(text.data, text.length, &flat);
    }
    const char *from = flat.data == NULL ? "" : flat.data;
    if (flat.length >= size) {
        from += flat.length - (size - 1);
        while ((*from & 0xc0) == 0x80) {
            from++; /* not in the middle of a character */
        }
    }
    snprintf(out, size, "%s", from);
}
