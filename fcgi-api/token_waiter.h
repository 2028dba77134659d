/* token_waiter.h - a request that is put aside while somebody else is asked about its token.
 *
 * No thread waits: the worker that has the request leaves it to the waiter and takes the next one, and when the outcome
 * is known `resume` gives the request to a worker again, which answers it from the start with the outcome at hand. So a
 * slow Open WebUI keeps nobody from being served who does not need it. */
#ifndef TERMINALS_FCGI_API_TOKEN_WAITER_H
#define TERMINALS_FCGI_API_TOKEN_WAITER_H

#include <stdbool.h>

#include "common/error.h"
#include "common/names.h"

/* What came of checking a user's token. */
struct token_outcome {
    struct error err; /* ERROR_NONE: it is good */
    char user_id[NAME_USER_ID_MAX_BYTES + 1];
};

struct token_waiter {
    struct token_waiter *next;
    bool is_settled; /* `outcome` is known */
    struct token_outcome outcome;
    /* Called once, from any thread, with `outcome` set. The waiter may be gone when it returns. */
    void (*resume)(struct token_waiter *waiter);
};

#endif
