#include "gate/relay.h"

#include <string.h>
#include <sys/socket.h>

#define PEEK_BYTES (32 * 1024)

void relay_start_http(struct relay *relay, const struct http_head *head, uint64_t body_max_bytes, bool may_upgrade) {
    body_framing_start(&relay->body, head);
    relay->body_max_bytes = body_max_bytes;
    relay->may_upgrade = may_upgrade;
    /* A length is known beforehand and moved without a look at the bytes; chunks are allowed as they are scanned. */
    relay->up.allowance = head->body == HTTP_BODY_LENGTH ? head->content_length : 0;
}

static void become_stream(struct relay *relay) {
    relay->is_stream = true;
    relay->up.allowance = CHANNEL_UNLIMITED;
    relay->down.allowance = CHANNEL_UNLIMITED;
}

void relay_start_stream(struct relay *relay) {
    become_stream(relay);
}

bool relay_has_answered(const struct relay *relay) {
    const struct answer_scan *answer = &relay->answer;
    /* In the middle of an interim answer, or of a status line, nothing else can be said either. */
    bool is_inside = answer->in_interim || answer->position > 0 || relay->down.held > 0;
    return relay->is_stream || answer->status != 0 || is_inside;
}

/* All of the request's body was taken from the client: nothing of it is left unread. */
static bool has_taken_body(const struct relay *relay) {
    bool is_scanned = relay->body.kind != HTTP_BODY_CHUNKED || body_framing_is_done(&relay->body);
    return is_scanned && relay->up.allowance == 0;
}

bool relay_client_has_left(const struct relay *relay) {
    return relay->client_ended || (relay->is_stream && relay->client->readable && endpoint_is_hung_up(relay->client));
}

uint64_t relay_moved(const struct relay *relay) {
    return relay->up.moved + relay->down.moved;
}

static bool send_prefix(struct relay *relay) {
    while (relay->prefix.length > 0 && relay->instance->writable) {
        ssize_t sent = endpoint_send(relay->instance, relay->prefix.data, relay->prefix.length);
        if (sent < 0) {
            return false;
        }
        buffer_consume(&relay->prefix, (size_t)sent);
    }
    if (relay->prefix.length == 0 && relay->prefix.data != NULL) {
        explicit_bzero(relay->prefix.data, relay->prefix.capacity); /* it held the instance's key */
        buffer_free(&relay->prefix);
    }
    return true;
}

/* Looks at bytes that are there, without taking them, and lets pass what the scan knows. */
static enum relay_result allow_chunks(struct relay *relay) {
    static char bytes[PEEK_BYTES]; /* one thread, and nothing is kept in it */
    bool wants = relay->body.kind == HTTP_BODY_CHUNKED && relay->up.allowance == 0 && relay->up.held == 0;
    if (!wants || relay->is_stream || body_framing_is_done(&relay->body) || !relay->client->readable) {
        return RELAY_RUNS;
    }
    ssize_t seen = endpoint_receive(relay->client, bytes, sizeof bytes, MSG_PEEK);
    if (seen <= 0) {
        return seen == ENDPOINT_NOTHING ? RELAY_RUNS : RELAY_CLIENT_GONE;
    }
    relay->up.allowance = body_framing_scan(&relay->body, bytes, (size_t)seen);
    if (body_framing_is_invalid(&relay->body)) {
        return RELAY_BODY_INVALID;
    }
    bool is_too_large = relay->body_max_bytes > 0 && relay->body.data_size > relay->body_max_bytes;
    return is_too_large ? RELAY_BODY_TOO_LARGE : RELAY_RUNS;
}

static void allow_answer(struct relay *relay) {
    static char bytes[PEEK_BYTES];
    if (relay->down.allowance != 0 || !relay->instance->readable) {
        return;
    }
    ssize_t seen = endpoint_receive(relay->instance, bytes, sizeof bytes, MSG_PEEK);
    if (seen <= 0) {
        /* The channel sees the same end or failure, if it is one, and says it. */
        relay->down.allowance = seen == ENDPOINT_NOTHING ? 0 : CHANNEL_UNLIMITED;
        return;
    }
    relay->down.allowance = answer_scan_feed(&relay->answer, bytes, (size_t)seen);
    if (relay->answer.status == 101 && relay->may_upgrade) {
        become_stream(relay);
    } else if (relay->answer.status != 0) {
        relay->down.allowance = CHANNEL_UNLIMITED;
    }
}

static enum relay_result pump_up(struct relay *relay, bool *has_more) {
    if (!relay->instance_takes_no_more && !send_prefix(relay)) {
        relay->instance_takes_no_more = true;
    }
    if (relay->instance_takes_no_more || relay->prefix.length > 0 || relay->is_held || relay->client_ended) {
        return RELAY_RUNS;
    }
    enum relay_result result = allow_chunks(relay);
    if (result != RELAY_RUNS) {
        return result;
    }
    switch (channel_pump(&relay->up, relay->client, relay->instance, relay->pipes)) {
    case CHANNEL_WAITS:
        return RELAY_RUNS;
    case CHANNEL_PAUSED: /* more chunks may be there */
        *has_more |= !has_taken_body(relay) && relay->client->readable;
        return RELAY_RUNS;
    case CHANNEL_HAS_MORE:
        *has_more = true;
        return RELAY_RUNS;
    case CHANNEL_ENDED:
        if (!relay->is_stream) {
            return RELAY_CLIENT_GONE; /* in the middle of its body */
        }
        shutdown(relay->instance->fd, SHUT_WR);
        relay->client_ended = true;
        return RELAY_RUNS;
    case CHANNEL_SOURCE_FAILED:
        return RELAY_CLIENT_GONE;
    case CHANNEL_TARGET_FAILED:
        /* An instance may answer and close before it has read the whole body: its answer counts. */
        relay->instance_takes_no_more = true;
        return RELAY_RUNS;
    }
    return RELAY_RUNS;
}

static enum relay_result pump_down(struct relay *relay, bool *has_more) {
    allow_answer(relay);
    switch (channel_pump(&relay->down, relay->instance, relay->client, relay->pipes)) {
    case CHANNEL_WAITS:
        return RELAY_RUNS;
    case CHANNEL_PAUSED:
        *has_more |= relay->instance->readable;
        return RELAY_RUNS;
    case CHANNEL_HAS_MORE:
        *has_more = true;
        return RELAY_RUNS;
    case CHANNEL_ENDED:
        return RELAY_INSTANCE_ENDED;
    case CHANNEL_SOURCE_FAILED:
        return RELAY_INSTANCE_FAILED;
    case CHANNEL_TARGET_FAILED:
        return RELAY_CLIENT_GONE;
    }
    return RELAY_RUNS;
}

enum relay_result relay_pump(struct relay *relay) {
    bool has_more = false;
    enum relay_result up = pump_up(relay, &has_more);
    if (up != RELAY_RUNS) {
        return up;
    }
    bool was_stream = relay->is_stream;
    enum relay_result down = pump_down(relay, &has_more);
    if (down != RELAY_RUNS) {
        return down;
    }
    has_more |= relay->is_stream && !was_stream;
    /* The end of a stream comes behind its last bytes. Of an HTTP client nothing is read once its body is taken, so
     * that it went away must be looked for; a body cut off is seen by reading. */
    if (relay->client->readable && (!relay->is_stream || relay->client_ended) && endpoint_is_hung_up(relay->client)) {
        return RELAY_CLIENT_GONE;
    }
    if (has_more) {
        endpoint_wake(relay->client);
    }
    return RELAY_RUNS;
}

void relay_close(struct relay *relay) {
    channel_close(&relay->up, relay->pipes);
    channel_close(&relay->down, relay->pipes);
    if (relay->prefix.data != NULL) {
        explicit_bzero(relay->prefix.data, relay->prefix.capacity);
    }
    buffer_free(&relay->prefix);
}
