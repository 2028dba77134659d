// LINK: gate
/* Any bytes as a terminal client's first frames: however they are cut, the reader must tell the same events in the same
 * order, never more text than came in, and never read behind what is there. The first byte is the size of the pieces.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"
#include "gate/websocket_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_last(enum message_event event) {
    return event != MESSAGE_MORE && event != MESSAGE_PING && event != MESSAGE_PONG;
}

/* Feeds `bytes` in pieces, notes the events, and returns the last. */
static enum message_event read_all(struct message_reader *reader, const uint8_t *bytes, size_t size, size_t piece,
                                   struct buffer *events) {
    size_t there = 0;
    for (;;) {
        char *copy = malloc(there == 0 ? 1 : there); /* of exactly what is there */
        if (copy == NULL) {
            abort();
        }
        memcpy(copy, bytes, there);
        enum message_event event = message_reader_next(reader, copy, there);
        message_reader_shape(reader, copy, there);
        free(copy);
        if (reader->position > there || reader->payload.length > there) {
            abort();
        }
        if (event != MESSAGE_MORE) {
            char mark = (char)('A' + event);
            buffer_append(events, &mark, 1);
            buffer_append(events, reader->control, reader->control_length);
        }
        if (is_last(event) || (event == MESSAGE_MORE && there == size)) {
            return event;
        }
        if (event == MESSAGE_MORE) {
            there = size - there < piece ? size : there + piece;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 4096) {
        return 0;
    }
    size_t piece = (size_t)data[0] + 1;
    struct message_reader whole = {0};
    struct message_reader cut = {0};
    cleanup_buffer struct buffer whole_events = {0};
    cleanup_buffer struct buffer cut_events = {0};
    enum message_event event = read_all(&whole, data + 1, size - 1, size, &whole_events);
    if (read_all(&cut, data + 1, size - 1, piece, &cut_events) != event || whole_events.length != cut_events.length ||
        (whole_events.length > 0 && memcmp(whole_events.data, cut_events.data, cut_events.length) != 0) ||
        whole.position != cut.position || whole.payload.length != cut.payload.length) {
        abort();
    }
    if (event == MESSAGE_TEXT) {
        char *token = NULL;
        enum auth_message kind = auth_message_parse(whole.payload.data, whole.payload.length, &token);
        if ((kind == AUTH_MESSAGE_VALID) != (token != NULL) || (token != NULL && !token_is_sane(token))) {
            abort();
        }
        secret_free(token);
    }
    message_reader_free(&whole);
    message_reader_free(&cut);
    return 0;
}
