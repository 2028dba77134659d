#include "gate/connection.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/secret.h"
#include "gate/answer.h"
#include "gate/head_reader.h"
#include "gate/websocket_handshake.h"

#define DRAIN_MAX_BYTES (64 * 1024 * 1024)

void connection_set_timer(struct connection *connection, int64_t delay_ms) {
    struct timeval delay = {.tv_sec = delay_ms / 1000, .tv_usec = delay_ms % 1000 * 1000};
    evtimer_add(&connection->timer, &delay);
}

void connection_drop_request(struct connection *connection) {
    if (connection->request == NULL) {
        return;
    }
    if (connection->request->bytes.data != NULL) {
        explicit_bzero(connection->request->bytes.data, connection->request->bytes.capacity); /* it holds a token */
    }
    buffer_free(&connection->request->bytes);
    free(connection->request);
    connection->request = NULL;
}

void connection_free(struct connection *connection) {
    struct gate *gate = connection->gate;
    terminal_free(connection);
    authorizer_ask_cancel(connection->ask);
    provisioner_call_cancel(connection->call);
    activity_exchange_end(connection->activity);
    relay_close(&connection->relay);
    endpoint_close(&connection->client);
    endpoint_close(&connection->instance);
    evtimer_del(&connection->timer);
    connection_drop_request(connection);
    buffer_free(&connection->output);
    json_object_put(connection->actor);
    secret_free(connection->instance_key);
    free(connection->request_id);
    free(connection->user);
    free(connection->policy);
    free(connection->context);
    free(connection->address);
    free(connection->instance_id);
    free(connection->log_line);
    DL_DELETE(gate->connections, connection);
    free(connection);
    gate_connection_gone(gate);
}

bool connection_flush(struct connection *connection) {
    struct buffer *output = &connection->output;
    while (output->length > 0 && connection->client.writable) {
        ssize_t sent = endpoint_send(&connection->client, output->data, output->length);
        if (sent < 0) {
            return false;
        }
        buffer_consume(output, (size_t)sent);
    }
    return true;
}

/* CLOSING: a socket that is closed with bytes unread is reset, and the peer may then lose the answer before it has read
 * it. So say that no more comes, and throw away what still arrives, within bounds of time and amount. */
static void pump_closing(struct connection *connection) {
    static char trash[64 * 1024];
    if (!connection_flush(connection)) {
        connection_free(connection);
        return;
    }
    if (connection->output.length == 0 && !connection->has_shut) {
        connection->has_shut = true;
        shutdown(connection->client.fd, SHUT_WR);
    }
    while (connection->client.readable) {
        ssize_t received = endpoint_receive(&connection->client, trash, sizeof trash, 0);
        connection->drained += received > 0 ? (size_t)received : 0;
        bool is_half_closed = received == ENDPOINT_END && !connection->has_shut;
        if (is_half_closed && !endpoint_is_hung_up(&connection->client)) {
            connection->client.readable = false;
            break;
        }
        if (received < 0 || connection->drained > DRAIN_MAX_BYTES) {
            connection_free(connection);
            return;
        }
    }
}

void connection_close(struct connection *connection, int linger_ms) {
    authorizer_ask_cancel(connection->ask);
    connection->ask = NULL;
    provisioner_call_cancel(connection->call);
    connection->call = NULL;
    activity_exchange_end(connection->activity);
    connection->activity = NULL;
    endpoint_close(&connection->instance);
    relay_close(&connection->relay);
    connection->state = STATE_CLOSING;
    connection_set_timer(connection, linger_ms);
    pump_closing(connection);
}

void connection_answer(struct connection *connection, int status, const char *detail) {
    if (connection->log_line != NULL) {
        log_info(connection->request_id, "%s answered %d", connection->log_line, status);
    }
    if (!answer_append_error(&connection->output, status, detail, connection->is_head_method)) {
        connection_free(connection);
        return;
    }
    connection_close(connection, connection->gate->limits.linger);
}

void connection_fail(struct connection *connection, enum error_code code, const char *detail) {
    log_debug(connection->request_id, "failed: %s", detail);
    if (connection->terminal != NULL) {
        terminal_close(connection, close_code_from_error(code));
    } else {
        connection_answer(connection, error_code_http_status(code), detail);
    }
}

static bool is_health_check(const struct http_head *head) {
    return span_equals(head->target, "/health") && span_equals(http_head_value(head, "X-Terminals-Check"), "1");
}

static void refuse_health(struct connection *connection) {
    connection_answer(connection, 503, "terminals-provisioner does not answer");
}

static void on_ping(void *context, struct json_object *answer, const struct error *err) {
    (void)err;
    struct connection *connection = context;
    connection->call = NULL;
    if (answer == NULL) {
        refuse_health(connection);
    } else if (!answer_append_healthy(&connection->output, connection->is_head_method)) {
        connection_free(connection);
    } else {
        connection_close(connection, connection->gate->limits.linger);
    }
}

/* An open connection says nothing about the provisioner: its supervisor holds the socket while it is away. */
static void check_health(struct connection *connection) {
    connection->state = STATE_CHECKING;
    connection->call = provisioner_call_start(connection->gate->provisioner, ipc_request("ping"), on_ping, connection);
    if (connection->call == NULL) {
        connection_answer(connection, 500, "out of memory");
    } else {
        connection_set_timer(connection, connection->gate->limits.health);
    }
}

/* The head is complete and well-formed: where to with it? */
static void dispatch(struct connection *connection) {
    const struct http_head *head = &connection->request->head;
    struct span session;
    connection->is_head_method = span_equals(head->method, "HEAD");
    if (!routing_note_client(connection)) {
        connection_answer(connection, 500, "out of memory");
    } else if (is_health_check(head)) {
        check_health(connection);
    } else if (connection->door == DOOR_RECOVER) {
        routing_recover(connection);
    } else if (websocket_is_terminal(head, &session) && http_head_lists(head, "Upgrade", "websocket")) {
        terminal_start(connection, session);
    } else {
        routing_authorize(connection);
    }
}

static void read_request(struct connection *connection) {
    struct request *request = connection->request;
    struct error err = {0};
    switch (head_read(&connection->client, &request->bytes)) {
    case HEAD_MORE:
        return;
    case HEAD_ENDED:
        connection_free(connection);
        return;
    case HEAD_TOO_LONG:
        connection_answer(connection, 431, "The request's head is too long");
        return;
    case HEAD_COMPLETE:
        evtimer_del(&connection->timer);
        if (http_head_parse_request(&request->head, request->bytes.data, request->bytes.length, &err)) {
            dispatch(connection);
        } else {
            connection_answer(connection, 400, err.message);
        }
    }
}

/* While somebody else is being asked nothing is read from the client: only that it hung up counts. */
static void watch_client(struct connection *connection) {
    if (!connection_flush(connection) || endpoint_is_hung_up(&connection->client)) {
        connection_free(connection);
    }
}

static void pump_relay(struct connection *connection) {
    if (connection->terminal != NULL) {
        terminal_pump(connection);
    } else {
        exchange_pump(connection);
    }
}

static void on_client(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    struct connection *connection = context;
    endpoint_note(&connection->client, what);
    switch (connection->state) {
    case STATE_READING_HEAD:
        read_request(connection);
        break;
    case STATE_AWAITING_AUTH:
        terminal_read_auth(connection);
        break;
    case STATE_CHECKING:
    case STATE_AUTHORIZING:
    case STATE_RESOLVING:
    case STATE_CONNECTING:
    case STATE_OPENING:
        watch_client(connection);
        break;
    case STATE_RELAYING:
        pump_relay(connection);
        break;
    case STATE_CLOSING:
        pump_closing(connection);
        break;
    }
}

void connection_on_instance(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    struct connection *connection = context;
    endpoint_note(&connection->instance, what);
    switch (connection->state) {
    case STATE_CONNECTING:
        routing_connect_event(connection);
        break;
    case STATE_OPENING:
        terminal_open_event(connection);
        break;
    case STATE_RELAYING:
        pump_relay(connection);
        break;
    default:
        break; /* there is no instance in the other states */
    }
}

static void on_timer(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct connection *connection = context;
    switch (connection->state) {
    case STATE_READING_HEAD:
        connection_answer(connection, 408, "The request's head did not arrive in time");
        break;
    case STATE_CHECKING:
        refuse_health(connection);
        break;
    case STATE_CONNECTING:
        routing_connect_timeout(connection);
        break;
    case STATE_AUTHORIZING:
        break; /* the ask has its own time limit */
    case STATE_AWAITING_AUTH:
    case STATE_RESOLVING:
    case STATE_OPENING:
        terminal_timeout(connection);
        break;
    case STATE_RELAYING:
        if (connection->terminal != NULL) {
            terminal_timeout(connection);
        } else {
            exchange_timeout(connection);
        }
        break;
    case STATE_CLOSING:
        connection_free(connection);
        break;
    }
}

void connection_open(struct gate *gate, int fd, enum gate_door door) {
    struct connection *connection = calloc(1, sizeof *connection);
    struct request *request = calloc(1, sizeof *request);
    if (connection == NULL || request == NULL) {
        log_error(NULL, "out of memory: a connection is dropped");
        free(connection);
        free(request);
        close(fd);
        return;
    }
    connection->gate = gate;
    connection->door = door;
    connection->state = STATE_READING_HEAD;
    connection->request = request;
    connection->instance = ENDPOINT_CLOSED;
    connection->started_at_ms = clock_monotonic_ms();
    connection->relay.client = &connection->client;
    connection->relay.instance = &connection->instance;
    connection->relay.pipes = gate->pipes;
    evtimer_assign(&connection->timer, gate->base, on_timer, connection);
    DL_APPEND(gate->connections, connection);
    if (!endpoint_open(&connection->client, gate->base, fd, on_client, connection)) {
        log_error(NULL, "the event loop takes no more connections");
        connection_free(connection);
        return;
    }
    connection_set_timer(connection, gate->limits.head);
}

bool connection_shut_down(struct connection *connection) {
    bool is_busy =
        connection->state == STATE_CLOSING || (connection->terminal == NULL && connection->state != STATE_READING_HEAD);
    if (!is_busy) {
        connection_free(connection);
    }
    return is_busy;
}
