/* terminal_open.c - our WebSocket handshake with the instance, our proof to it, and what the client sent meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "gate/head_reader.h"
#include "gate/terminal_internal.h"

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
    terminal_buffer_wipe(&connection->terminal->handshake);
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
    terminal_tell_audit(connection, "terminal_opened");
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
