/* cors.h - which other web origins may call this instance (https://fetch.spec.whatwg.org/#http-cors-protocol). */
#ifndef TERMINALS_INSTANCE_CORS_H
#define TERMINALS_INSTANCE_CORS_H

#include <stdbool.h>

#include "instance/http_request.h"

/* True if `origin` is in the comma-separated list, or the list is "*" or NULL. */
bool cors_allows(const char *allowed_origins, const char *origin);

/* Answers a preflight request (OPTIONS with Origin and Access-Control-Request-Method); false if it is none. */
bool cors_answer_preflight(struct http_request *request);

/* What any answer to a request with an Origin says: may a page of that origin read it? */
void cors_add_headers(const struct http_request *request, struct MHD_Response *response);

#endif
