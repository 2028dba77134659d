/* http_body.h - a JSON request body, and how FastAPI words what is wrong with one. Thread-safe. */
#ifndef TERMINALS_INSTANCE_HTTP_BODY_H
#define TERMINALS_INSTANCE_HTTP_BODY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/json.h"

enum http_body_problem {
    HTTP_BODY_FINE,
    HTTP_BODY_MISSING,   /* nothing was sent, or null */
    HTTP_BODY_NO_TEXT,   /* not UTF-8 */
    HTTP_BODY_NO_JSON,   /* see position and message */
    HTTP_BODY_NO_OBJECT, /* another JSON value (in *value), or a content type that is not JSON (*value: the text) */
    HTTP_BODY_OUT_OF_MEMORY,
};

struct http_body_syntax {
    size_t position;     /* in characters */
    const char *message; /* as Python's json module says it */
};

/* `content_type` may be NULL, which counts as JSON. *value, which the caller puts, may be set with a problem too. */
enum http_body_problem http_body_parse(const char *text, size_t length, const char *content_type,
                                       struct json_object **value, struct http_body_syntax *syntax);

#endif
