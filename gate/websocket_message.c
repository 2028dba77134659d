#include "gate/websocket_message.h"

#include <string.h>

#include "common/json.h"

static enum message_event take_control(struct message_reader *reader, const struct websocket_frame *frame,
                                       const char *payload) {
    reader->control_length = (size_t)frame->payload_length;
    memcpy(reader->control, payload, reader->control_length);
    websocket_mask(reader->control, reader->control_length, frame->mask);
    switch (frame->opcode) {
    case WEBSOCKET_PING:
        return MESSAGE_PING;
    case WEBSOCKET_PONG:
        return MESSAGE_PONG;
    default:
        return MESSAGE_CLOSE;
    }
}

/* Appends a frame's payload, unmasked. buffer_append() may move the text and leave the old bytes in freed memory; that
 * a token can be found there by somebody who reads this process's memory is accepted. */
static bool take_payload(struct message_reader *reader, const struct websocket_frame *frame, const char *payload) {
    size_t start = reader->payload.length;
    if (!buffer_append(&reader->payload, payload, (size_t)frame->payload_length)) {
        return false;
    }
    websocket_mask(reader->payload.data + start, (size_t)frame->payload_length, frame->mask);
    return true;
}

/* What a frame's header alone decides; MESSAGE_MORE: nothing yet. */
static enum message_event judge_header(const struct message_reader *reader, const struct websocket_frame *frame) {
    if (!frame->is_masked) {
        return MESSAGE_INVALID;
    }
    if (websocket_is_control(frame->opcode)) {
        return MESSAGE_MORE;
    }
    if ((frame->opcode == WEBSOCKET_CONTINUATION) != reader->in_message) {
        return MESSAGE_INVALID;
    }
    if (frame->opcode == WEBSOCKET_BINARY) {
        return MESSAGE_BINARY;
    }
    return frame->payload_length > FIRST_MESSAGE_MAX_BYTES - reader->payload.length ? MESSAGE_TOO_BIG : MESSAGE_MORE;
}

enum message_event message_reader_next(struct message_reader *reader, const char *bytes, size_t length) {
    for (;;) {
        struct websocket_frame frame;
        size_t left = length - reader->position;
        switch (websocket_frame_parse(&frame, bytes + reader->position, left)) {
        case WEBSOCKET_PARSE_MORE:
            return MESSAGE_MORE;
        case WEBSOCKET_PARSE_INVALID:
            return MESSAGE_INVALID;
        case WEBSOCKET_PARSE_DONE:
            break;
        }
        enum message_event event = judge_header(reader, &frame);
        if (event != MESSAGE_MORE) {
            return event;
        }
        if (left - frame.header_length < frame.payload_length) {
            return MESSAGE_MORE;
        }
        const char *payload = bytes + reader->position + frame.header_length;
        reader->position += frame.header_length + (size_t)frame.payload_length;
        if (websocket_is_control(frame.opcode)) {
            return take_control(reader, &frame, payload);
        }
        if (!take_payload(reader, &frame, payload)) {
            return MESSAGE_TOO_BIG;
        }
        reader->in_message = !frame.is_final;
        if (frame.is_final) {
            return MESSAGE_TEXT;
        }
    }
}

static enum message_shape shape_of(const char *text, size_t length, const unsigned char *mask) {
    for (size_t i = 0; i < length; i++) {
        char character = (char)((unsigned char)text[i] ^ mask[i % WEBSOCKET_MASK_BYTES]);
        if (strchr(" \t\r\n", character) == NULL || character == '\0') {
            return character == '{' ? MESSAGE_SHAPE_OBJECT : MESSAGE_SHAPE_OTHER;
        }
    }
    return MESSAGE_SHAPE_UNKNOWN;
}

enum message_shape message_reader_shape(const struct message_reader *reader, const char *bytes, size_t length) {
    static const unsigned char no_mask[WEBSOCKET_MASK_BYTES] = {0};
    enum message_shape shape = shape_of(reader->payload.data, reader->payload.length, no_mask);
    struct websocket_frame frame;
    size_t left = length - reader->position;
    if (shape != MESSAGE_SHAPE_UNKNOWN ||
        websocket_frame_parse(&frame, bytes + reader->position, left) != WEBSOCKET_PARSE_DONE ||
        websocket_is_control(frame.opcode)) {
        return shape;
    }
    size_t there = left - frame.header_length;
    there = there < frame.payload_length ? there : (size_t)frame.payload_length;
    return shape_of(bytes + reader->position + frame.header_length, there, frame.mask);
}

void message_reader_free(struct message_reader *reader) {
    if (reader->payload.data != NULL) {
        explicit_bzero(reader->payload.data, reader->payload.capacity);
    }
    buffer_free(&reader->payload);
    *reader = (struct message_reader){0};
}

bool token_is_sane(const char *token) {
    for (const char *c = token; *c != '\0'; c++) {
        if (*c <= ' ' || *c >= 0x7f) {
            return false;
        }
    }
    return token[0] != '\0';
}

enum auth_message auth_message_parse(const char *text, size_t length, char **token) {
    *token = NULL;
    cleanup_json struct json_object *message = json_parse_object(text, length, NULL);
    const char *type = message == NULL ? NULL : json_get_string(message, "type");
    if (type == NULL || strcmp(type, "auth") != 0) {
        return AUTH_MESSAGE_OTHER;
    }
    const char *found = json_get_string(message, "token");
    if (found == NULL || !token_is_sane(found)) {
        return AUTH_MESSAGE_BAD_TOKEN;
    }
    *token = strdup(found);
    return *token != NULL ? AUTH_MESSAGE_VALID : AUTH_MESSAGE_BAD_TOKEN;
}
