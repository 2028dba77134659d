/* websocket.h - one open WebSocket (RFC 6455) in the event loop, server side, framed by wslay.
 *
 * Pings are answered and text is checked to be UTF-8 here. A message of more than WEBSOCKET_MESSAGE_MAX_BYTES ends it
 * with 1009. Flow control is the owner's: look at websocket_queued_bytes() before making more, and stop reading with
 * websocket_pause(). */
#ifndef TERMINALS_INSTANCE_WEBSOCKET_H
#define TERMINALS_INSTANCE_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "instance/http.h"

#define WEBSOCKET_MESSAGE_MAX_BYTES (4 * 1024 * 1024)

struct websocket;

struct websocket_events {
    /* A whole message. */
    void (*message)(void *owner, bool is_text, const char *bytes, size_t length);
    /* All that was queued is written. */
    void (*drained)(void *owner);
    /* The connection is over, for whatever reason; the websocket is freed when this returns. Called exactly once. */
    void (*closed)(void *owner);
};

/* Answers the handshake: 400 if it is a bad one, else 101, and then `opened` is called with the websocket; it returns
 * the owner (given to the events), or NULL to have it dropped. `context` is from malloc() and freed afterwards, also if
 * the client never gets there. */
void websocket_answer(struct http_request *request, const struct websocket_events *events,
                      void *(*opened)(struct instance *instance, struct websocket *websocket, const char *context),
                      char *context);

/* Sends a binary message. False: no memory, or closing already. */
bool websocket_send(struct websocket *websocket, const void *bytes, size_t length);

/* How many bytes of messages wait to be written. */
size_t websocket_queued_bytes(const struct websocket *websocket);

/* Stops reading from the client, and goes on. */
void websocket_pause(struct websocket *websocket, bool is_paused);

/* Starts the closing handshake, or the end of it; `reason` is at most 123 bytes. `closed` follows, at the latest after
 * WEBSOCKET_CLOSE_TIMEOUT_MS if the client does not answer. */
#define WEBSOCKET_CLOSE_TIMEOUT_MS 1000
void websocket_close(struct websocket *websocket, uint16_t code, const char *reason);

/* Cuts the connection now, without a `closed` event. */
void websocket_drop(struct websocket *websocket);

#endif
