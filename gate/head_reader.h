/* head_reader.h - takes exactly the head of an HTTP message off a socket, and not one byte of what follows it. */
#ifndef TERMINALS_GATE_HEAD_READER_H
#define TERMINALS_GATE_HEAD_READER_H

#include "common/buffer.h"
#include "gate/endpoint.h"

enum head_read {
    HEAD_MORE,     /* call again when the endpoint is readable */
    HEAD_COMPLETE, /* `head` holds it, up to and with the empty line */
    HEAD_TOO_LONG, /* above HTTP_HEAD_MAX_BYTES */
    HEAD_ENDED,    /* the peer has closed or reset the connection, or there is no memory */
};

/* Takes what there is; `head` grows from call to call, and begins empty. */
enum head_read head_read(struct endpoint *endpoint, struct buffer *head);

#endif
