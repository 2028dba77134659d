/* regex_run.c - runs a program over one character after the other, all alternatives at once (Thompson's construction):
 * no pattern takes more than its length times that of the text. */
#include <stdlib.h>

#include "instance/regex_program.h"

bool regex_is_word(uint32_t c) {
    return c >= 0x80 ? c != 0xA0 && c != 0xD7 && c != 0xF7 && (c < 0x2000 || c > 0x206F) && c != 0x3000
                     : c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Letters with two cases, by their upper one. */
static const struct {
    uint32_t first, last, distance;
} upper[] = {{'A', 'Z', 32},     {0xC0, 0xD6, 32},   {0xD8, 0xDE, 32},
             {0x391, 0x3A9, 32}, {0x410, 0x42F, 32}, {0x400, 0x40F, 80}};

/* The other case of a letter, or the character itself. */
static uint32_t to_lower(uint32_t c) {
    for (size_t i = 0; i < sizeof(upper) / sizeof(upper[0]); i++) {
        if (c >= upper[i].first && c <= upper[i].last) {
            return c + upper[i].distance;
        }
    }
    return c;
}

static uint32_t to_upper(uint32_t c) {
    for (size_t i = 0; i < sizeof(upper) / sizeof(upper[0]); i++) {
        if (c >= upper[i].first + upper[i].distance && c <= upper[i].last + upper[i].distance) {
            return c - upper[i].distance;
        }
    }
    return c;
}

static bool is_in_ranges(const struct regex_program *program, const struct regex_set *set, uint32_t c) {
    const struct regex_range *ranges = (const struct regex_range *)(const void *)program->ranges.data;
    for (uint32_t i = 0; i < set->range_count; i++) {
        const struct regex_range *range = &ranges[set->range_start + i];
        if (c >= range->first && c <= range->last) {
            return true;
        }
    }
    return false;
}

bool regex_set_takes(const struct regex_program *program, uint32_t set_index, uint32_t c) {
    const struct regex_set *set = (const struct regex_set *)(const void *)program->sets.data + set_index;
    bool is_in =
        is_in_ranges(program, set, c) ||
        (program->ignore_case && (is_in_ranges(program, set, to_lower(c)) || is_in_ranges(program, set, to_upper(c))));
    return is_in != set->is_negated;
}

static const struct regex_instruction *instruction_at(const struct regex_run *run, uint32_t index) {
    return (const struct regex_instruction *)(const void *)run->program->instructions.data + index;
}

static bool holds(const struct regex_position *position, uint32_t assertion) {
    switch (assertion) {
    case REGEX_AT_START:
        return position->is_start;
    case REGEX_AT_END:
        return position->is_end;
    case REGEX_AT_WORD_EDGE:
        return position->is_word_edge;
    default:
        return !position->is_word_edge;
    }
}

/* Follows the program from `place` as far as it goes without a character. True if that is to its end. Each instruction
 * is followed once a round, and puts two on the stack at most. */
static bool reach(struct regex_run *run, uint32_t place, const struct regex_position *position) {
    size_t depth = 0;
    run->stack[depth++] = place;
    while (depth > 0) {
        place = run->stack[--depth];
        if (run->seen[place] == run->round) {
            continue;
        }
        run->seen[place] = run->round;
        const struct regex_instruction *instruction = instruction_at(run, place);
        switch (instruction->operation) {
        case REGEX_MATCH:
            return true;
        case REGEX_SET:
            run->waiting[run->waiting_count++] = place;
            break;
        case REGEX_ASSERT:
            if (holds(position, instruction->first)) {
                run->stack[depth++] = place + 1;
            }
            break;
        default:
            run->stack[depth++] = instruction->second;
            run->stack[depth++] = instruction->first;
        }
    }
    return false;
}

bool regex_run_reach(struct regex_run *run, const struct regex_position *position) {
    run->round++;
    run->waiting_count = 0;
    for (size_t i = 0; i < run->led_count; i++) {
        if (reach(run, run->led[i], position)) {
            return true;
        }
    }
    return reach(run, 0, position); /* a match may begin here, too */
}

void regex_run_take(struct regex_run *run, uint32_t c) {
    run->led_count = 0;
    for (size_t i = 0; i < run->waiting_count; i++) {
        uint32_t place = run->waiting[i];
        if (regex_set_takes(run->program, instruction_at(run, place)->first, c)) {
            run->led[run->led_count++] = place + 1;
        }
    }
}

bool regex_run_prepare(struct regex_run *run, const struct regex_program *program) {
    size_t length = program->instructions.length / sizeof(struct regex_instruction);
    *run = (struct regex_run){.program = program};
    run->waiting = calloc(length, sizeof(uint32_t));
    run->led = calloc(length, sizeof(uint32_t));
    run->seen = calloc(length, sizeof(uint64_t));
    run->stack = calloc(2 * length + 1, sizeof(uint32_t));
    return run->waiting != NULL && run->led != NULL && run->seen != NULL && run->stack != NULL;
}

void regex_run_free(struct regex_run *run) {
    free(run->waiting);
    free(run->led);
    free(run->seen);
    free(run->stack);
    *run = (struct regex_run){0};
}
