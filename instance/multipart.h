/* multipart.h - reads multipart/form-data (RFC 7578, RFC 2046 §5.1.1) as it arrives, in pieces of any size and in
 * constant memory: nothing of a part's content is kept.
 *
 * A parser belongs to one request. */
#ifndef TERMINALS_INSTANCE_MULTIPART_H
#define TERMINALS_INSTANCE_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

#define MULTIPART_BOUNDARY_MAX_BYTES 70   /* RFC 2046 §5.1.1 */
#define MULTIPART_HEADERS_MAX_BYTES  8192 /* of one part */

struct multipart_parser;

struct multipart_part {
    const char *name;     /* of the form's field; never NULL */
    const char *filename; /* NULL: a plain field. As sent, perhaps with a path, perhaps "" */
};

/* What the parser finds. Each returns false, with *err, to give up: the parser then fails with that error. */
struct multipart_events {
    bool (*part_begin)(void *state, const struct multipart_part *part, struct error *err);
    bool (*part_data)(void *state, const char *bytes, size_t length, struct error *err);
    bool (*part_end)(void *state, struct error *err);
};

/* A parser for a request with this Content-Type. NULL: ERROR_UNPROCESSABLE when it is not multipart/form-data (or
 * NULL), ERROR_INVALID when its boundary is missing or malformed, ERROR_INTERNAL for no memory. `events` must outlive
 * it. */
struct multipart_parser *multipart_new(const char *content_type, const struct multipart_events *events, void *state,
                                       struct error *err);
void multipart_free(struct multipart_parser *parser);

/* Takes the next piece. False: ERROR_INVALID for a malformed body, or what an event said; later calls fail too. */
bool multipart_feed(struct multipart_parser *parser, const char *bytes, size_t length, struct error *err);

/* The body is over. False if the closing boundary never came: ERROR_UNPROCESSABLE when it was cut, ERROR_INVALID when
 * there was no boundary at all. */
bool multipart_finish(const struct multipart_parser *parser, struct error *err);

#endif
