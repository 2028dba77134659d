/* regex_program.h - what a pattern is compiled to (by regex_parse.c and regex_emit.c) and regex.c runs. */
#ifndef TERMINALS_INSTANCE_REGEX_PROGRAM_H
#define TERMINALS_INSTANCE_REGEX_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"
#include "common/error.h"

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
};

/* Fills a program that is {0} (or has ignore_case set). False as regex_compile(); the caller frees the buffers in any
 * case. */
bool regex_parse(const uint32_t *pattern, size_t length, struct regex_program *program, struct error *err);

/* \w */
bool regex_is_word(uint32_t code_point);

#endif
