/* terminal_auth.c - the client's first message: it proves who that is (AWAITING_AUTH), or is held until it is clear
 * that it does not try to (RELAYING). */
#include <stdio.h>
#include <string.h>

#include "common/secret.h"
#include "gate/terminal_internal.h"

/* A client may send control frames, and empty ones, for ever: it gets one read in each of its turns, between which
 * others have theirs (endpoint_base_new()), and only so much of all that until its first message is there. */
#define READ_BYTES     (16 * 1024)
#define HELD_MAX_BYTES (2 * FIRST_MESSAGE_MAX_BYTES)

#define PONGS_MAX_BYTES (64 * 1024) /* a client that pings and does not read gets no more than this */

/* Reads what the client has sent into `input`. False when it has gone. */
static bool read_input(struct connection *connection) {
    struct buffer *input = &connection->terminal->input;
    char *room = buffer_reserve(input, READ_BYTES);
    ssize_t received = room == NULL ? ENDPOINT_FAILED : endpoint_receive(&connection->client, room, READ_BYTES, 0);
    if (received < 0) {
        return false;
    }
    input->length += (size_t)received;
    input->data[input->length] = '\0';
    return true;
}

static enum message_event next_event(struct terminal *terminal) {
    const char *input = terminal->input.data == NULL ? "" : terminal->input.data;
    return message_reader_next(&terminal->reader, input, terminal->input.length);
}

static void drop_read(struct terminal *terminal) {
    buffer_consume(&terminal->input, terminal->reader.position);
    terminal->reader.position = 0;
}

/* The message that should prove who the client is. */
static void take_auth(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    drop_read(terminal); /* what is left is what the client sent behind its proof */
    cleanup_secret char *token = NULL;
    enum auth_message kind = auth_message_parse(terminal->reader.payload.data, terminal->reader.payload.length, &token);
    message_reader_free(&terminal->reader);
    if (kind != AUTH_MESSAGE_VALID) {
        terminal_close(connection, CLOSE_BAD_AUTH);
        return;
    }
    if (asprintf(&terminal->claims.authorization, "Bearer %s", token) < 0) {
        terminal->claims.authorization = NULL;
        connection_fail(connection, ERROR_INTERNAL, "out of memory");
        return;
    }
    evtimer_del(&connection->timer);
    routing_authorize(connection);
}

/* A close frame is answered with its own code (RFC 6455 §5.5.1). */
static void answer_close(struct connection *connection) {
    const struct message_reader *reader = &connection->terminal->reader;
    unsigned code = reader->control_length >= 2
                        ? (unsigned)(unsigned char)reader->control[0] << 8 | (unsigned char)reader->control[1]
                        : 0;
    if (websocket_close_append(&connection->output, code, "")) {
        connection_close(connection, connection->gate->limits.linger);
    } else {
        connection_free(connection);
    }
}

static bool answer_ping(struct connection *connection) {
    const struct message_reader *reader = &connection->terminal->reader;
    return connection->output.length < PONGS_MAX_BYTES &&
           websocket_frame_append(&connection->output, WEBSOCKET_PONG, reader->control, reader->control_length, NULL);
}

/* Reads on, once in a round of the loop. False: nothing more to do in this one; the connection may be gone. */
static bool read_more_auth(struct connection *connection, bool *has_read) {
    struct terminal *terminal = connection->terminal;
    if (!connection_flush(connection)) {
        connection_free(connection);
        return false;
    }
    if (terminal->unproven_bytes >= HELD_MAX_BYTES) {
        terminal_close(connection, CLOSE_BAD_AUTH);
        return false;
    }
    if (!connection->client.readable) {
        return false;
    }
    if (*has_read) {
        endpoint_wake(&connection->client);
        return false;
    }
    drop_read(terminal);
    size_t before = terminal->input.length;
    if (!read_input(connection)) {
        connection_free(connection);
        return false;
    }
    terminal->unproven_bytes += terminal->input.length - before;
    *has_read = true;
    return true;
}

/* AWAITING_AUTH */
void terminal_read_auth(struct connection *connection) {
    bool has_read = false;
    for (;;) {
        switch (next_event(connection->terminal)) {
        case MESSAGE_MORE:
            if (!read_more_auth(connection, &has_read)) {
                return;
            }
            break;
        case MESSAGE_TEXT:
            take_auth(connection);
            return;
        case MESSAGE_BINARY:
        case MESSAGE_TOO_BIG:
            terminal_close(connection, CLOSE_BAD_AUTH);
            return;
        case MESSAGE_PING:
            if (!answer_ping(connection)) {
                connection_free(connection);
                return;
            }
            break;
        case MESSAGE_PONG:
            break;
        case MESSAGE_CLOSE:
            answer_close(connection);
            return;
        case MESSAGE_INVALID:
            terminal_close(connection, CLOSE_PROTOCOL_ERROR);
            return;
        }
    }
}

/* Lets everything that was held back go to the instance, and reads no more frames. */
static bool release(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    bool is_appended = buffer_append(&connection->relay.prefix, terminal->input.data, terminal->input.length);
    terminal_buffer_wipe(&terminal->input);
    message_reader_free(&terminal->reader);
    connection->relay.is_held = false;
    return is_appended;
}

/* Lets go what was read and is no part of the first message. */
static bool release_read(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    if (terminal->reader.in_message) {
        return true;
    }
    bool is_appended = buffer_append(&connection->relay.prefix, terminal->input.data, terminal->reader.position);
    buffer_consume(&terminal->input, terminal->reader.position);
    terminal->reader.position = 0;
    return is_appended;
}

static bool take_first_text(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    cleanup_secret char *token = NULL;
    enum auth_message kind = auth_message_parse(terminal->reader.payload.data, terminal->reader.payload.length, &token);
    if (kind != AUTH_MESSAGE_OTHER) {
        buffer_consume(&terminal->input, terminal->reader.position);
    }
    return release(connection);
}

/* What is there of a text message: is it one that may prove who the client is? */
enum suspicion { SUSPECT, CLEAR, HOPELESS };
static enum suspicion suspect(const struct terminal *terminal, enum message_event event) {
    const char *input = terminal->input.data == NULL ? "" : terminal->input.data;
    enum message_shape shape = message_reader_shape(&terminal->reader, input, terminal->input.length);
    if (shape == MESSAGE_SHAPE_OTHER) {
        return CLEAR;
    }
    bool is_too_big = event == MESSAGE_TOO_BIG && shape == MESSAGE_SHAPE_OBJECT;
    return is_too_big || terminal->input.length >= HELD_MAX_BYTES ? HOPELESS : SUSPECT;
}

bool terminal_may_inspect_more(const struct connection *connection) {
    return connection->relay.is_held && connection->client.readable && connection->relay.prefix.length < HELD_MAX_BYTES;
}

bool terminal_inspect_first_message(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    bool has_read = false;
    for (;;) {
        enum message_event event = next_event(terminal);
        enum suspicion suspicion = SUSPECT;
        switch (event) {
        case MESSAGE_MORE:
        case MESSAGE_TOO_BIG:
            suspicion = suspect(terminal, event);
            if (suspicion != SUSPECT) {
                return suspicion == CLEAR && release(connection);
            }
            if (has_read || !terminal_may_inspect_more(connection)) {
                return true;
            }
            if (!read_input(connection)) {
                return false;
            }
            has_read = true;
            break;
        case MESSAGE_TEXT:
            return take_first_text(connection);
        case MESSAGE_PING:
        case MESSAGE_PONG:
            if (!release_read(connection)) {
                return false;
            }
            break;
        case MESSAGE_BINARY:
        case MESSAGE_CLOSE:
            return release(connection);
        case MESSAGE_INVALID:
            return false;
        }
    }
}
