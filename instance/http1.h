/* http1.h - reads the answer of an HTTP/1.1 server piece by piece (RFC 9112). Thread-safe. */
#ifndef TERMINALS_INSTANCE_HTTP1_H
#define TERMINALS_INSTANCE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP1_HEAD_MAX_BYTES (64 * 1024)

enum http1_framing { HTTP1_LENGTH, HTTP1_CHUNKED, HTTP1_UNTIL_CLOSE };

struct http1_head {
    int status;
    enum http1_framing framing;
    uint64_t length; /* HTTP1_LENGTH */
};

/* Where the head ends (after its empty line) in the bytes so far; 0: not there yet. */
size_t http1_find_head_end(const char *bytes, size_t length);

/* Parses a head of `length` bytes (all of it, changed in place) and calls `each` for every field that is meant for the
 * client: no hop-by-hop ones (RFC 9110 §7.6.1), no Content-Length, no Date. False if it is no answer. */
bool http1_parse_head(char *head, size_t length, bool is_answer_to_head, struct http1_head *out,
                      void (*each)(void *state, const char *name, const char *value), void *state);

/* True for a field that belongs to one connection only. */
bool http1_is_hop_by_hop(const char *name);

/* The body's framing, taken apart. Starts as {0} with framing and, for HTTP1_LENGTH, left. */
struct http1_body {
    enum http1_framing framing;
    uint64_t left; /* of the length, or of the chunk */
    int state;     /* where in a chunk we are */
    bool is_complete;
};

/* Takes content out of `bytes` into `out` (`size` bytes at most); *used says how many bytes are done with. Returns how
 * much content there is, -1 if the framing is broken. */
ptrdiff_t http1_read_body(struct http1_body *body, const char *bytes, size_t length, size_t *used, char *out,
                          size_t size);

#endif
