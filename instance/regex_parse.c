/* regex_parse.c - from a pattern in Python's notation to a program, by way of a tree. */
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/regex_program.h"
#include "instance/regex_tree.h"

#define DEPTH_MAX 200 /* groups in groups */

struct parser {
    const uint32_t *pattern;
    size_t length;
    size_t at;
    int depth;
    bool dot_takes_all; /* (?s) */
    struct regex_program *program;
    struct buffer nodes;
    struct error *err;
};

/* ---- errors ---- */

static uint32_t fail_at(struct parser *parser, size_t position, const char *message) {
    error_set(parser->err, ERROR_INVALID, "%s at position %zu", message, position);
    return REGEX_NO_NODE;
}

/* The same, with a piece of the pattern behind the message, as Python has it: from `start` to where we are. */
static uint32_t fail_quoting(struct parser *parser, size_t position, const char *message, size_t start) {
    char quoted[64];
    size_t used = 0;
    for (size_t i = start; i < parser->at && i < parser->length && used + 1 < sizeof(quoted); i++) {
        quoted[used++] = parser->pattern[i] < 0x80 ? (char)parser->pattern[i] : '?';
    }
    quoted[used] = '\0';
    error_set(parser->err, ERROR_INVALID, "%s %s at position %zu", message, quoted, position);
    return REGEX_NO_NODE;
}

/* No automaton can do this: regex_compile() tries again with another engine. */
static uint32_t fail_irregular(struct parser *parser, size_t position) {
    error_set(parser->err, ERROR_UNPROCESSABLE, "needs backtracking at position %zu", position);
    return REGEX_NO_NODE;
}

static uint32_t fail_memory(struct parser *parser) {
    error_set(parser->err, ERROR_INTERNAL, "out of memory");
    return REGEX_NO_NODE;
}

/* ---- the tree ---- */

static uint32_t add_node(struct parser *parser, struct regex_node node) {
    uint32_t index = (uint32_t)(parser->nodes.length / sizeof(node));
    return buffer_append(&parser->nodes, &node, sizeof(node)) ? index : fail_memory(parser);
}

/* ---- sets of characters ---- */

static bool add_range(struct parser *parser, uint32_t first, uint32_t last) {
    struct regex_range range = {first, last};
    return buffer_append(&parser->program->ranges, &range, sizeof(range)) || fail_memory(parser) != REGEX_NO_NODE;
}

static uint32_t range_count(const struct parser *parser) {
    return (uint32_t)(parser->program->ranges.length / sizeof(struct regex_range));
}

/* A node for the ranges that were added since there were `start` of them. */
static uint32_t add_set(struct parser *parser, uint32_t start, bool is_negated) {
    struct regex_set set = {.range_start = start, .range_count = range_count(parser) - start, .is_negated = is_negated};
    uint32_t index = (uint32_t)(parser->program->sets.length / sizeof(set));
    if (parser->program->ranges.failed || !buffer_append(&parser->program->sets, &set, sizeof(set))) {
        return fail_memory(parser);
    }
    return add_node(parser, (struct regex_node){.kind = REGEX_NODE_SET, .first = index});
}

static uint32_t add_character(struct parser *parser, uint32_t c) {
    uint32_t start = range_count(parser);
    add_range(parser, c, c);
    return add_set(parser, start, false);
}

/* The ranges of \d, \s, \w and of their opposites. False: `letter` is none of these. */
static bool add_class(struct parser *parser, uint32_t letter) {
    static const struct regex_range digits[] = {{'0', '9'}};
    static const struct regex_range blanks[] = {{'\t', '\r'},     {0x1C, ' '},      {0x85, 0x85},     {0xA0, 0xA0},
                                                {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x3000, 0x3000}};
    static const struct regex_range words[] = {
        {'0', '9'},   {'A', 'Z'},   {'_', '_'},     {'a', 'z'},       {0x80, 0x9F},
        {0xA1, 0xD6}, {0xD8, 0xF6}, {0xF8, 0x1FFF}, {0x2070, 0x2FFF}, {0x3001, REGEX_CODE_POINT_MAX}};
    static const struct {
        char name;
        const struct regex_range *ranges;
        size_t count;
    } classes[] = {{'d', digits, 1}, {'s', blanks, 8}, {'w', words, 10}};
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if ((letter | 0x20) != (uint32_t)classes[i].name) {
            continue;
        }
        bool is_negated = letter < 'a';
        uint32_t next = 0; /* the first character that no range so far has covered */
        for (size_t r = 0; r < classes[i].count; r++) {
            const struct regex_range *range = &classes[i].ranges[r];
            if (!is_negated) {
                add_range(parser, range->first, range->last);
            } else if (range->first > next) {
                add_range(parser, next, range->first - 1);
            }
            next = range->last + 1;
        }
        if (is_negated && next <= REGEX_CODE_POINT_MAX) {
            add_range(parser, next, REGEX_CODE_POINT_MAX);
        }
        return true;
    }
    return false;
}

/* ---- escapes ---- */

static int hex_value(uint32_t c) {
    if (c >= '0' && c <= '9') {
        return (int)(c - '0');
    }
    uint32_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? (int)(lower - 'a' + 10) : -1;
}

/* `digits` hex digits at parser->at. False, with the error, if they are not there. */
static bool read_hex(struct parser *parser, size_t start, int digits, uint32_t *value) {
    *value = 0;
    for (int i = 0; i < digits; i++) {
        int digit = parser->at < parser->length ? hex_value(parser->pattern[parser->at]) : -1;
        if (digit < 0) {
            fail_quoting(parser, start, "incomplete escape", start);
            return false;
        }
        *value = *value << 4 | (uint32_t)digit;
        parser->at++;
    }
    if (*value > REGEX_CODE_POINT_MAX) {
        fail_at(parser, start, "bad escape");
        return false;
    }
    return true;
}

/* The one character that the escape behind a backslash (already read) stands for. */
static bool read_escaped_character(struct parser *parser, uint32_t letter, uint32_t *value) {
    static const char names[] = "a\an\nr\rt\tf\fv\v0\0";
    size_t start = parser->at - 2;
    for (size_t i = 0; i + 1 < sizeof(names); i += 2) {
        if (letter == (uint32_t)names[i]) {
            *value = (uint32_t)names[i + 1];
            return true;
        }
    }
    switch (letter) {
    case 'x':
        return read_hex(parser, start, 2, value);
    case 'u':
        return read_hex(parser, start, 4, value);
    case 'U':
        return read_hex(parser, start, 8, value);
    default:
        break;
    }
    if (letter >= '1' && letter <= '9') {
        fail_irregular(parser, start);
        return false;
    }
    if ((letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z')) {
        char message[] = "bad escape \\?";
        message[sizeof(message) - 2] = (char)letter;
        fail_at(parser, start, message);
        return false;
    }
    *value = letter;
    return true;
}

/* The letter behind a backslash at parser->at. */
static bool read_escape_letter(struct parser *parser, uint32_t *letter) {
    parser->at++;
    if (parser->at == parser->length) {
        fail_at(parser, parser->at - 1, "bad escape (end of pattern)");
        return false;
    }
    *letter = parser->pattern[parser->at++];
    return true;
}

static uint32_t parse_escape(struct parser *parser) {
    static const struct {
        char letter;
        enum regex_assertion assertion;
    } assertions[] = {
        {'A', REGEX_AT_START}, {'Z', REGEX_AT_END}, {'b', REGEX_AT_WORD_EDGE}, {'B', REGEX_INSIDE_OR_OUTSIDE_WORD}};
    uint32_t letter;
    uint32_t value;
    if (!read_escape_letter(parser, &letter)) {
        return REGEX_NO_NODE;
    }
    for (size_t i = 0; i < sizeof(assertions) / sizeof(assertions[0]); i++) {
        if (letter == (uint32_t)assertions[i].letter) {
            return add_node(parser, (struct regex_node){.kind = REGEX_NODE_ASSERT, .first = assertions[i].assertion});
        }
    }
    uint32_t start = range_count(parser);
    if (add_class(parser, letter)) {
        return add_set(parser, start, false);
    }
    return read_escaped_character(parser, letter, &value) ? add_character(parser, value) : REGEX_NO_NODE;
}

/* ---- [sets] ---- */

/* One character or class inside brackets; a class adds its ranges and sets *is_class. */
static bool read_set_member(struct parser *parser, uint32_t *value, bool *is_class) {
    *is_class = false;
    *value = parser->pattern[parser->at];
    if (*value != '\\') {
        parser->at++;
        return true;
    }
    uint32_t letter;
    if (!read_escape_letter(parser, &letter)) {
        return false;
    }
    *is_class = add_class(parser, letter);
    if (letter == 'b') {
        *value = '\b';
        return true;
    }
    return *is_class || read_escaped_character(parser, letter, value);
}

/* A member and, if a dash follows, the end of the range that it begins. */
static bool read_set_range(struct parser *parser) {
    size_t start = parser->at;
    uint32_t first;
    uint32_t last;
    bool is_class;
    if (!read_set_member(parser, &first, &is_class)) {
        return false;
    }
    last = first;
    bool is_range =
        parser->at + 1 < parser->length && parser->pattern[parser->at] == '-' && parser->pattern[parser->at + 1] != ']';
    if (is_range && !is_class) {
        parser->at++;
        if (!read_set_member(parser, &last, &is_class)) {
            return false;
        }
    }
    if ((is_range && is_class) || last < first) {
        fail_quoting(parser, start, "bad character range", start);
        return false;
    }
    return is_class || add_range(parser, first, last);
}

static uint32_t parse_set(struct parser *parser) {
    size_t open = parser->at++;
    bool is_negated = parser->at < parser->length && parser->pattern[parser->at] == '^';
    parser->at += is_negated;
    uint32_t start = range_count(parser);
    size_t first_member = parser->at;
    while (parser->at < parser->length && (parser->pattern[parser->at] != ']' || parser->at == first_member)) {
        if (!read_set_range(parser)) {
            return REGEX_NO_NODE;
        }
    }
    if (parser->at == parser->length) {
        return fail_at(parser, open, "unterminated character set");
    }
    parser->at++;
    return add_set(parser, start, is_negated);
}

/* ---- groups ---- */

static uint32_t parse_alternatives(struct parser *parser);

static bool is_next(const struct parser *parser, const char *text) {
    size_t length = strlen(text);
    if (parser->length - parser->at < length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (parser->pattern[parser->at + i] != (unsigned char)text[i]) {
            return false;
        }
    }
    return true;
}

/* Behind "(?P<". */
static bool read_group_name(struct parser *parser) {
    size_t start = parser->at;
    while (parser->at < parser->length && parser->pattern[parser->at] != '>') {
        parser->at++;
    }
    bool is_named = parser->at > start;
    bool is_word = is_named && !(parser->pattern[start] >= '0' && parser->pattern[start] <= '9');
    for (size_t i = start; i < parser->at; i++) {
        is_word = is_word && regex_is_word(parser->pattern[i]);
    }
    if (!is_named) {
        fail_at(parser, start, "missing group name");
    } else if (parser->at == parser->length) {
        fail_at(parser, start, "missing >, unterminated name");
    } else if (!is_word) {
        fail_at(parser, start, "bad character in group name");
    } else {
        parser->at++;
        return true;
    }
    return false;
}

/* What stands behind "(?" means nothing. */
static void fail_extension(struct parser *parser, size_t open) {
    bool has_flags = parser->at > open + 2;
    size_t more = parser->at < parser->length && strchr("P<", (int)parser->pattern[parser->at]) != NULL;
    if (!has_flags && parser->at + more >= parser->length) {
        fail_at(parser, parser->length, "unexpected end of pattern");
    } else if (has_flags) {
        fail_at(parser, parser->at, parser->at == parser->length ? "missing -, : or )" : "unknown flag");
    } else {
        parser->at += 1 + more;
        fail_quoting(parser, open + 1, "unknown extension", open + 1);
    }
}

/* What may stand behind "(?": a colon, a name, flags for the whole pattern. *is_flags: there is no group to read. */
static bool read_extension(struct parser *parser, size_t open, bool *is_flags) {
    *is_flags = false;
    if (is_next(parser, ":")) {
        parser->at++;
        return true;
    }
    if (is_next(parser, "P<")) {
        parser->at += 2;
        return read_group_name(parser);
    }
    static const char *const irregular[] = {"=", "!", "<=", "<!", ">", "(", "P=", "#", "x"};
    for (size_t i = 0; i < sizeof(irregular) / sizeof(irregular[0]); i++) {
        if (is_next(parser, irregular[i])) {
            fail_irregular(parser, open);
            return false;
        }
    }
    while (parser->at < parser->length && parser->pattern[parser->at] < 0x80 &&
           strchr("aimsux", (int)parser->pattern[parser->at]) != NULL && parser->pattern[parser->at] != 0) {
        parser->program->ignore_case = parser->program->ignore_case || parser->pattern[parser->at] == 'i';
        parser->dot_takes_all = parser->dot_takes_all || parser->pattern[parser->at] == 's';
        parser->at++;
    }
    *is_flags = is_next(parser, ")");
    if (is_next(parser, ":") || is_next(parser, "-")) { /* flags for a part only */
        fail_irregular(parser, open);
    } else if (!*is_flags) {
        fail_extension(parser, open);
    }
    return *is_flags;
}

static uint32_t parse_group(struct parser *parser) {
    size_t open = parser->at++;
    if (++parser->depth > DEPTH_MAX) {
        return fail_at(parser, open, "groups nested too deep");
    }
    if (is_next(parser, "?")) {
        bool is_flags;
        parser->at++;
        if (!read_extension(parser, open, &is_flags)) {
            return REGEX_NO_NODE;
        }
        if (is_flags) {
            parser->at++;
            parser->depth--;
            return add_node(parser, (struct regex_node){.kind = REGEX_NODE_EMPTY});
        }
    }
    uint32_t inside = parse_alternatives(parser);
    if (inside == REGEX_NO_NODE) {
        return REGEX_NO_NODE;
    }
    if (!is_next(parser, ")")) {
        return fail_at(parser, open, "missing ), unterminated subpattern");
    }
    parser->at++;
    parser->depth--;
    return inside;
}

/* ---- repeats, sequences, alternatives ---- */

static uint32_t parse_dot(struct parser *parser) {
    uint32_t start = range_count(parser);
    if (!parser->dot_takes_all) {
        add_range(parser, '\n', '\n');
    }
    parser->at++;
    return add_set(parser, start, true);
}

static uint32_t parse_atom(struct parser *parser) {
    uint32_t c = parser->pattern[parser->at];
    switch (c) {
    case '(':
        return parse_group(parser);
    case '[':
        return parse_set(parser);
    case '\\':
        return parse_escape(parser);
    case '.':
        return parse_dot(parser);
    case '*':
    case '+':
    case '?':
        return fail_at(parser, parser->at, "nothing to repeat");
    case '^':
    case '$':
        parser->at++;
        return add_node(
            parser, (struct regex_node){.kind = REGEX_NODE_ASSERT, .first = c == '^' ? REGEX_AT_START : REGEX_AT_END});
    default:
        parser->at++;
        return add_character(parser, c);
    }
}

/* A decimal number at *at; false if there is none. Too large a one becomes one that is too large for a program. */
static bool read_number(const struct parser *parser, size_t *at, uint32_t *value) {
    size_t start = *at;
    *value = 0;
    while (*at < parser->length && parser->pattern[*at] >= '0' && parser->pattern[*at] <= '9') {
        *value = *value > REGEX_INSTRUCTIONS_MAX ? *value : *value * 10 + parser->pattern[*at] - '0';
        (*at)++;
    }
    return *at > start;
}

/* "{2}", "{2,}", "{,3}", "{2,3}"; anything else in braces is text, as in Python. */
static bool read_braces(struct parser *parser, uint32_t *minimum, uint32_t *maximum) {
    size_t at = parser->at + 1;
    bool has_minimum = read_number(parser, &at, minimum);
    *maximum = *minimum;
    bool has_comma = at < parser->length && parser->pattern[at] == ',';
    if (has_comma) {
        at++;
        if (!read_number(parser, &at, maximum)) {
            *maximum = REGEX_UNBOUNDED;
        }
    }
    if ((!has_minimum && !has_comma) || at == parser->length || parser->pattern[at] != '}') {
        return false;
    }
    parser->at = at + 1;
    return true;
}

/* A repeat sign at parser->at, if there is one. */
static bool read_repeat(struct parser *parser, uint32_t *minimum, uint32_t *maximum) {
    if (parser->at == parser->length) {
        return false;
    }
    switch (parser->pattern[parser->at]) {
    case '*':
        *minimum = 0;
        *maximum = REGEX_UNBOUNDED;
        break;
    case '+':
        *minimum = 1;
        *maximum = REGEX_UNBOUNDED;
        break;
    case '?':
        *minimum = 0;
        *maximum = 1;
        break;
    case '{':
        return read_braces(parser, minimum, maximum);
    default:
        return false;
    }
    parser->at++;
    return true;
}

static uint32_t parse_repeated(struct parser *parser) {
    uint32_t atom = parse_atom(parser);
    size_t position = parser->at;
    uint32_t minimum;
    uint32_t maximum;
    if (atom == REGEX_NO_NODE || !read_repeat(parser, &minimum, &maximum)) {
        return atom;
    }
    if (regex_node_at(&parser->nodes, atom)->kind == REGEX_NODE_ASSERT) {
        return fail_at(parser, position, "nothing to repeat");
    }
    if (maximum < minimum) {
        return fail_at(parser, position + 1, "min repeat greater than max repeat");
    }
    if (is_next(parser, "+")) { /* possessive */
        return fail_irregular(parser, position);
    }
    parser->at += is_next(parser, "?"); /* lazy: differs in what is matched, not in whether anything is */
    size_t again = parser->at;
    uint32_t ignored_minimum;
    uint32_t ignored_maximum;
    if (read_repeat(parser, &ignored_minimum, &ignored_maximum)) {
        return fail_at(parser, again, "multiple repeat");
    }
    return add_node(
        parser, (struct regex_node){.kind = REGEX_NODE_REPEAT, .first = atom, .minimum = minimum, .maximum = maximum});
}

static uint32_t parse_sequence(struct parser *parser) {
    uint32_t sequence = REGEX_NO_NODE;
    while (parser->at < parser->length && !is_next(parser, "|") && !is_next(parser, ")")) {
        uint32_t next = parse_repeated(parser);
        if (next == REGEX_NO_NODE) {
            return REGEX_NO_NODE;
        }
        sequence =
            sequence == REGEX_NO_NODE
                ? next
                : add_node(parser, (struct regex_node){.kind = REGEX_NODE_CAT, .first = sequence, .second = next});
        if (sequence == REGEX_NO_NODE) {
            return REGEX_NO_NODE;
        }
    }
    return sequence == REGEX_NO_NODE ? add_node(parser, (struct regex_node){.kind = REGEX_NODE_EMPTY}) : sequence;
}

static uint32_t parse_alternatives(struct parser *parser) {
    uint32_t alternatives = parse_sequence(parser);
    while (alternatives != REGEX_NO_NODE && is_next(parser, "|")) {
        parser->at++;
        uint32_t next = parse_sequence(parser);
        alternatives =
            next == REGEX_NO_NODE
                ? REGEX_NO_NODE
                : add_node(parser,
                           (struct regex_node){.kind = REGEX_NODE_ALTERNATIVE, .first = alternatives, .second = next});
    }
    return alternatives;
}

bool regex_parse(const uint32_t *pattern, size_t length, struct regex_program *program, struct error *err) {
    struct parser parser = {.pattern = pattern, .length = length, .program = program, .err = err};
    uint32_t root = parse_alternatives(&parser);
    bool ok = root != REGEX_NO_NODE;
    if (ok && parser.at < length) {
        fail_at(&parser, parser.at, "unbalanced parenthesis");
        ok = false;
    }
    ok = ok && regex_emit(&parser.nodes, root, program, err);
    if (ok) {
        regex_literals_find(&parser.nodes, root, program);
    }
    buffer_free(&parser.nodes);
    return ok;
}
