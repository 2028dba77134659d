/* terminal.c - a WebSocket from its head to its end. terminal_auth.c reads the client's first message, terminal_open.c
 * opens the instance's WebSocket. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/secret.h"
#include "gate/fcgi_codec.h"
#include "gate/terminal_internal.h"

#define SESSION_MAX_BYTES 128

void terminal_buffer_wipe(struct buffer *buffer) {
    if (buffer->data != NULL) {
        explicit_bzero(buffer->data, buffer->capacity);
    }
    buffer_free(buffer);
}

void terminal_tell_audit(const struct connection *connection, const char *action) {
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
        terminal_tell_audit(connection, "terminal_closed");
    }
    websocket_claims_free(&terminal->claims);
    free(terminal->session);
    terminal_buffer_wipe(&terminal->input);
    terminal_buffer_wipe(&terminal->handshake);
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
    if (connection->relay.is_held && !terminal_inspect_first_message(connection)) {
        connection_free(connection);
        return;
    }
    enum relay_result result = relay_pump(&connection->relay);
    note_progress(connection);
    if (result == RELAY_CLIENT_GONE) {
        connection_free(connection);
    } else if (result != RELAY_RUNS) {
        connection_close(connection, connection->gate->limits.stream_end);
    } else if (terminal_may_inspect_more(connection)) {
        endpoint_wake(&connection->client);
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
