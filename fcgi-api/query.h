/* query.h - the query string of an API call: which names it takes, what their values may be, and the provisioner's
 * request they become. Names that a call does not know are ignored. Thread-safe. */
#ifndef TERMINALS_FCGI_API_QUERY_H
#define TERMINALS_FCGI_API_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"

#define QUERY_FIELDS_MAX 8

enum query_type {
    QUERY_TEXT,    /* at most 256 bytes */
    QUERY_NUMBER,  /* minimum to maximum */
    QUERY_SWITCH,  /* true, false and their friends */
    QUERY_CHOICE,  /* one of choices */
    QUERY_TIME,    /* RFC 3339; becomes UTC */
    QUERY_POLICY,  /* a policy id */
    QUERY_CONTEXT, /* a context id; empty is `default` */
};

/* A table of these ends with a NULL name and has QUERY_FIELDS_MAX rows at most. */
struct query_field {
    const char *name; /* also the member of the provisioner's request */
    enum query_type type;
    int64_t minimum;
    int64_t maximum;
    const char *const *choices; /* NULL-terminated */
    const char *fallback;       /* the value when it is absent; NULL: no member then */
};

/* Adds a member for each field to `request`. False with *err: ERROR_INVALID (a bad policy or context id),
 * ERROR_UNPROCESSABLE with *entries, one for each bad value (for answer_unprocessable(), the caller puts them),
 * ERROR_INTERNAL. `fields` may be NULL. */
bool query_read(const char *query, const struct query_field *fields, struct json_object *request,
                struct json_object **entries, struct error *err);

#endif
