/* authorizer_answer.h - what the authorizer decided, read from its CGI-style answer (FastCGI 1.0 §6.3: `Status: 200`
 * and `Variable-…` headers, or the error answer for the client). No state, thread-safe. */
#ifndef TERMINALS_GATE_AUTHORIZER_ANSWER_H
#define TERMINALS_GATE_AUTHORIZER_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct authorizer_answer {
    int status; /* 200: allowed; else 400 to 599: the answer for the client */
    char *user; /* allowed: all three are set, valid UTF-8 and without control characters */
    char *policy;
    char *context;
    char *www_authenticate; /* refused: passed on where not NULL */
    char *retry_after;
    char *body; /* refused: the JSON body, NUL-terminated */
    size_t body_length;
};

/* Anything that is not clearly an answer is ERROR_BACKEND: nobody is let in by garbage. On failure *answer needs no
 * free. */
bool authorizer_answer_parse(struct authorizer_answer *answer, const char *text, size_t length, struct error *err);
void authorizer_answer_free(struct authorizer_answer *answer);

#endif
