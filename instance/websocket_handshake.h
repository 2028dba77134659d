/* websocket_handshake.h - the opening handshake of a WebSocket, server side (RFC 6455 §4.2). Thread-safe. */
#ifndef TERMINALS_INSTANCE_WEBSOCKET_HANDSHAKE_H
#define TERMINALS_INSTANCE_WEBSOCKET_HANDSHAKE_H

#include <stdbool.h>

#include "instance/http.h"

#define WEBSOCKET_ACCEPT_SIZE  29 /* 20 bytes in base64 and a NUL */
#define WEBSOCKET_PROBLEM_SIZE 128

/* True if the request has "Upgrade: websocket" and "Connection: … upgrade …". */
bool websocket_is_asked_for(const struct http_request *request);

/* Checks key and version. True if nothing is wrong with them and `accept` holds the value of Sec-WebSocket-Accept; else
 * `problem` says what, in the words of the original. */
bool websocket_check_handshake(const struct http_request *request, char accept[WEBSOCKET_ACCEPT_SIZE],
                               char problem[WEBSOCKET_PROBLEM_SIZE]);

/* Answers a handshake with plain text ("" for none) and ends the connection. */
void websocket_refuse(struct http_request *request, int status, const char *text);

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; false if that is not the base64 of 16 bytes. */
bool websocket_accept_value(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE]);

/* True if `token` is one of the comma-separated tokens of a header value, in any case (RFC 9110 §5.6.1). */
bool websocket_header_has_token(const char *value, const char *token);

#endif
