/* websocket_handshake.h - both sides of the opening handshake of a terminal (RFC 6455 §4): checking the client's,
 * finding out how it proves itself, and opening the instance's. No state, thread-safe. */
#ifndef TERMINALS_GATE_WEBSOCKET_HANDSHAKE_H
#define TERMINALS_GATE_WEBSOCKET_HANDSHAKE_H

#include "common/buffer.h"
#include "common/error.h"
#include "gate/http_head.h"

#define WEBSOCKET_KEY_SIZE    25 /* base64 of 16 bytes and a NUL */
#define WEBSOCKET_ACCEPT_SIZE 29 /* base64 of a SHA-1 and a NUL */

/* True if the request wants to become a WebSocket, well-formed or not. */
bool websocket_is_upgrade(const struct http_head *head);

/* True if the target is `/api/terminals/{session}`; *session is the one path segment, as it stands there. */
bool websocket_is_terminal(const struct http_head *head, struct span *session);

/* Checks what §4.2.1 demands. False with ERROR_INVALID; *status becomes 400, or 426 when it is only the version. */
bool websocket_check_request(const struct http_head *head, int *status, struct error *err);

/* Appends the answer that accepts (§4.2.2): no extensions, no subprotocol. */
bool websocket_append_accept(struct buffer *out, const struct http_head *head);

/* How the client of a terminal says who it is. Free with websocket_claims_free(). */
struct websocket_claims {
    char *authorization; /* secret: the value for HTTP_AUTHORIZATION, or NULL: the first message will bring it */
    char *user_id;       /* from the query, only if no header says it; else NULL */
    char *context_id;    /* the same */
};

/* False with ERROR_UNAUTHORIZED (a bad token) or ERROR_INVALID (a bad or contradictory user or context). */
bool websocket_read_claims(struct websocket_claims *claims, const struct http_head *head, struct error *err);
void websocket_claims_free(struct websocket_claims *claims);

/* Appends a target as an instance may see it: without `token`, `user_id` and `context_id`. */
bool websocket_append_target(struct buffer *out, const struct http_head *head);

/* A new random key for our own handshake. */
bool websocket_random_key(char key[WEBSOCKET_KEY_SIZE]);

/* Appends our request to the instance (§4.1); `authority` is the Host to use if the client sent none. No Authorization:
 * the instance's key follows as the first message, which is what Open Terminal expects. */
bool websocket_append_request(struct buffer *out, const struct http_head *head, const char *authority, const char *key);

/* True if the instance's answer accepts our handshake with `key` and offers nothing that we did not ask for. */
bool websocket_check_answer(const struct http_head *answer, const char *key);

#endif
