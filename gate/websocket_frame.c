#include "gate/websocket_frame.h"

#include <string.h>

static bool is_known_opcode(unsigned opcode) {
    return opcode <= WEBSOCKET_BINARY || (opcode >= WEBSOCKET_CLOSE && opcode <= WEBSOCKET_PONG);
}

static uint64_t read_big_endian(const unsigned char *bytes, size_t length) {
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

enum websocket_parse websocket_frame_parse(struct websocket_frame *frame, const void *data, size_t length) {
    const unsigned char *bytes = data;
    if (length < 2) {
        return WEBSOCKET_PARSE_MORE;
    }
    unsigned opcode = bytes[0] & 0x0f;
    unsigned short_length = bytes[1] & 0x7f;
    size_t extended = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    frame->is_final = (bytes[0] & 0x80) != 0;
    frame->is_masked = (bytes[1] & 0x80) != 0;
    frame->opcode = (enum websocket_opcode)opcode;
    frame->header_length = 2 + extended + (frame->is_masked ? WEBSOCKET_MASK_BYTES : 0);

    /* The reserved bits belong to extensions, and none was negotiated. */
    if ((bytes[0] & 0x70) != 0 || !is_known_opcode(opcode) ||
        (websocket_is_control(frame->opcode) && (!frame->is_final || extended != 0))) {
        return WEBSOCKET_PARSE_INVALID;
    }
    if (length < frame->header_length) {
        return WEBSOCKET_PARSE_MORE;
    }
    frame->payload_length = extended == 0 ? short_length : read_big_endian(bytes + 2, extended);
    bool is_shortest = extended == 0 || frame->payload_length > (extended == 2 ? 125 : 0xffff);
    if (!is_shortest || frame->payload_length > INT64_MAX) {
        return WEBSOCKET_PARSE_INVALID;
    }
    if (frame->is_masked) {
        memcpy(frame->mask, bytes + 2 + extended, WEBSOCKET_MASK_BYTES);
    }
    return WEBSOCKET_PARSE_DONE;
}

void websocket_mask(char *payload, size_t length, const unsigned char mask[WEBSOCKET_MASK_BYTES]) {
    for (size_t i = 0; i < length; i++) {
        payload[i] = (char)((unsigned char)payload[i] ^ mask[i % WEBSOCKET_MASK_BYTES]);
    }
}

bool websocket_frame_append(struct buffer *out, enum websocket_opcode opcode, const void *payload, size_t length,
                            const unsigned char *mask) {
    unsigned char header[14];
    size_t used = 0;
    unsigned char mask_bit = mask != NULL ? 0x80 : 0;
    header[used++] = (unsigned char)(0x80 | opcode);
    if (length <= 125) {
        header[used++] = (unsigned char)(mask_bit | length);
    } else {
        size_t extended = length <= 0xffff ? 2 : 8;
        header[used++] = (unsigned char)(mask_bit | (extended == 2 ? 126 : 127));
        for (size_t i = extended; i-- > 0;) {
            header[used++] = (unsigned char)((uint64_t)length >> (8 * i));
        }
    }
    if (mask != NULL) {
        memcpy(header + used, mask, WEBSOCKET_MASK_BYTES);
        used += WEBSOCKET_MASK_BYTES;
    }
    size_t start = out->length + used;
    if (!buffer_append(out, header, used) || !buffer_append(out, payload, length)) {
        return false;
    }
    if (mask != NULL) {
        websocket_mask(out->data + start, length, mask);
    }
    return true;
}

bool websocket_close_append(struct buffer *out, unsigned code, const char *reason) {
    char payload[WEBSOCKET_CONTROL_MAX_BYTES];
    if (code == 0) {
        return websocket_frame_append(out, WEBSOCKET_CLOSE, "", 0, NULL);
    }
    size_t length = strlen(reason);
    length = length < sizeof payload - 2 ? length : sizeof payload - 2;
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    memcpy(payload + 2, reason, length); /* NOLINT: a frame has no NUL at its end */
    return websocket_frame_append(out, WEBSOCKET_CLOSE, payload, 2 + length, NULL);
}
