/* http_call.h - one small HTTP request to an instance, on the event loop: health probes, /openapi.json, commands.
 *
 * HTTP/1.0 towards an IP address: the answer ends with the connection and is never chunked (RFC 9112 §7.1.1), which is
 * all that is needed here. */
#ifndef TERMINALS_PROVISIONER_HTTP_CALL_H
#define TERMINALS_PROVISIONER_HTTP_CALL_H

#include <errno.h>
#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct http_call;

#define HTTP_CALL_REFUSED strerrordesc_np(ECONNREFUSED)

/* Borrowed during the call. */
struct http_call_request {
    const char *host; /* an IP address */
    uint16_t port;
    const char *path;
    const char *json;      /* the body of a POST; NULL: a GET */
    const char *key;       /* bearer token, NULL: none; no control characters */
    int timeout_ms;        /* for all of it */
    size_t body_max_bytes; /* 0: the status is all that is asked for */
};

/* `status` is 0, with `body` NULL and `failure` saying why, when there was no complete answer; HTTP_CALL_REFUSED, where
 * nobody listens. `body` is borrowed and followed by a NUL. */
typedef void http_call_done(void *argument, int status, const char *body, size_t length, const char *failure);

/* Calls `done` once, later (never from inside this call), unless cancelled before. NULL: no memory, or not an IP
 * address. */
struct http_call *http_call_start(struct event_base *base, const struct http_call_request *request,
                                  http_call_done *done, void *argument);

/* Not after `done`. NULL is fine. */
void http_call_cancel(struct http_call *call);

#endif
