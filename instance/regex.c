#include "instance/regex.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/regex_program.h"
#include "instance/utf8.h"

#define PATTERN_MAX_CHARACTERS 4096
#define REPLACEMENT_CHARACTER  0xFFFD

/* Places in the program, each at most once. */
struct places {
    uint32_t *list;
    size_t count;
};

struct regex {
    struct regex_program program;
    struct places waiting; /* the sets that the next character is tried on */
    struct places led;     /* where the last character led */
    uint64_t *seen;        /* per instruction: the round in which it was reached last */
    uint64_t round;        /* one a character */
    uint32_t *stack;       /* of places to follow */
};

/* Where in the text a round is. */
struct position {
    bool is_start;
    bool is_end;
    bool is_word_edge;
};

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

static const struct regex_instruction *instruction_at(const struct regex *regex, uint32_t index) {
    return (const struct regex_instruction *)(const void *)regex->program.instructions.data + index;
}

static bool is_in_ranges(const struct regex *regex, const struct regex_set *set, uint32_t c) {
    const struct regex_range *ranges = (const struct regex_range *)(const void *)regex->program.ranges.data;
    for (uint32_t i = 0; i < set->range_count; i++) {
        const struct regex_range *range = &ranges[set->range_start + i];
        if (c >= range->first && c <= range->last) {
            return true;
        }
    }
    return false;
}

static bool takes(const struct regex *regex, uint32_t set_index, uint32_t c) {
    const struct regex_set *set = (const struct regex_set *)(const void *)regex->program.sets.data + set_index;
    bool is_in = is_in_ranges(regex, set, c) || (regex->program.ignore_case && (is_in_ranges(regex, set, to_lower(c)) ||
                                                                                is_in_ranges(regex, set, to_upper(c))));
    return is_in != set->is_negated;
}

static bool holds(const struct position *position, uint32_t assertion) {
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

/* Follows the program from `place` as far as it goes without a character, to the sets that wait for one. True if that
 * is to its end. Each instruction is followed once a round, and puts two on the stack at most. */
static bool reach(struct regex *regex, uint32_t place, const struct position *position) {
    size_t depth = 0;
    regex->stack[depth++] = place;
    while (depth > 0) {
        place = regex->stack[--depth];
        if (regex->seen[place] == regex->round) {
            continue;
        }
        regex->seen[place] = regex->round;
        const struct regex_instruction *instruction = instruction_at(regex, place);
        switch (instruction->operation) {
        case REGEX_MATCH:
            return true;
        case REGEX_SET:
            regex->waiting.list[regex->waiting.count++] = place;
            break;
        case REGEX_ASSERT:
            if (holds(position, instruction->first)) {
                regex->stack[depth++] = place + 1;
            }
            break;
        default:
            regex->stack[depth++] = instruction->second;
            regex->stack[depth++] = instruction->first;
        }
    }
    return false;
}

bool regex_search(struct regex *regex, const char *text, size_t length) {
    size_t at = 0;
    bool was_word = false;
    regex->led.count = 0;
    for (;;) {
        uint32_t c = REPLACEMENT_CHARACTER;
        size_t size = utf8_decode(text + at, length - at, &c);
        bool is_word = at < length && regex_is_word(c);
        struct position position = {.is_start = at == 0, .is_end = at == length, .is_word_edge = is_word != was_word};
        regex->round++;
        regex->waiting.count = 0;
        for (size_t i = 0; i < regex->led.count; i++) {
            if (reach(regex, regex->led.list[i], &position)) {
                return true;
            }
        }
        if (reach(regex, 0, &position)) { /* a match may begin here, too */
            return true;
        }
        if (at == length) {
            return false;
        }
        regex->led.count = 0;
        for (size_t i = 0; i < regex->waiting.count; i++) {
            uint32_t place = regex->waiting.list[i];
            if (takes(regex, instruction_at(regex, place)->first, c)) {
                regex->led.list[regex->led.count++] = place + 1;
            }
        }
        was_word = is_word;
        at += size > 0 ? size : 1;
    }
}

void regex_free(struct regex *regex) {
    if (regex == NULL) {
        return;
    }
    buffer_free(&regex->program.instructions);
    buffer_free(&regex->program.sets);
    buffer_free(&regex->program.ranges);
    free(regex->waiting.list);
    free(regex->led.list);
    free(regex->seen);
    free(regex->stack);
    free(regex);
}

/* Room for what running the program takes. */
static bool prepare(struct regex *regex) {
    size_t length = regex->program.instructions.length / sizeof(struct regex_instruction);
    regex->waiting.list = calloc(length, sizeof(uint32_t));
    regex->led.list = calloc(length, sizeof(uint32_t));
    regex->seen = calloc(length, sizeof(uint64_t));
    regex->stack = calloc(2 * length + 1, sizeof(uint32_t));
    return regex->waiting.list != NULL && regex->led.list != NULL && regex->seen != NULL && regex->stack != NULL;
}

static void cleanup_regex_function(struct regex **regex) {
    regex_free(*regex);
}

static struct regex *compile(const uint32_t *pattern, size_t length, bool ignore_case, struct error *err) {
    __attribute__((cleanup(cleanup_regex_function))) struct regex *regex = calloc(1, sizeof(*regex));
    if (regex == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    regex->program.ignore_case = ignore_case;
    if (!regex_parse(pattern, length, &regex->program, err)) {
        return NULL;
    }
    if (!prepare(regex)) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return steal_pointer(&regex);
}

/* Grows a pattern character by character; how long it may get is checked first. */
struct characters {
    uint32_t *list;
    size_t count;
};

static void append(struct characters *characters, uint32_t c) {
    characters->list[characters->count++] = c;
}

static void append_ascii(struct characters *characters, const char *text) {
    for (; *text != '\0'; text++) {
        append(characters, (unsigned char)*text);
    }
}

static void append_verbatim(struct characters *characters, uint32_t c) {
    if (c < 0x80 && !regex_is_word(c)) {
        append(characters, '\\');
    }
    append(characters, c);
}

#define EXPANSION_MAX 10 /* characters of a regular expression that one of a glob becomes, and then some */

/* The characters of UTF-8 text, with room to become a longer pattern. NULL: *err. */
static uint32_t *decode(const char *text, size_t length, size_t *count, struct error *err) {
    if (length > PATTERN_MAX_CHARACTERS) {
        error_set(err, ERROR_INVALID, "a pattern of more than %d bytes", PATTERN_MAX_CHARACTERS);
        return NULL;
    }
    uint32_t *characters = calloc(length + 1, sizeof(*characters));
    if (characters == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    *count = 0;
    for (size_t at = 0; at < length; (*count)++) {
        size_t size = utf8_decode(text + at, length - at, &characters[*count]);
        characters[*count] = size > 0 ? characters[*count] : REPLACEMENT_CHARACTER;
        at += size > 0 ? size : 1;
    }
    return characters;
}

struct regex *regex_compile(const char *pattern, size_t length, bool ignore_case, struct error *err) {
    size_t count;
    cleanup_free uint32_t *characters = decode(pattern, length, &count, err);
    return characters == NULL ? NULL : compile(characters, count, ignore_case, err);
}

struct regex *regex_compile_literal(const char *text, size_t length, bool ignore_case, struct error *err) {
    size_t count;
    cleanup_free uint32_t *characters = decode(text, length, &count, err);
    cleanup_free uint32_t *list = characters == NULL ? NULL : calloc(2 * count + 1, sizeof(*list));
    if (list == NULL) {
        return NULL;
    }
    struct characters pattern = {.list = list};
    for (size_t i = 0; i < count; i++) {
        append_verbatim(&pattern, characters[i]);
    }
    return compile(pattern.list, pattern.count, ignore_case, err);
}

/* "[seq]" at `at`: appends it as a set and returns how long it is; 0 if it is not closed, and so is only a bracket. */
static size_t append_glob_set(struct characters *pattern, const uint32_t *glob, size_t length) {
    size_t end = 1;
    bool is_negated = end < length && glob[end] == '!';
    end += is_negated;
    size_t start = end;
    end += end < length && glob[end] == ']'; /* first in the set, it is a member */
    while (end < length && glob[end] != ']') {
        end++;
    }
    if (end >= length) {
        return 0;
    }
    append_ascii(pattern, is_negated ? "[^" : "[");
    for (size_t i = start; i < end; i++) {
        if (glob[i] == '-') {
            append(pattern, '-');
        } else {
            append_verbatim(pattern, glob[i]);
        }
    }
    append(pattern, ']');
    return end + 1;
}

struct regex *regex_compile_glob(const char *text, size_t length, struct error *err) {
    size_t count;
    cleanup_free uint32_t *glob = decode(text, length, &count, err);
    cleanup_free uint32_t *list = glob == NULL ? NULL : calloc(EXPANSION_MAX * (count + 1), sizeof(*list));
    if (list == NULL) {
        return NULL;
    }
    struct characters pattern = {.list = list};
    append_ascii(&pattern, "(?s)^");
    for (size_t i = 0; i < count; i++) {
        size_t set_length = glob[i] == '[' ? append_glob_set(&pattern, glob + i, count - i) : 0;
        if (set_length > 0) {
            i += set_length - 1;
        } else if (glob[i] == '*') {
            append_ascii(&pattern, i > 0 && glob[i - 1] == '*' ? "" : ".*");
        } else if (glob[i] == '?') {
            append(&pattern, '.');
        } else {
            append_verbatim(&pattern, glob[i]);
        }
    }
    append(&pattern, '$');
    return compile(pattern.list, pattern.count, false, err);
}
