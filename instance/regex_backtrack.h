/* regex_backtrack.h - the expressions that no automaton can do, by PCRE2: look-around, back references, atomic groups
 * and possessive repeats, conditions, flags for a part only.
 *
 * Such an expression may take exponential time. So a line on which it takes too many steps is given up, and after some
 * such lines all others; who asks can know that. (PCRE2's just-in-time compiler is not used: it counts no steps within
 * repeats, and was seen to take minutes on one line in spite of the limit.) A compiled one belongs to one thread. */
#ifndef TERMINALS_INSTANCE_REGEX_BACKTRACK_H
#define TERMINALS_INSTANCE_REGEX_BACKTRACK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct regex_backtrack;

/* NULL: ERROR_INVALID, in PCRE2's words ("… at position 3"), or ERROR_INTERNAL for no memory. */
struct regex_backtrack *regex_backtrack_compile(const char *pattern, size_t length, bool ignore_case,
                                                struct error *err);

/* Another one, for another thread, to be freed before the first. NULL: no memory. */
struct regex_backtrack *regex_backtrack_share(const struct regex_backtrack *other);

/* Does it match anywhere in this line? What is no UTF-8 does not match. */
bool regex_backtrack_search(struct regex_backtrack *regex, const char *line, size_t length);

/* Were lines given up so far? */
bool regex_backtrack_gave_up(const struct regex_backtrack *regex);

/* NULL is fine. */
void regex_backtrack_free(struct regex_backtrack *regex);

#endif
