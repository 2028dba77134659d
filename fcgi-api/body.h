/* body.h - the JSON body of an API call: reading it, and what members it may have. Thread-safe. */
#ifndef TERMINALS_FCGI_API_BODY_H
#define TERMINALS_FCGI_API_BODY_H

#include <stdbool.h>

#include "fcgi-api/answer.h"
#include "fcgi-api/request.h"

#define BODY_MAX_BYTES (64 * 1024)
#define BODY_MAX_DEPTH 33 /* the provisioner's messages carry it some levels further down, and take 64 */

enum body_type { BODY_TEXT, BODY_SWITCH };

/* A table of these ends with a NULL name. */
struct body_field {
    const char *name; /* also the member of the provisioner's request */
    enum body_type type;
    bool is_required;
};

/* The body as an object, which the caller puts; `may_be_absent`: none at all is an empty object. NULL: an answer was
 * given, 400 for what is no JSON, 422 for what is no object. */
struct json_object *body_read(const struct request *request, bool may_be_absent, struct answer *answer);

/* Adds the members of a body to the provisioner's request. A member that the table does not have is an error: one that
 * is misspelt must not widen what a call is about. False: an answer was given. */
bool body_add_fields(struct json_object *body, const struct body_field *fields, struct json_object *request,
                     struct answer *answer);

/* The data of a policy in `{"data": {…}}`, or the body itself less its `id`. Borrowed from `body`, which is changed.
 * NULL: an answer was given. */
struct json_object *body_policy_data(struct json_object *body, struct answer *answer);

/* 422 about one member; a NULL name means the whole body. */
void body_refuse(struct answer *answer, const char *name, const char *type, const char *message);

#endif
