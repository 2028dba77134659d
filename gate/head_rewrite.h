/* head_rewrite.h - the head that an instance gets, made from the head that HAProxy sent.
 *
 * Byte for byte the same, except: without what is ours or the client's own business (Authorization, X-User-Id, …) and
 * what belongs to one hop (RFC 9110 §7.6.1); with the instance's key and `Connection: close`. No state, thread-safe. */
#ifndef TERMINALS_GATE_HEAD_REWRITE_H
#define TERMINALS_GATE_HEAD_REWRITE_H

#include "common/buffer.h"
#include "gate/http_head.h"

/* Appends the head for an instance to `out`. `keep_upgrade`: the request is an upgrade that the instance may accept.
 * `key` may be "" (an instance without a key). False when memory runs out. */
bool head_rewrite(struct buffer *out, const struct http_head *head, const char *key, bool keep_upgrade);

/* Appends, for a WebSocket handshake of our own, the headers of the client's that an instance may want to see:
 * everything that head_rewrite() passes on but Host, the body's and the WebSocket's own headers. */
bool head_append_passed_headers(struct buffer *out, const struct http_head *head);

#endif
