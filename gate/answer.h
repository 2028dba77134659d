/* answer.h - the answers that the gate gives by itself: JSON, `Connection: close`. No state, thread-safe. */
#ifndef TERMINALS_GATE_ANSWER_H
#define TERMINALS_GATE_ANSWER_H

#include <stdbool.h>

#include "common/buffer.h"
#include "gate/authorizer_answer.h"

#define ANSWER_RETRY_AFTER_SECONDS 5

/* Appends a whole answer with `{"detail": "<detail>"}`; 503 gets a Retry-After, 426 what §4.4 of RFC 6455 wants. */
bool answer_append_error(struct buffer *out, int status, const char *detail, bool is_head);

/* Appends `200 {"status": true}`. */
bool answer_append_healthy(struct buffer *out, bool is_head);

/* Appends the authorizer's refusal as it is. */
bool answer_append_refusal(struct buffer *out, const struct authorizer_answer *refusal, bool is_head);

#endif
