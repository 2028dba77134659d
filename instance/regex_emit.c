/* regex_emit.c - from a pattern's tree to a program. */
#include "instance/regex_program.h"
#include "instance/regex_tree.h"

#define STEPS_MAX (20 * REGEX_INSTRUCTIONS_MAX)

struct emitter {
    const struct buffer *nodes;
    struct regex_program *program;
    struct error *err;
    uint32_t steps; /* repeats of nothing emit nothing, and could go on for ever */
};

static uint32_t program_length(const struct emitter *emitter) {
    return (uint32_t)(emitter->program->instructions.length / sizeof(struct regex_instruction));
}

static struct regex_instruction *instruction_at(const struct emitter *emitter, uint32_t index) {
    return (struct regex_instruction *)(void *)emitter->program->instructions.data + index;
}

static bool emit(struct emitter *emitter, enum regex_operation operation, uint32_t first, uint32_t second) {
    struct regex_instruction instruction = {operation, first, second};
    if (program_length(emitter) == REGEX_INSTRUCTIONS_MAX) {
        return error_set(emitter->err, ERROR_INVALID, "the pattern is too large");
    }
    return buffer_append(&emitter->program->instructions, &instruction, sizeof(instruction)) ||
           error_set(emitter->err, ERROR_INTERNAL, "out of memory");
}

static bool emit_node(struct emitter *emitter, uint32_t index);

static bool emit_alternative(struct emitter *emitter, const struct regex_node *node) {
    uint32_t split = program_length(emitter);
    if (!emit(emitter, REGEX_SPLIT, split + 1, 0) || !emit_node(emitter, node->first)) {
        return false;
    }
    uint32_t jump = program_length(emitter);
    if (!emit(emitter, REGEX_SPLIT, 0, 0)) {
        return false;
    }
    instruction_at(emitter, split)->second = jump + 1;
    if (!emit_node(emitter, node->second)) {
        return false;
    }
    instruction_at(emitter, jump)->first = instruction_at(emitter, jump)->second = program_length(emitter);
    return true;
}

/* x{2,4} is x x (x (x)?)?, x{2,} is x x x*. */
static bool emit_repeat(struct emitter *emitter, const struct regex_node *node) {
    for (uint32_t i = 0; i < node->minimum; i++) {
        if (!emit_node(emitter, node->first)) {
            return false;
        }
    }
    if (node->maximum == REGEX_UNBOUNDED) {
        uint32_t split = program_length(emitter);
        if (!emit(emitter, REGEX_SPLIT, split + 1, 0) || !emit_node(emitter, node->first) ||
            !emit(emitter, REGEX_SPLIT, split, split)) {
            return false;
        }
        instruction_at(emitter, split)->second = program_length(emitter);
        return true;
    }
    uint32_t first_split = program_length(emitter);
    for (uint32_t i = node->minimum; i < node->maximum; i++) {
        if (!emit(emitter, REGEX_SPLIT, program_length(emitter) + 1, REGEX_UNBOUNDED) ||
            !emit_node(emitter, node->first)) {
            return false;
        }
    }
    for (uint32_t at = first_split; at < program_length(emitter); at++) { /* all of them lead out */
        struct regex_instruction *instruction = instruction_at(emitter, at);
        if (instruction->operation == REGEX_SPLIT && instruction->second == REGEX_UNBOUNDED) {
            instruction->second = program_length(emitter);
        }
    }
    return true;
}

static bool emit_node(struct emitter *emitter, uint32_t index) {
    const struct regex_node node = *regex_node_at(emitter->nodes, index);
    if (++emitter->steps > STEPS_MAX) {
        return error_set(emitter->err, ERROR_INVALID, "the pattern is too large");
    }
    switch (node.kind) {
    case REGEX_NODE_EMPTY:
        return true;
    case REGEX_NODE_SET:
        return emit(emitter, REGEX_SET, node.first, 0);
    case REGEX_NODE_ASSERT:
        return emit(emitter, REGEX_ASSERT, node.first, 0);
    case REGEX_NODE_CAT:
        return emit_node(emitter, node.first) && emit_node(emitter, node.second);
    case REGEX_NODE_ALTERNATIVE:
        return emit_alternative(emitter, &node);
    case REGEX_NODE_REPEAT:
        return emit_repeat(emitter, &node);
    }
    return false;
}

bool regex_emit(const struct buffer *nodes, uint32_t root, struct regex_program *program, struct error *err) {
    struct emitter emitter = {.nodes = nodes, .program = program, .err = err};
    return emit_node(&emitter, root) && emit(&emitter, REGEX_MATCH, 0, 0);
}
