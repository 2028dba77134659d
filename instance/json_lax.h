/* json_lax.h - JSON values as pydantic takes them when it is not strict: "yes" for true, "3" and 3.0 for 3.
 * Thread-safe. */
#ifndef TERMINALS_INSTANCE_JSON_LAX_H
#define TERMINALS_INSTANCE_JSON_LAX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/json.h"

/* What is wrong with a value, in pydantic's words. */
struct json_problem {
    const char *type;
    const char *message;
};

/* False with *problem: it is nothing that means true or false. */
bool json_lax_boolean(struct json_object *value, bool *result, struct json_problem *problem);

/* A number too large for 64 bits is as good as the largest. */
bool json_lax_integer(struct json_object *value, int64_t *result, struct json_problem *problem);

/* The words for true and false, in any case: "true", "1", "on", "t", "yes", "y" and their opposites. */
bool json_lax_word(const char *text, bool *result);

/* A whole number in a text: with blanks around it, a sign, an underscore between digits, and a fraction of zeros if it
 * has one. What is too large for 64 bits becomes the largest. */
bool json_lax_number(const char *text, size_t length, int64_t *result);

/* Any number in a text, "nan" and "inf" among them. */
bool json_lax_decimal(const char *text, size_t length, double *result);

#endif
