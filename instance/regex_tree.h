/* regex_tree.h - between regex_parse.c, which makes a tree of a pattern, and regex_emit.c, which makes a program of the
 * tree. Nodes lie in one buffer and name one another by their index. */
#ifndef TERMINALS_INSTANCE_REGEX_TREE_H
#define TERMINALS_INSTANCE_REGEX_TREE_H

#include "instance/regex_program.h"

#define REGEX_INSTRUCTIONS_MAX 20000 /* counted repeats multiply */
#define REGEX_UNBOUNDED        UINT32_MAX
#define REGEX_NO_NODE          UINT32_MAX

enum regex_node_kind {
    REGEX_NODE_EMPTY,
    REGEX_NODE_SET,
    REGEX_NODE_ASSERT,
    REGEX_NODE_CAT,
    REGEX_NODE_ALTERNATIVE,
    REGEX_NODE_REPEAT
};

struct regex_node {
    enum regex_node_kind kind;
    uint32_t first; /* a node, a set, or an assertion */
    uint32_t second;
    uint32_t minimum; /* of a repeat */
    uint32_t maximum;
};

static inline const struct regex_node *regex_node_at(const struct buffer *nodes, uint32_t index) {
    return (const struct regex_node *)(const void *)nodes->data + index;
}

/* Appends the program for the tree below `root`. False: the pattern is too large, or no memory. */
bool regex_emit(const struct buffer *nodes, uint32_t root, struct regex_program *program, struct error *err);

#endif
