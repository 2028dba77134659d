/* regex_literal.c - what every match must contain, worked out from the tree from the leaves up. */
#include "instance/regex_literal.h"

#include <string.h>

#include "instance/regex_program.h"
#include "instance/regex_tree.h"
#include "instance/utf8.h"

#define DEPTH_MAX 20 /* of the tree: what is deeper is not looked into */
#define CHAIN_MAX 512
/* A text is looked for in so many bytes at a time, so that one that is nowhere does not cost a look at all that follows
 * each time another one is found. */
#define WINDOW_BYTES    (8 * 1024)
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

/* ---- looking for them ---- */

/* One byte value to look for: the rarest of a text, in one of its cases. */
struct scout {
    const struct regex_literal *literal;
    size_t at; /* where in the text it is */
    char byte;
    const char *next; /* the first place at or behind which is not looked at yet; NULL: there is none */
};

/* How often a byte is met in text and code, roughly: the position in this list, the commonest first. */
static size_t rarity(char byte) {
    static const char common[] = " etaoinsrlcdupmfhg_.,yb)(-vw\"=;k/0x1:*2'3T>&SAECRIN#\tjqz456789";
    const char *place = byte == '\0' ? NULL : strchr(common, byte);
    return place == NULL ? sizeof(common) : (size_t)(place - common);
}

static char to_upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

static char to_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static size_t rarest(const struct regex_literal *literal) {
    size_t best = 0;
    for (size_t i = 1; i < literal->length; i++) {
        best = rarity(literal->bytes[i]) > rarity(literal->bytes[best]) ? i : best;
    }
    return best;
}

static bool is_at(const struct regex_literal *literal, const char *text, bool ignore_case) {
    if (!ignore_case) {
        return memcmp(text, literal->bytes, literal->length) == 0;
    }
    for (size_t i = 0; i < literal->length; i++) {
        if (to_lower(text[i]) != literal->bytes[i]) {
            return false;
        }
    }
    return true;
}

static size_t send_scouts(const struct regex_literals *literals, const char *text, struct scout *scouts) {
    size_t count = 0;
    for (size_t i = 0; i < literals->count; i++) {
        const struct regex_literal *literal = &literals->list[i];
        size_t at = rarest(literal);
        char byte = literal->bytes[at];
        scouts[count++] = (struct scout){literal, at, byte, text + at};
        if (literals->ignore_case && to_upper(byte) != byte) {
            scouts[count++] = (struct scout){literal, at, to_upper(byte), text + at};
        }
    }
    return count;
}

/* Moves a scout on to the next place where its text is; it then points to its byte there. */
static void move_on(struct scout *scout, const char *end, bool ignore_case) {
    const char *last = end - (scout->literal->length - scout->at); /* where its byte can be at the latest */
    while (scout->next != NULL && scout->next <= last) {
        scout->next = memchr(scout->next, scout->byte, (size_t)(last - scout->next) + 1);
        if (scout->next == NULL || is_at(scout->literal, scout->next - scout->at, ignore_case)) {
            return;
        }
        scout->next++;
    }
    scout->next = NULL;
}

static const char *search_window(const struct regex_literals *literals, const char *text, size_t length) {
    struct scout scouts[REGEX_SCOUTS_MAX];
    size_t count = send_scouts(literals, text, scouts);
    const char *found = NULL;
    const char *end = text + length;
    for (size_t i = 0; i < count; i++) {
        if (scouts[i].literal->length > (size_t)(end - text)) {
            continue;
        }
        move_on(&scouts[i], end, literals->ignore_case);
        if (scouts[i].next != NULL) {
            const char *start = scouts[i].next - scouts[i].at;
            found = found == NULL || start < found ? start : found;
            /* What starts behind it is of no interest to the others. */
            const char *enough = found + REGEX_LITERAL_MAX_BYTES;
            end = enough < end ? enough : end;
        }
    }
    return found;
}

const char *regex_literals_search(const struct regex_literals *literals, const char *text, size_t length) {
    const char *found = NULL;
    for (size_t at = 0; at < length && found == NULL; at += WINDOW_BYTES) {
        size_t window = WINDOW_BYTES + REGEX_LITERAL_MAX_BYTES - 1; /* with what begins at its end */
        found = search_window(literals, text + at, length - at < window ? length - at : window);
    }
    return found;
}
