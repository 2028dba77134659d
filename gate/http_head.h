/* http_head.h - a strict parser for the head of an HTTP/1.x message (RFC 9112), request or answer.
 *
 * Strict because two programs that read one head differently are how requests are smuggled: whatever is doubtful is
 * refused, never repaired. Refused are: line ends other than CRLF, NUL and control characters, folded lines, names that
 * are no tokens, a space before the colon, two Content-Length or Host, Content-Length together with Transfer-Encoding,
 * a Transfer-Encoding other than `chunked`, targets that are neither `/…` nor `OPTIONS *`. No state, thread-safe. */
#ifndef TERMINALS_GATE_HTTP_HEAD_H
#define TERMINALS_GATE_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "gate/span.h"

#define HTTP_HEAD_MAX_BYTES   (64 * 1024)
#define HTTP_HEAD_MAX_HEADERS 256

enum http_body { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED };

struct http_header {
    struct span name;
    struct span value; /* without the white space around it */
};

struct http_head {
    struct span method; /* requests */
    struct span target;
    struct span version;
    int status; /* answers */
    struct http_header headers[HTTP_HEAD_MAX_HEADERS];
    size_t header_count;
    enum http_body body; /* as the headers announce it */
    uint64_t content_length;
};

/* The number of bytes up to and with the empty line that ends a head, or 0 if `bytes` does not hold a whole head. */
size_t http_head_find_end(const char *bytes, size_t length);

/* Parses a whole head (its length from http_head_find_end()). The spans of *head point into `bytes`, which must live
 * as long. False with ERROR_INVALID. */
bool http_head_parse_request(struct http_head *head, const char *bytes, size_t length, struct error *err);
bool http_head_parse_answer(struct http_head *head, const char *bytes, size_t length, struct error *err);

/* How often a header is there, and the value of its first (a NULL span if there is none). */
size_t http_head_count(const struct http_head *head, const char *name);
struct span http_head_value(const struct http_head *head, const char *name);

/* True if one of the headers called `name` has `token` in its comma-separated list, in any case. */
bool http_head_lists(const struct http_head *head, const char *name, const char *token);

#endif
