/* body_framing.h - where a request's body ends (RFC 9112 §6 and §7.1), so that no byte after it reaches an instance and
 * a body can be counted while it is moved by the kernel. No I/O; a framing belongs to its caller. */
#ifndef TERMINALS_GATE_BODY_FRAMING_H
#define TERMINALS_GATE_BODY_FRAMING_H

#include "gate/http_head.h"

enum chunk_state {
    CHUNK_SIZE,      /* the digits of a chunk's size */
    CHUNK_EXTENSION, /* ignored up to the LF */
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILER_START, /* the start of a trailer line, or of the empty line that ends all */
    TRAILER_LINE,
    TRAILER_LAST_LF,
    CHUNKS_DONE,
    CHUNKS_INVALID,
};

struct body_framing {
    enum http_body kind;
    uint64_t left;      /* LENGTH: bytes still to come; CHUNKED: of this chunk */
    uint64_t data_size; /* CHUNKED: data bytes so far, without the framing */
    enum chunk_state state;
    unsigned size_digits;
    unsigned line_bytes; /* of an extension or of all trailers, which are bounded */
};

/* Before the first byte of the body that `head` announces. */
void body_framing_start(struct body_framing *framing, const struct http_head *head);

/* True when the whole body has been scanned (CHUNKED) or taken (LENGTH); at once without a body. */
bool body_framing_is_done(const struct body_framing *framing);
bool body_framing_is_invalid(const struct body_framing *framing);

/* CHUNKED: scans bytes and returns how many of them belong to the body: fewer than `length` only if it ends or turns
 * invalid there. */
size_t body_framing_scan(struct body_framing *framing, const char *bytes, size_t length);

#endif
