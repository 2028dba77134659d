/* regex_literal.h - texts of which every match of a pattern contains at least one: looking for them first, with
 * memchr(3), passes over what cannot match at the speed of memory. */
#ifndef TERMINALS_INSTANCE_REGEX_LITERAL_H
#define TERMINALS_INSTANCE_REGEX_LITERAL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"

#define REGEX_LITERAL_MAX_BYTES 31
#define REGEX_LITERALS_MAX      8
#define REGEX_SCOUTS_MAX        6

struct regex_literal {
    unsigned char length;                /* 1 at least, in a set that is used */
    char bytes[REGEX_LITERAL_MAX_BYTES]; /* in lower case if case is ignored */
};

struct regex_literals {
    struct regex_literal list[REGEX_LITERALS_MAX];
    size_t count;      /* 0: nothing is known of what a match contains */
    bool are_complete; /* wherever one of them is, there is a match */
    bool ignore_case;
};

struct regex_program;

/* Fills program->literals from the tree (regex_knowledge.c). */
void regex_literals_find(const struct buffer *nodes, unsigned root, struct regex_program *program);

/* Where in the text the first of them is, NULL if none is anywhere. */
const char *regex_literals_search(const struct regex_literals *literals, const char *text, size_t length);

#endif
