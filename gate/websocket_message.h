/* websocket_message.h - reads a client's first data message: frames in any pieces, fragments, control frames between
 * (RFC 6455 §5.4). It reads ahead in memory that the caller owns and leaves those bytes as they are, so that the caller
 * can forward them untouched. */
#ifndef TERMINALS_GATE_WEBSOCKET_MESSAGE_H
#define TERMINALS_GATE_WEBSOCKET_MESSAGE_H

#include "common/buffer.h"
#include "gate/websocket_frame.h"

#define FIRST_MESSAGE_MAX_BYTES (64 * 1024)

enum message_event {
    MESSAGE_MORE,    /* feed more bytes */
    MESSAGE_TEXT,    /* a whole text message is in `payload` */
    MESSAGE_BINARY,  /* a binary message begins; it is not read */
    MESSAGE_TOO_BIG, /* a text message above FIRST_MESSAGE_MAX_BYTES */
    MESSAGE_PING,    /* `control` is its payload */
    MESSAGE_PONG,
    MESSAGE_CLOSE,   /* `control` is its payload */
    MESSAGE_INVALID, /* against the protocol; an unmasked frame is, too (§5.1) */
};

/* `struct message_reader r = {0};` is a reader before its first byte. */
struct message_reader {
    size_t position;       /* bytes of the input that are read */
    struct buffer payload; /* of the text message so far, unmasked */
    bool in_message;
    char control[WEBSOCKET_CONTROL_MAX_BYTES];
    size_t control_length;
};

/* Reads on in `bytes`, which starts where it started at the first call and has grown since, up to the next event. */
enum message_event message_reader_next(struct message_reader *reader, const char *bytes, size_t length);

/* What the text message that is not complete yet starts with: a JSON object can only start with a brace. */
enum message_shape { MESSAGE_SHAPE_UNKNOWN, MESSAGE_SHAPE_OBJECT, MESSAGE_SHAPE_OTHER };
enum message_shape message_reader_shape(const struct message_reader *reader, const char *bytes, size_t length);

/* Frees the text, overwritten first: it holds a token. */
void message_reader_free(struct message_reader *reader);

enum auth_message { AUTH_MESSAGE_VALID, AUTH_MESSAGE_BAD_TOKEN, AUTH_MESSAGE_OTHER };

/* Reads `{"type":"auth","token":"…"}`. VALID: *token is the token, the caller's to free with secret_free(). BAD_TOKEN:
 * of that type, but the token is missing, no string, empty or not printable ASCII, or no memory. OTHER: anything else.
 */
enum auth_message auth_message_parse(const char *text, size_t length, char **token);

/* A token as it may stand behind "Bearer ": printable ASCII without spaces, not empty. */
bool token_is_sane(const char *token);

#endif
