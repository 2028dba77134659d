/* authorizer.h - asks terminals-api who a request is and where it may go: FastCGI over a fresh Unix connection for each
 * ask, without waiting (docs/internals.md, "terminals-gate to terminals-api"). An ask changes nothing, so one whose
 * authorizer died under it is simply asked again while there is time. */
#ifndef TERMINALS_GATE_AUTHORIZER_H
#define TERMINALS_GATE_AUTHORIZER_H

#include <event2/event.h>

#include "common/buffer.h"
#include "common/error.h"
#include "gate/authorizer_answer.h"
#include "gate/limits.h"

struct authorizer_ask;

/* Called exactly once, never from within authorizer_ask_start(), unless the ask is cancelled; the ask is gone then.
 * `answer` belongs to the caller of the callback; it is NULL when there is none, and *err says why: ERROR_CAPACITY (the
 * authorizer is away), ERROR_TIMEOUT, ERROR_BACKEND (it answered nonsense), ERROR_INTERNAL. */
typedef void authorizer_callback(void *context, const struct authorizer_answer *answer, const struct error *err);

/* `params` are name-value pairs from fcgi_append_param(). NULL: no memory. */
struct authorizer_ask *authorizer_ask_start(struct event_base *base, const char *socket_path,
                                            const struct buffer *params, const struct gate_limits *limits,
                                            authorizer_callback *callback, void *context);
void authorizer_ask_cancel(struct authorizer_ask *ask);

#endif
