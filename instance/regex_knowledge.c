/* regex_knowledge.c - what every match must contain, worked out from the tree from the leaves up. */
#include "instance/regex_literal.h"

#include <string.h>

#include "instance/regex_program.h"
#include "instance/regex_tree.h"

#define DEPTH_MAX       20 /* of the tree: what is deeper is not looked into */
#define CHAIN_MAX       512
#define RANGE_CHARS_MAX 4 /* [abc] is three texts, [a-z] is nothing known */

struct texts {
    struct regex_literal list[REGEX_LITERALS_MAX];
    size_t count; /* 0: unknown */
};

/* What is known of a part of the pattern. */
struct knowledge {
    bool is_exact;     /* `ends` are all the texts it matches */
    struct texts ends; /* each match ends with one of these */
    struct texts best; /* each match contains one of these; the best found so far */
};

static const struct texts only_empty = {.count = 1};

/* ---- sets of texts ---- */

static size_t shortest(const struct texts *texts) {
    size_t length = texts->count > 0 ? REGEX_LITERAL_MAX_BYTES : 0;
    for (size_t i = 0; i < texts->count; i++) {
        length = texts->list[i].length < length ? texts->list[i].length : length;
    }
    return length;
}

/* The better one to look for: longer, then fewer. */
static void keep_better(struct texts *best, const struct texts *other) {
    size_t length = shortest(other);
    size_t best_length = shortest(best);
    if (length > best_length || (length == best_length && length > 0 && other->count < best->count)) {
        *best = *other;
    }
}

/* Each of `first` followed by each of `second`. False, and `first` as it was, if that is too much. */
static bool append_each(struct texts *first, const struct texts *second) {
    struct texts joined = {0};
    if (first->count * second->count > REGEX_LITERALS_MAX) {
        return false;
    }
    for (size_t i = 0; i < first->count; i++) {
        for (size_t j = 0; j < second->count; j++) {
            struct regex_literal *text = &joined.list[joined.count++];
            *text = first->list[i];
            if ((size_t)text->length + second->list[j].length > REGEX_LITERAL_MAX_BYTES) {
                return false;
            }
            memcpy(text->bytes + text->length, second->list[j].bytes, second->list[j].length);
            text->length = (unsigned char)(text->length + second->list[j].length);
        }
    }
    *first = joined;
    return true;
}

/* False, and `texts` unknown, if together they are too many or one of them is unknown. */
static bool unite(struct texts *texts, const struct texts *other) {
    if (texts->count == 0 || other->count == 0 || texts->count + other->count > REGEX_LITERALS_MAX) {
        texts->count = 0;
        return false;
    }
    memcpy(texts->list + texts->count, other->list, other->count * sizeof(other->list[0]));
    texts->count += other->count;
    return true;
}

/* ---- the tree ---- */

struct finder {
    const struct buffer *nodes;
    const struct regex_program *program;
    bool has_assertion;
    int depth;
};

static struct knowledge unknown(void) {
    return (struct knowledge){.ends = only_empty};
}

static struct knowledge exactly(struct texts texts) {
    return (struct knowledge){.is_exact = true, .ends = texts};
}

/* What to look for if this is all of the pattern. */
static struct texts wanted(const struct knowledge *knowledge) {
    struct texts best = knowledge->best;
    keep_better(&best, &knowledge->ends);
    return best;
}

static void append_utf8(struct regex_literal *text, uint32_t c) {
    if (c < 0x80) {
        text->bytes[text->length++] = (char)c;
    } else if (c < 0x800) {
        text->bytes[text->length++] = (char)(0xC0 | c >> 6);
        text->bytes[text->length++] = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        text->bytes[text->length++] = (char)(0xE0 | c >> 12);
        text->bytes[text->length++] = (char)(0x80 | (c >> 6 & 0x3F));
        text->bytes[text->length++] = (char)(0x80 | (c & 0x3F));
    } else {
        text->bytes[text->length++] = (char)(0xF0 | c >> 18);
        text->bytes[text->length++] = (char)(0x80 | (c >> 12 & 0x3F));
        text->bytes[text->length++] = (char)(0x80 | (c >> 6 & 0x3F));
        text->bytes[text->length++] = (char)(0x80 | (c & 0x3F));
    }
}

/* A character that the bytes of a text stand for: not a line's end, nor (with other cases) a letter outside ASCII, nor
 * what also stands for bytes that are no UTF-8. */
static bool is_plain(const struct finder *finder, uint32_t c) {
    return c != '\n' && c != '\r' && c != 0xFFFD && (c < 0xD800 || c > 0xDFFF) &&
           (c < 0x80 || !finder->program->ignore_case);
}

static struct knowledge know_set(const struct finder *finder, uint32_t index) {
    const struct regex_set *set = (const struct regex_set *)(const void *)finder->program->sets.data + index;
    const struct regex_range *ranges = (const struct regex_range *)(const void *)finder->program->ranges.data;
    struct texts texts = {0};
    if (set->is_negated) {
        return unknown();
    }
    for (uint32_t i = 0; i < set->range_count; i++) {
        struct regex_range range = ranges[set->range_start + i];
        if (range.last - range.first >= RANGE_CHARS_MAX || texts.count > RANGE_CHARS_MAX) {
            return unknown();
        }
        for (uint32_t c = range.first; c <= range.last; c++) {
            if (!is_plain(finder, c) || texts.count == REGEX_LITERALS_MAX) {
                return unknown();
            }
            uint32_t lower = finder->program->ignore_case && c >= 'A' && c <= 'Z' ? c + 32 : c;
            append_utf8(&texts.list[texts.count++], lower);
        }
    }
    return texts.count > 0 ? exactly(texts) : unknown();
}

static struct knowledge know(struct finder *finder, uint32_t index);

static void append_known(struct knowledge *whole, const struct knowledge *next) {
    if (next->is_exact) {
        if (append_each(&whole->ends, &next->ends)) {
            return;
        }
        keep_better(&whole->best, &whole->ends);
        whole->ends = next->ends;
    } else {
        keep_better(&whole->best, &whole->ends);
        keep_better(&whole->best, &next->best);
        whole->ends = next->ends;
    }
    whole->is_exact = false;
}

static void join_alternative(struct knowledge *whole, const struct knowledge *other) {
    if (whole->is_exact && other->is_exact && whole->ends.count + other->ends.count <= REGEX_LITERALS_MAX) {
        unite(&whole->ends, &other->ends);
        return;
    }
    struct texts either = wanted(whole);
    struct texts others = wanted(other);
    bool is_known = shortest(&either) > 0 && shortest(&others) > 0 && unite(&either, &others);
    *whole = unknown();
    whole->best = is_known ? either : (struct texts){0};
}

/* Sequences and alternatives are chains to the left; they are followed without recursion, for they may be long. */
static struct knowledge know_chain(struct finder *finder, uint32_t index) {
    uint32_t chain[CHAIN_MAX];
    size_t length = 0;
    enum regex_node_kind kind = regex_node_at(finder->nodes, index)->kind;
    const struct regex_node *node;
    while ((node = regex_node_at(finder->nodes, index))->kind == kind) {
        if (length == CHAIN_MAX) {
            return unknown();
        }
        chain[length++] = node->second;
        index = node->first;
    }
    struct knowledge whole = know(finder, index);
    while (length > 0) {
        struct knowledge next = know(finder, chain[--length]);
        if (kind == REGEX_NODE_CAT) {
            append_known(&whole, &next);
        } else {
            join_alternative(&whole, &next);
        }
    }
    return whole;
}

static struct knowledge know_repeat(struct finder *finder, const struct regex_node *node) {
    struct knowledge inside = know(finder, node->first);
    if (node->minimum == 1 && node->maximum == 1) {
        return inside;
    }
    if (node->minimum == 0) {
        bool is_option = node->maximum == 1 && inside.is_exact && unite(&inside.ends, &only_empty);
        return is_option ? inside : unknown();
    }
    struct knowledge whole = unknown();
    whole.best = wanted(&inside);
    return whole;
}

static struct knowledge know(struct finder *finder, uint32_t index) {
    const struct regex_node *node = regex_node_at(finder->nodes, index);
    struct knowledge knowledge = unknown();
    if (++finder->depth <= DEPTH_MAX) {
        switch (node->kind) {
        case REGEX_NODE_ASSERT:
            finder->has_assertion = true;
            knowledge = exactly(only_empty);
            break;
        case REGEX_NODE_EMPTY:
            knowledge = exactly(only_empty);
            break;
        case REGEX_NODE_SET:
            knowledge = know_set(finder, node->first);
            break;
        case REGEX_NODE_CAT:
        case REGEX_NODE_ALTERNATIVE:
            knowledge = know_chain(finder, index);
            break;
        case REGEX_NODE_REPEAT:
            knowledge = know_repeat(finder, node);
            break;
        }
    }
    finder->depth--;
    return knowledge;
}

void regex_literals_find(const struct buffer *nodes, unsigned root, struct regex_program *program) {
    struct finder finder = {.nodes = nodes, .program = program};
    struct regex_literals *literals = &program->literals;
    struct knowledge knowledge = know(&finder, root);
    struct texts texts = wanted(&knowledge);
    literals->ignore_case = program->ignore_case;
    literals->count = 0;
    literals->are_complete = knowledge.is_exact && !finder.has_assertion;
    size_t scouts = texts.count * (program->ignore_case ? 2 : 1);
    if (shortest(&texts) > 0 && scouts <= REGEX_SCOUTS_MAX) {
        memcpy(literals->list, texts.list, texts.count * sizeof(texts.list[0]));
        literals->count = texts.count;
    }
}
