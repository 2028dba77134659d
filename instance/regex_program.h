/* regex_program.h - what a pattern is compiled to (by regex_parse.c and regex_emit.c) and regex.c runs. */
#ifndef TERMINALS_INSTANCE_REGEX_PROGRAM_H
#define TERMINALS_INSTANCE_REGEX_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"
#include "instance/regex_literal.h"

#define REGEX_CODE_POINT_MAX 0x10FFFF

enum regex_operation {
    REGEX_SET,    /* one character of set `first` */
    REGEX_SPLIT,  /* on at `first` and at `second` */
    REGEX_ASSERT, /* on if the enum regex_assertion `first` holds here */
    REGEX_MATCH,
};

enum regex_assertion {
    REGEX_AT_START,
    REGEX_AT_END,
    REGEX_AT_WORD_EDGE,
    REGEX_INSIDE_OR_OUTSIDE_WORD,
};

struct regex_instruction {
    uint32_t operation;
    uint32_t first;
    uint32_t second;
};

struct regex_range {
    uint32_t first, last;
};

/* The characters that one REGEX_SET takes. */
struct regex_set {
    uint32_t range_start; /* in `ranges` */
    uint32_t range_count;
    bool is_negated;
};

struct regex_program {
    struct buffer instructions; /* of struct regex_instruction */
    struct buffer sets;         /* of struct regex_set */
    struct buffer ranges;       /* of struct regex_range */
    bool ignore_case;
    struct regex_literals literals;
};

/* Where in the text the program is. */
struct regex_position {
    bool is_start;
    bool is_end;
    bool is_word_edge;
};

/* What running the program takes. Places are indices of instructions; each is in a list at most once. */
struct regex_run {
    const struct regex_program *program;
    uint32_t *waiting; /* the sets that the next character is tried on */
    size_t waiting_count;
    uint32_t *led; /* where the last character led */
    size_t led_count;
    uint64_t *seen; /* per instruction: the round in which it was reached last */
    uint64_t round; /* one a character */
    uint32_t *stack;
};

/* False: no memory. To be freed in any case. */
bool regex_run_prepare(struct regex_run *run, const struct regex_program *program);
void regex_run_free(struct regex_run *run);

/* Follows the program from all places of `led`, and from its start, to the sets that wait for a character. True if that
 * leads to its end: there is a match. */
bool regex_run_reach(struct regex_run *run, const struct regex_position *position);

/* Tries a character on the sets that wait, and makes `led` of where it leads. */
void regex_run_take(struct regex_run *run, uint32_t c);

/* True if a set takes the character. */
bool regex_set_takes(const struct regex_program *program, uint32_t set_index, uint32_t c);

/* Fills a program that is {0} (or has ignore_case set). False as regex_compile(); the caller frees the buffers in any
 * case. */
bool regex_parse(const uint32_t *pattern, size_t length, struct regex_program *program, struct error *err);

/* \w */
bool regex_is_word(uint32_t code_point);

#endif
