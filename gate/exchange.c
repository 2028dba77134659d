#include "common/clock.h"
#include "common/log.h"
#include "gate/connection.h"
#include "gate/head_rewrite.h"

#define NOT_REACHABLE "Terminal instance not reachable"

static int64_t read_timeout_ms(const struct connection *connection) {
    return connection->gate->settings->proxy_read_timeout_seconds * 1000;
}

static void log_exchange(const struct connection *connection) {
    if (connection->log_line != NULL) {
        log_info(connection->request_id, "%s answered %d up=%llu down=%llu ms=%lld instance=%s", connection->log_line,
                 connection->relay.answer.status, (unsigned long long)connection->relay.up.moved,
                 (unsigned long long)connection->relay.down.moved,
                 (long long)(clock_monotonic_ms() - connection->started_at_ms), connection->instance_id);
    }
}

void exchange_start(struct connection *connection) {
    const struct http_head *head = &connection->request->head;
    bool may_upgrade = http_head_lists(head, "Connection", "upgrade") && http_head_count(head, "Upgrade") == 1 &&
                       http_head_lists(head, "Upgrade", "websocket") && head->body == HTTP_BODY_NONE;
    if (!head_rewrite(&connection->relay.prefix, head, connection->instance_key, may_upgrade)) {
        connection_fail(connection, ERROR_INTERNAL, "out of memory");
        return;
    }
    relay_start_http(&connection->relay, head, (uint64_t)connection->gate->settings->max_body_bytes, may_upgrade);
    connection_drop_request(connection);
    connection->state = STATE_RELAYING;
    connection->activity = activity_exchange_begin(connection->gate->activity, connection->route_key);
    connection->moved_at_ms = clock_monotonic_ms();
    connection_set_timer(connection, read_timeout_ms(connection));
    exchange_pump(connection);
}

/* The instance is done, or gone. */
static void finish(struct connection *connection) {
    if (!relay_has_answered(&connection->relay)) {
        connection_answer(connection, 502, NOT_REACHABLE);
        return;
    }
    log_exchange(connection);
    connection_close(connection, connection->gate->limits.linger);
}

/* Nothing can be answered in the middle of an answer: then the connection just ends, and the client sees that it was
 * cut. */
static void refuse_body(struct connection *connection, int status, const char *detail) {
    if (relay_has_answered(&connection->relay)) {
        log_exchange(connection);
        connection_free(connection);
    } else {
        connection_answer(connection, status, detail);
    }
}

static void note_progress(struct connection *connection) {
    uint64_t moved = relay_moved(&connection->relay);
    if (moved != connection->moved) {
        connection->moved = moved;
        connection->moved_at_ms = clock_monotonic_ms();
    }
    if (relay_client_has_left(&connection->relay)) {
        if (!connection->client_has_left) {
            connection->client_has_left = true;
            connection_set_timer(connection, connection->gate->limits.stream_end);
        }
    } else if (connection->relay.is_stream) {
        evtimer_del(&connection->timer); /* a WebSocket may be silent for long */
    }
}

void exchange_pump(struct connection *connection) {
    enum relay_result result = relay_pump(&connection->relay);
    note_progress(connection);
    switch (result) {
    case RELAY_RUNS:
        break;
    case RELAY_INSTANCE_ENDED:
    case RELAY_INSTANCE_FAILED:
        finish(connection);
        break;
    case RELAY_CLIENT_GONE:
        log_exchange(connection);
        connection_free(connection);
        break;
    case RELAY_BODY_TOO_LARGE:
        refuse_body(connection, 413, "The body is larger than allowed");
        break;
    case RELAY_BODY_INVALID:
        refuse_body(connection, 400, "Malformed chunk");
        break;
    }
}

void exchange_timeout(struct connection *connection) {
    if (connection->client_has_left) {
        endpoint_reset(&connection->instance);
        connection_free(connection);
        return;
    }
    int64_t left = connection->moved_at_ms + read_timeout_ms(connection) - clock_monotonic_ms();
    if (left > 0) {
        connection_set_timer(connection, left);
    } else if (relay_has_answered(&connection->relay)) {
        log_exchange(connection);
        endpoint_reset(&connection->instance);
        connection_free(connection); /* the client sees that it was cut */
    } else {
        connection_answer(connection, 504, "The terminal instance did not answer in time");
    }
}
