/* http.h - requests and responses as the handlers of the instance see them. libmicrohttpd does not show through.
 *
 * A handler is a row of a route table (routes.h). It is called on the one thread of the process when the request's head
 * and, by the row's body mode, its body are there. It answers with exactly one http_respond_…() call, at once or later:
 * a handler that returns without an answer leaves the client waiting, holds no thread, and answers when its event comes
 * (keep the pointer, and use http_set_state() to learn that the request is over). Nothing here may block for long.
 *
 * What an accessor returns is borrowed and lives as long as the request. Not thread-safe: one thread, one loop. */
#ifndef TERMINALS_INSTANCE_HTTP_H
#define TERMINALS_INSTANCE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buffer.h"
#include "common/json.h"

struct http_request;
struct instance;

/* ---- routes ---- */

enum http_body_mode {
    HTTP_BODY_IGNORED,  /* a body is read and dropped */
    HTTP_BODY_JSON,     /* buffered (HTTP_JSON_BODY_MAX_BYTES, else 413) and parsed before `handle`: http_json() */
    HTTP_BODY_STREAMED, /* given to `reader` piece by piece; `handle` is called after the last one */
};

#define HTTP_JSON_BODY_MAX_BYTES (64 * 1024 * 1024)

struct http_body_reader {
    /* The head is there, no byte of the body is read yet. May answer already (then `take` and `handle` are not called,
     * and the body is dropped). */
    void (*begin)(struct http_request *request);
    /* A piece of the body, of any size. Returns how many bytes it took; when fewer than `length`, no more is read until
     * http_resume(). May answer: the rest is then dropped, and `handle` is not called. */
    size_t (*take)(struct http_request *request, const char *bytes, size_t length);
};

struct http_route {
    const char *method;  /* "GET"; "*" is any */
    const char *pattern; /* "/execute/{process_id}/status"; a last segment "{path...}" takes the rest, slashes included,
                            perhaps empty */
    enum http_body_mode body;
    bool is_open; /* needs no key */
    void (*handle)(struct http_request *request);
    const struct http_body_reader *reader; /* HTTP_BODY_STREAMED only */
    /* Called instead of `handle` for a WebSocket handshake, and without a key being asked for; NULL: refused with 403.
     */
    void (*upgrade)(struct http_request *request);
    /* False: as if the route were not there. NULL: it always is. */
    bool (*is_offered)(const struct instance *instance);
};

/* Ends a route table. */
#define HTTP_ROUTES_END                                                                                                \
    { 0 }

/* ---- the request ---- */

/* Whose request it is. */
struct instance *http_instance(const struct http_request *request);

/* True if the request carries the key, or none is asked for. Routes are behind it by themselves; `upgrade` is not. */
bool http_is_authorized(const struct http_request *request);

/* "GET", as the client wrote it. */
const char *http_method(const struct http_request *request);

/* The query as it was sent, still encoded: "directory=a%20b" (without "?"; "" when there is none). */
const char *http_raw_query(const struct http_request *request);

/* The percent-decoded value of {name}, with its length in *length if that is not NULL (it may hold a NUL byte, from
 * %00). The route decides which names there are. */
const char *http_path_parameter(const struct http_request *request, const char *name, size_t *length);

/* The rest that "{path...}" took, still percent-encoded. */
const char *http_raw_path_rest(const struct http_request *request);

/* A query parameter, decoded (application/x-www-form-urlencoded: + is a space). NULL when it is absent or, in any case,
 * the word "null", which clients send for "not given"; "" when it is empty. Of several the last one wins. */
const char *http_query(struct http_request *request, const char *name, size_t *length);

/* The index-th value of a repeated parameter, from 0; NULL past the last one. "null" is skipped. */
const char *http_query_at(struct http_request *request, const char *name, size_t index, size_t *length);

/* The first header of that name, any case; NULL if there is none. */
const char *http_header(const struct http_request *request, const char *name);

/* Calls `each` for every request header in the order in which they came. */
void http_each_header(const struct http_request *request,
                      void (*each)(void *state, const char *name, const char *value), void *state);

/* The JSON body, an object always once http_refused_as_invalid() has said no (NULL before, if it is none). A handler
 * asks that first: a body that is missing or no object is noted there. */
struct json_object *http_json(const struct http_request *request);

/* Ties `state` to the request: `release` (may be NULL) is called once when the request is over, answered or not, also
 * when the client went away; after that the request pointer is dead. */
void http_set_state(struct http_request *request, void *state, void (*release)(void *state));
void *http_state(const struct http_request *request);

/* Goes on with a request whose reader took less than it was given, or whose response source had nothing. */
void http_resume(struct http_request *request);

/* ---- validation, with the shapes and sentences of FastAPI 0.115 (pydantic 2) ---- */

/* Notes one problem {type, loc: [place, name], msg, input} and, if not NULL, ctx. `input` and `context` are taken over;
 * a NULL input is JSON null. */
void http_invalid(struct http_request *request, const char *type, const char *place, const char *name,
                  const char *message, struct json_object *input, struct json_object *context);

/* The same with any `loc` (an array, taken over): for positions deeper in the body. */
void http_invalid_at(struct http_request *request, const char *type, struct json_object *location, const char *message,
                     struct json_object *input, struct json_object *context);

/* True if problems were noted; the 422 with all of them is then sent, and the handler just returns. */
bool http_refused_as_invalid(struct http_request *request);

/* Each getter below notes what is wrong and returns false; true leaves the value, or the default that was there, in
 * *value. "Required": absence is a problem ("Field required"). */
bool http_query_text(struct http_request *request, const char *name, bool required, const char **value);
bool http_query_integer(struct http_request *request, const char *name, int64_t minimum, int64_t maximum,
                        int64_t *value); /* INT64_MIN and INT64_MAX: no bound */
bool http_query_number(struct http_request *request, const char *name, double minimum, double maximum, double *value);
bool http_query_boolean(struct http_request *request, const char *name, bool *value);

/* Text of the client's for the "input" of a problem: what is no UTF-8 is told as U+FFFD (Python's "replace"), a very
 * long one as JSON null. */
struct json_object *http_echo(const char *text, size_t length);

/* Members of the body. JSON null is like absence when not required, else a wrong type. A text may hold NUL bytes
 * (\u0000): compare its length (which may be NULL) with strlen(). */
bool http_json_text(struct http_request *request, const char *name, bool required, const char **value, size_t *length);
bool http_json_array(struct http_request *request, const char *name, bool required, struct json_object **value);
bool http_json_integer(struct http_request *request, const char *name, bool required, int64_t *value);

/* ---- the response ---- */

/* Adds a header to the answer that follows. Not for Content-Length, Transfer-Encoding, Date, Content-Type.
 * A value with control characters is dropped. */
void http_add_header(struct http_request *request, const char *name, const char *value);

/* `body` is taken over; NULL (memory ran out while it was made) becomes a 500. */
void http_respond_json(struct http_request *request, int status, struct json_object *body);

/* {"detail": "…"}; a sentence of any length. */
void http_respond_error(struct http_request *request, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The content of `body`, which is empty afterwards; one whose append failed becomes a 500. For JSON that is written by
 * hand because it is hot. `content_type` is copied. */
void http_respond_buffer(struct http_request *request, int status, const char *content_type, struct buffer *body);

/* Bytes that live for ever: nothing is copied. */
void http_respond_static(struct http_request *request, int status, const char *content_type, const void *bytes,
                         size_t length);

/* `length` bytes of a regular file from `offset` on; `fd` is taken over. Sent with sendfile(2). */
void http_respond_file(struct http_request *request, int status, const char *content_type, int fd, off_t offset,
                       uint64_t length);

#define HTTP_LENGTH_UNKNOWN UINT64_MAX /* sent chunked */

enum { HTTP_SOURCE_LATER = 0, HTTP_SOURCE_END = -1, HTTP_SOURCE_FAILED = -2 };

/* A body made as it is sent. `read` returns how many bytes it put into `out`, or HTTP_SOURCE_LATER (and http_resume()
 * is called when there is more), HTTP_SOURCE_END, HTTP_SOURCE_FAILED (the connection is cut, so the client notices).
 * `release` (may be NULL) is called once with `state` when it is over, however it ends, also if no answer could be
 * made. `content_type` may be NULL: none is sent. */
void http_respond_source(struct http_request *request, int status, const char *content_type, uint64_t length,
                         ssize_t (*read)(void *state, char *out, size_t size), void *state,
                         void (*release)(void *state));

#endif
