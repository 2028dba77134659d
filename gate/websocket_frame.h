/* websocket_frame.h - the frames of RFC 6455 §5.2: reading a header, unmasking, building a frame. No state,
 * thread-safe. */
#ifndef TERMINALS_GATE_WEBSOCKET_FRAME_H
#define TERMINALS_GATE_WEBSOCKET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0x0,
    WEBSOCKET_TEXT = 0x1,
    WEBSOCKET_BINARY = 0x2,
    WEBSOCKET_CLOSE = 0x8,
    WEBSOCKET_PING = 0x9,
    WEBSOCKET_PONG = 0xa,
};

#define WEBSOCKET_CONTROL_MAX_BYTES 125 /* RFC 6455 §5.5 */
#define WEBSOCKET_MASK_BYTES        4

struct websocket_frame {
    bool is_final;
    bool is_masked;
    enum websocket_opcode opcode;
    unsigned char mask[WEBSOCKET_MASK_BYTES];
    size_t header_length;
    uint64_t payload_length;
};

enum websocket_parse { WEBSOCKET_PARSE_MORE, WEBSOCKET_PARSE_DONE, WEBSOCKET_PARSE_INVALID };

/* Reads the header of the frame that starts at `bytes`. MORE: it is not complete. INVALID: reserved bits or opcodes,
 * a length not in its shortest form or with the top bit set, a control frame that is fragmented or too long. */
enum websocket_parse websocket_frame_parse(struct websocket_frame *frame, const void *bytes, size_t length);

static inline bool websocket_is_control(enum websocket_opcode opcode) {
    return (opcode & 0x8) != 0;
}

/* Masks or unmasks in place (§5.3). */
void websocket_mask(char *payload, size_t length, const unsigned char mask[WEBSOCKET_MASK_BYTES]);

/* Appends a final frame; masked if `mask` is not NULL, as a client's must be. */
bool websocket_frame_append(struct buffer *out, enum websocket_opcode opcode, const void *payload, size_t length,
                            const unsigned char *mask);

/* Appends a server's close frame (§5.5.1): the code and a reason of at most 123 bytes. Code 0: an empty one. */
bool websocket_close_append(struct buffer *out, unsigned code, const char *reason);

#endif
