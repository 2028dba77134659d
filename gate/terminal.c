#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/secret.h"
#include "gate/connection.h"
#include "gate/fcgi_codec.h"
#include "gate/head_reader.h"
#include "gate/websocket_handshake.h"
#include "gate/websocket_message.h"

#define READ_BYTES        (16 * 1024)
#define SESSION_MAX_BYTES 128
#define PONGS_MAX_BYTES   (64 * 1024) /* a client that pings and does not read gets no more than this */

struct terminal {
    struct websocket_claims claims;
    char *session;
    struct buffer input;          /* frames of the client's that are not forwarded yet */
    struct message_reader reader; /* of the first message in `input` */
    struct buffer handshake;      /* OPENING: our request, then the instance's answer */
    size_t handshake_sent;
    char key[WEBSOCKET_KEY_SIZE];
    bool proved_early; /* by header or query: an auth message may follow, and must not reach the instance */
    bool is_open;
};

static void buffer_wipe(struct buffer *buffer) {
    if (buffer->data != NULL) {
        explicit_bzero(buffer->data, buffer->capacity);
    }
    buffer_free(buffer);
}

/* It may be told twice, if the provisioner is killed before it answers: the id makes one row of that. */
static void tell_audit(const struct connection *connection, const char *action) {
    char event_id[37];
    struct json_object *message = digest_uuid_by_time(event_id) ? ipc_request("audit") : NULL;
    if (message == NULL || !json_add_string(message, "event_id", event_id) ||
        !json_add_string(message, "action", action) || !json_add_string(message, "severity", "info") ||
        !json_add_string(message, "user_id", connection->user) ||
        !json_add_string(message, "resource_type", "terminal") || !json_add_int(message, "status_code", 101) ||
        !json_add_string(message, "resource_id", connection->terminal->session) ||
        !json_add(message, "actor", json_object_get(connection->actor))) {
        log_error(connection->request_id, "out of memory or random bytes: no audit row for %s", action);
        json_object_put(message);
        return;
    }
    provisioner_client_tell(connection->gate->provisioner, message, true);
}

void terminal_free(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    if (terminal == NULL) {
        return;
    }
    if (terminal->is_open) {
        activity_stream_closed(connection->gate->activity);
        tell_audit(connection, "terminal_closed");
    }
    websocket_claims_free(&terminal->claims);
    free(terminal->session);
    buffer_wipe(&terminal->input);
    buffer_wipe(&terminal->handshake);
    message_reader_free(&terminal->reader);
    free(terminal);
    connection->terminal = NULL;
}

void terminal_close(struct connection *connection, enum close_code code) {
    log_debug(connection->request_id, "terminal closed with %d", (int)code);
    if (!websocket_close_append(&connection->output, code, close_code_reason(code))) {
        connection_free(connection);
        return;
    }
    connection_close(connection, connection->gate->limits.linger);
}

/* What is known from the head decides where the token comes from. */
static void take_claims(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    const struct http_head *head = &connection->request->head;
    struct error err = {0};
    if (!websocket_read_claims(&terminal->claims, head, &err)) {
        connection_fail(connection, err.code, err.message);
        return;
    }
    terminal->proved_early = terminal->claims.authorization != NULL || http_head_count(head, "Authorization") > 0;
    if (terminal->proved_early) {
        routing_authorize(connection);
        return;
    }
    connection->state = STATE_AWAITING_AUTH;
    connection_set_timer(connection, connection->gate->limits.auth_message);
    terminal_read_auth(connection);
}

void terminal_start(struct connection *connection, struct span session) {
    const struct http_head *head = &connection->request->head;
    struct error err = {0};
    int status = 400;
    if (!websocket_is_upgrade(head)) {
        connection_answer(connection, status, "Upgrade without `Connection: Upgrade`");
        return;
    }
    if (!websocket_check_request(head, &status, &err)) {
        connection_answer(connection, status, err.message);
        return;
    }
    connection->terminal = calloc(1, sizeof *connection->terminal);
    if (connection->terminal != NULL) {
        size_t length = session.length < SESSION_MAX_BYTES ? session.length : SESSION_MAX_BYTES;
        connection->terminal->session = strndup(session.bytes, length);
    }
    if (connection->terminal == NULL || connection->terminal->session == NULL ||
        !websocket_append_accept(&connection->output, head)) {
        connection_free(connection);
        return;
    }
    if (!connection_flush(connection)) {
        connection_free(connection);
        return;
    }
    take_claims(connection);
}

bool terminal_append_params(struct buffer *params, const struct connection *connection) {
    const struct websocket_claims *claims = &connection->terminal->claims;
    cleanup_buffer struct buffer target = {0};
    if (!websocket_append_target(&target, &connection->request->head)) {
        return false;
    }
    fcgi_append_param(params, "REQUEST_URI", target.data, target.length);
    if (claims->authorization != NULL) {
        fcgi_append_param(params, "HTTP_AUTHORIZATION", claims->authorization, strlen(claims->authorization));
    }
    if (claims->user_id != NULL) {
        fcgi_append_param(params, "HTTP_X_USER_ID", claims->user_id, strlen(claims->user_id));
    }
    if (claims->context_id != NULL) {
        fcgi_append_param(params, "HTTP_X_TERMINAL_CONTEXT_ID", claims->context_id, strlen(claims->context_id));
    }
    return !params->failed;
}

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

/* The message that should prove who the client is. */
static void take_auth(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
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
           websocket_frame_append(&connection->output, WEBSOCKET_PONG, reader->control, reader->control_length, NULL) &&
           connection_flush(connection);
}

/* Takes what was read off `input`: what is left there at the end is what the client sent behind its proof. */
static enum message_event next_auth_event(struct terminal *terminal) {
    enum message_event event = message_reader_next(
        &terminal->reader, terminal->input.data == NULL ? "" : terminal->input.data, terminal->input.length);
    buffer_consume(&terminal->input, terminal->reader.position);
    terminal->reader.position = 0;
    return event;
}

/* AWAITING_AUTH */
void terminal_read_auth(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    if (!connection_flush(connection)) {
        connection_free(connection);
        return;
    }
    for (;;) {
        switch (next_auth_event(terminal)) {
        case MESSAGE_MORE:
            if (!connection->client.readable) {
                return;
            }
            if (!read_input(connection)) {
                connection_free(connection);
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

/* Sends our handshake as far as possible. */
static bool send_handshake(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    while (terminal->handshake_sent < terminal->handshake.length && connection->instance.writable) {
        ssize_t sent = endpoint_send(&connection->instance, terminal->handshake.data + terminal->handshake_sent,
                                     terminal->handshake.length - terminal->handshake_sent);
        if (sent < 0) {
            return false;
        }
        terminal->handshake_sent += (size_t)sent;
    }
    return true;
}

void terminal_connected(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    char authority[80];
    bool is_v6 = strchr(connection->address, ':') != NULL;
    snprintf(authority, sizeof authority, is_v6 ? "[%s]:%d" : "%s:%d", connection->address, connection->port);
    if (!websocket_random_key(terminal->key) ||
        !websocket_append_request(&terminal->handshake, &connection->request->head, authority, terminal->key)) {
        terminal_close(connection, CLOSE_NOT_ALLOWED);
        return;
    }
    connection_drop_request(connection);
    connection->state = STATE_OPENING;
    connection_set_timer(connection, connection->gate->settings->proxy_connect_timeout_seconds * 1000);
    terminal_open_event(connection);
}

/* The instance's own key is the first message that it gets (an instance without a key expects none), then comes what
 * the client sent meanwhile. */
static bool append_prefix(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    struct buffer *prefix = &connection->relay.prefix;
    unsigned char mask[WEBSOCKET_MASK_BYTES];
    cleanup_json struct json_object *message = json_object_new_object();
    size_t length = 0;
    if (connection->instance_key[0] != '\0') {
        if (message == NULL || !json_add_string(message, "type", "auth") ||
            !json_add_string(message, "token", connection->instance_key) ||
            getrandom(mask, sizeof mask, 0) != (ssize_t)sizeof mask) {
            return false;
        }
        const char *text = json_text(message, &length);
        if (text == NULL || !websocket_frame_append(prefix, WEBSOCKET_TEXT, text, length, mask)) {
            return false;
        }
    }
    if (terminal->proved_early) {
        connection->relay.is_held = true;
        return true;
    }
    bool is_appended = buffer_append(prefix, terminal->input.data, terminal->input.length);
    buffer_free(&terminal->input);
    return is_appended;
}

static void opened(struct connection *connection) {
    buffer_wipe(&connection->terminal->handshake);
    evtimer_del(&connection->timer);
    relay_start_stream(&connection->relay);
    if (!append_prefix(connection)) {
        terminal_close(connection, CLOSE_NOT_ALLOWED);
        return;
    }
    connection->terminal->is_open = true;
    websocket_claims_free(&connection->terminal->claims);
    activity_stream_opened(connection->gate->activity);
    activity_stream_moved(connection->gate->activity, connection->route_key);
    tell_audit(connection, "terminal_opened");
    if (connection->log_line != NULL) {
        log_info(connection->request_id, "%s opened instance=%s", connection->log_line, connection->instance_id);
    }
    connection->state = STATE_RELAYING;
    terminal_pump(connection);
}

static void take_handshake_answer(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    cleanup_free struct http_head *answer = malloc(sizeof *answer);
    struct error err = {0};
    if (answer == NULL || !http_head_parse_answer(answer, terminal->handshake.data, terminal->handshake.length, &err)) {
        terminal_close(connection, CLOSE_NOT_ALLOWED);
    } else if (!websocket_check_answer(answer, terminal->key)) {
        log_info(connection->request_id, "instance %s answered %d to the terminal's handshake", connection->instance_id,
                 answer->status);
        terminal_close(connection, close_code_from_instance_status(answer->status));
    } else {
        opened(connection);
    }
}

/* OPENING */
void terminal_open_event(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    if (terminal->handshake_sent < terminal->handshake.length || terminal->handshake_sent == 0) {
        if (!send_handshake(connection)) {
            terminal_close(connection, CLOSE_NOT_ALLOWED);
            return;
        }
        if (terminal->handshake_sent < terminal->handshake.length) {
            return;
        }
        buffer_free(&terminal->handshake); /* its answer takes the place */
    }
    switch (head_read(&connection->instance, &terminal->handshake)) {
    case HEAD_MORE:
        return;
    case HEAD_TOO_LONG:
    case HEAD_ENDED:
        terminal_close(connection, CLOSE_NOT_ALLOWED);
        return;
    case HEAD_COMPLETE:
        take_handshake_answer(connection);
    }
}

/* Lets everything that was held back go to the instance, and reads no more frames. */
static bool release(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    bool is_appended = buffer_append(&connection->relay.prefix, terminal->input.data, terminal->input.length);
    buffer_wipe(&terminal->input);
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

/* The client proved itself by header or query and may yet send an auth message, as Open WebUI always does. So its first
 * message is held until it is clear that it is none; only what looks like a JSON object can be one. False: the
 * connection must end. */
static bool inspect_first_message(struct connection *connection) {
    struct terminal *terminal = connection->terminal;
    for (;;) {
        const char *input = terminal->input.data == NULL ? "" : terminal->input.data;
        enum message_event event = message_reader_next(&terminal->reader, input, terminal->input.length);
        enum message_shape shape = MESSAGE_SHAPE_UNKNOWN;
        switch (event) {
        case MESSAGE_MORE:
        case MESSAGE_TOO_BIG:
            shape = message_reader_shape(&terminal->reader, input, terminal->input.length);
            if (shape == MESSAGE_SHAPE_OTHER) {
                return release(connection);
            }
            if (event == MESSAGE_TOO_BIG && shape == MESSAGE_SHAPE_OBJECT) {
                return false;
            }
            if (!connection->client.readable) {
                return true;
            }
            if (!read_input(connection)) {
                return false;
            }
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

static void note_progress(struct connection *connection) {
    uint64_t moved = relay_moved(&connection->relay);
    if (moved != connection->moved) {
        connection->moved = moved;
        activity_stream_moved(connection->gate->activity, connection->route_key);
    }
    if (!evtimer_pending(&connection->timer, NULL) && relay_client_has_left(&connection->relay)) {
        connection_set_timer(connection, connection->gate->limits.stream_end);
    }
}

/* RELAYING */
void terminal_pump(struct connection *connection) {
    /* Ours first: the accept, and pongs, may still be on their way. */
    if (!connection_flush(connection)) {
        connection_free(connection);
        return;
    }
    if (connection->output.length > 0) {
        return;
    }
    if (connection->relay.is_held && !inspect_first_message(connection)) {
        connection_free(connection);
        return;
    }
    enum relay_result result = relay_pump(&connection->relay);
    note_progress(connection);
    if (result == RELAY_CLIENT_GONE) {
        connection_free(connection);
    } else if (result != RELAY_RUNS) {
        connection_close(connection, connection->gate->limits.stream_end);
    }
}

void terminal_timeout(struct connection *connection) {
    switch (connection->state) {
    case STATE_AWAITING_AUTH:
        terminal_close(connection, CLOSE_BAD_AUTH);
        break;
    case STATE_RELAYING:
        endpoint_reset(&connection->instance);
        connection_free(connection);
        break;
    default:
        terminal_close(connection, CLOSE_NOT_ALLOWED);
        break;
    }
}
