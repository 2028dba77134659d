/* query.h - the query of a WebSocket's target: taking out the parameters that are for us, leaving the rest byte for
 * byte. Names and values are form-encoded (`+` is a space), as Open Terminal's own framework reads them. No state,
 * thread-safe. */
#ifndef TERMINALS_GATE_QUERY_H
#define TERMINALS_GATE_QUERY_H

#include "common/buffer.h"
#include "common/error.h"
#include "gate/span.h"

/* Looks for the parameter `name` (whose name may be percent-encoded itself) in a target's query. *value becomes its
 * decoded value, which the caller frees, or NULL if it is not there. False with ERROR_INVALID when it is there several
 * times with different values or holds a NUL, ERROR_INTERNAL when memory runs out. */
bool query_parameter(struct span target, const char *name, char **value, struct error *err);

/* Appends the target without the parameters in `names` (ends with NULL); without `?` if nothing is left of the query.
 */
bool query_append_without(struct buffer *out, struct span target, const char *const *names);

#endif
