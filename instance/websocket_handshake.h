/* websocket_handshake.h - the opening handshake of a WebSocket, server side (RFC 6455 §4.2). Thread-safe. */
#ifndef TERMINALS_INSTANCE_WEBSOCKET_HANDSHAKE_H
#define TERMINALS_INSTANCE_WEBSOCKET_HANDSHAKE_H

#include <stdbool.h>

#include "instance/http.h"

#define WEBSOCKET_ACCEPT_SIZE 29 /* 20 bytes in base64 and a NUL */

/* True if the request has "Upgrade: websocket" and "Connection: … upgrade …". */
bool websocket_is_asked_for(const struct http_request *request);

/* Checks version and key. What is wrong with them, or NULL if nothing is and `accept` holds the value of
 * Sec-WebSocket-Accept. The result lives as long as the request. */
const char *websocket_check_handshake(const struct http_request *request, char accept[WEBSOCKET_ACCEPT_SIZE]);

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; false if that is not the base64 of 16 bytes. */
bool websocket_accept_value(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE]);

/* True if `token` is one of the comma-separated tokens of a header value, in any case (RFC 9110 §5.6.1). */
bool websocket_header_has_token(const char *value, const char *token);

#endif
