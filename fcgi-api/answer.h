/* answer.h - what goes back for one request: status, headers, body (JSON, but for exports and the admin page).
 *
 * `struct answer answer = {0};` is valid; whoever answers calls exactly one of the functions that set a status. Running
 * out of memory is remembered and becomes a 500 in answer_write(). An answer belongs to one thread. */
#ifndef TERMINALS_FCGI_API_ANSWER_H
#define TERMINALS_FCGI_API_ANSWER_H

#include <stdbool.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/json.h"

struct answer {
    int status;
    bool omits_body;           /* the answer to HEAD: everything but the body itself */
    const char *content_type;  /* constant text; NULL: JSON */
    const char *cache_control; /* constant text; NULL: no-store */
    struct buffer headers;     /* lines of HTTP, CR LF included, without what answer_write() adds */
    struct buffer body;
};

/* Adds a header. `value` holds no control character: the caller has checked it. */
void answer_add_header(struct answer *answer, const char *name, const char *value);

/* A JSON value (NULL is JSON null, or no memory), borrowed. */
void answer_json(struct answer *answer, int status, struct json_object *body);

/* A body that is text already: JSON, or what content_type says. */
void answer_text(struct answer *answer, int status, const char *text, size_t length);

/* What the caller has appended to `answer->body`, which is of another type. */
void answer_other(struct answer *answer, int status, const char *content_type);

/* {"detail": "…"} */
void answer_detail(struct answer *answer, int status, const char *detail);

/* The one place where an error becomes HTTP: the status of its code, WWW-Authenticate on 401 (RFC 9110 §11.6.1),
 * Retry-After on 503. */
void answer_error(struct answer *answer, const struct error *err);

/* 422 with one entry, in the shape clients know from FastAPI: {"detail": [{"type", "loc": [place, name], "msg",
 * "input": null}]}. */
void answer_missing_header(struct answer *answer, const char *name);

/* Adds such an entry to a list, which is made if there is none yet. False: no memory. */
bool answer_entry_add(struct json_object **entries, const char *place, const char *name, const char *type,
                      const char *message, const char *input);

/* 422 with a list of entries, borrowed (query.h makes them). */
void answer_unprocessable(struct answer *answer, struct json_object *entries);

/* Appends the whole answer as a FastCGI responder or authorizer writes it (RFC 3875 §6: `Status:`, headers, empty line,
 * body). False: no memory. */
bool answer_write(const struct answer *answer, struct buffer *out);

/* Frees what it holds; `{0}` holds nothing. */
void answer_free(struct answer *answer);

#define cleanup_answer __attribute__((cleanup(answer_free)))

#endif
