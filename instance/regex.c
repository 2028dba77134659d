#include "instance/regex.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/regex_automaton.h"
#include "instance/regex_backtrack.h"
#include "instance/regex_program.h"
#include "instance/utf8.h"

#define PATTERN_MAX_CHARACTERS 4096
#define REPLACEMENT_CHARACTER  0xFFFD
#define MISSES_MIN             32  /* so many lines with a literal and no match, */
#define MISS_BYTES_MIN         256 /* and one in so many bytes: then looking for literals costs more than it saves */

struct regex {
    struct regex_program *program;
    bool is_shared;                    /* the program is another one's */
    struct regex_automaton *automaton; /* NULL until it is needed */
    enum regex_text kind;              /* of the automaton */
    struct regex_backtrack *backtrack; /* in place of all that, for what no automaton can do */
    bool failed;
};

/* The automaton for such texts; NULL: no memory. */
static struct regex_automaton *automaton_for(struct regex *regex, enum regex_text kind) {
    if (regex->automaton == NULL || regex->kind != kind) {
        regex_automaton_free(regex->automaton);
        regex->automaton = regex_automaton_new(regex->program, kind);
        regex->kind = kind;
    }
    regex->failed = regex->failed || regex->automaton == NULL;
    return regex->automaton;
}

bool regex_search(struct regex *regex, const char *text, size_t length) {
    if (regex->backtrack != NULL) {
        return regex_backtrack_search(regex->backtrack, text, length);
    }
    struct regex_automaton *automaton = automaton_for(regex, REGEX_TEXT_WHOLE);
    return automaton != NULL && regex_automaton_search(automaton, text, length, &regex->failed) != NULL;
}

/* Looks at the lines that have a literal in them, and only at these. When that are so many that it is no help, *rest is
 * where to go on without. */
static const char *find_by_literals(struct regex *regex, const char *text, const char *end, const char **rest) {
    const struct regex_literals *literals = &regex->program->literals;
    const char *at = text;
    const char *found;
    size_t misses = 0;
    *rest = NULL;
    while ((found = regex_literals_search(literals, at, (size_t)(end - at))) != NULL && !literals->are_complete) {
        const char *before = memrchr(at, '\n', (size_t)(found - at));
        const char *line = before != NULL ? before + 1 : at;
        const char *line_feed = memchr(found, '\n', (size_t)(end - found));
        const char *next = line_feed != NULL ? line_feed + 1 : end;
        const char *match = regex_automaton_search(regex->automaton, line, (size_t)(next - line), &regex->failed);
        if (match != NULL) {
            return match;
        }
        if (++misses >= MISSES_MIN && (size_t)(next - text) / misses < MISS_BYTES_MIN) {
            *rest = next;
            return NULL;
        }
        at = next;
    }
    return found;
}

/* One line after the other: what looks around must not see the next one. */
static const char *find_by_backtracking(struct regex_backtrack *backtrack, const char *text, const char *end) {
    while (text < end) {
        const char *line_feed = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((line_feed != NULL ? line_feed : end) - text);
        length -= length > 0 && text[length - 1] == '\r';
        if (regex_backtrack_search(backtrack, text, length)) {
            return text;
        }
        text = line_feed != NULL ? line_feed + 1 : end;
    }
    return NULL;
}

const char *regex_find_line(struct regex *regex, const char *text, size_t length) {
    const char *end = text + length;
    const char *rest = text;
    if (regex->backtrack != NULL) {
        return find_by_backtracking(regex->backtrack, text, end);
    }
    if (automaton_for(regex, REGEX_TEXT_LINES) == NULL) {
        return NULL;
    }
    if (regex->program->literals.count > 0) {
        const char *found = find_by_literals(regex, text, end, &rest);
        if (found != NULL || rest == NULL) {
            return found;
        }
    }
    return rest == end ? NULL : regex_automaton_search(regex->automaton, rest, (size_t)(end - rest), &regex->failed);
}

bool regex_failed(const struct regex *regex) {
    return regex->failed;
}

bool regex_gave_up(const struct regex *regex) {
    return regex->backtrack != NULL && regex_backtrack_gave_up(regex->backtrack);
}

void regex_free(struct regex *regex) {
    if (regex == NULL) {
        return;
    }
    regex_automaton_free(regex->automaton);
    regex_backtrack_free(regex->backtrack);
    if (!regex->is_shared && regex->program != NULL) {
        buffer_free(&regex->program->instructions);
        buffer_free(&regex->program->sets);
        buffer_free(&regex->program->ranges);
        free(regex->program);
    }
    free(regex);
}

struct regex *regex_share(const struct regex *regex) {
    struct regex *other = calloc(1, sizeof(*other));
    if (other != NULL) {
        *other = (struct regex){.program = regex->program, .is_shared = true};
    }
    if (other != NULL && regex->backtrack != NULL &&
        (other->backtrack = regex_backtrack_share(regex->backtrack)) == NULL) {
        free(other);
        other = NULL;
    }
    return other;
}

static void cleanup_regex_function(struct regex **regex) {
    regex_free(*regex);
}

static struct regex *compile(const uint32_t *pattern, size_t length, bool ignore_case, struct error *err) {
    __attribute__((cleanup(cleanup_regex_function))) struct regex *regex = calloc(1, sizeof(*regex));
    if (regex == NULL || (regex->program = calloc(1, sizeof(*regex->program))) == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    regex->program->ignore_case = ignore_case;
    return regex_parse(pattern, length, regex->program, err) ? steal_pointer(&regex) : NULL;
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

static struct regex *compile_backtracking(const char *pattern, size_t length, bool ignore_case, struct error *err) {
    struct regex *regex = calloc(1, sizeof(*regex));
    if (regex == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    regex->backtrack = regex_backtrack_compile(pattern, length, ignore_case, err);
    if (regex->backtrack == NULL) {
        free(regex);
        return NULL;
    }
    return regex;
}

struct regex *regex_compile(const char *pattern, size_t length, bool ignore_case, struct error *err) {
    size_t count;
    cleanup_free uint32_t *characters = decode(pattern, length, &count, err);
    struct regex *regex = characters == NULL ? NULL : compile(characters, count, ignore_case, err);
    bool is_irregular = characters != NULL && regex == NULL && err->code == ERROR_UNPROCESSABLE;
    return is_irregular ? compile_backtracking(pattern, length, ignore_case, err) : regex;
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
