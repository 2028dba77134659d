#include "instance/regex_backtrack.h"

#include <ctype.h>
#include <stdlib.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "instance/utf8.h"

#define STEPS_MAX    1000000 /* on one line: some 20 ms */
#define HEAP_MAX_KIB 4096
#define GROUPS_MAX   256 /* in one another; PCRE2 takes 250 */
#define GIVEN_UP_MAX 20  /* lines; by then the expression is to blame and not the line */

struct regex_backtrack {
    pcre2_code *code;
    bool is_shared; /* the code is another one's */
    pcre2_match_data *data;
    pcre2_match_context *context;
    unsigned given_up;
};

static struct regex_backtrack *make(pcre2_code *code, bool is_shared) {
    struct regex_backtrack *regex = calloc(1, sizeof(*regex));
    if (regex == NULL) {
        return NULL;
    }
    *regex = (struct regex_backtrack){.code = code, .is_shared = is_shared};
    regex->data = pcre2_match_data_create(1, NULL);
    regex->context = pcre2_match_context_create(NULL);
    if (regex->data == NULL || regex->context == NULL) {
        regex->is_shared = true;
        regex_backtrack_free(regex);
        return NULL;
    }
    pcre2_set_match_limit(regex->context, STEPS_MAX);
    pcre2_set_heap_limit(regex->context, HEAP_MAX_KIB);
    return regex;
}

/* PCRE2 counts bytes, Python (and what we tell) characters. */
static size_t characters_before(const char *pattern, size_t length, size_t offset) {
    size_t count = 0;
    for (size_t at = 0; at < offset && at < length; count++) {
        size_t size = utf8_decode(pattern + at, length - at, NULL);
        at += size > 0 ? size : 1;
    }
    return count;
}

/* Where the innermost group begins that is not closed. */
static size_t find_open_group(const char *pattern, size_t length) {
    size_t open[GROUPS_MAX];
    size_t depth = 0;
    bool is_in_set = false;
    for (size_t at = 0; at < length; at++) {
        if (pattern[at] == '\\') {
            at++;
        } else if (is_in_set || pattern[at] == '[') {
            is_in_set = !is_in_set || pattern[at] != ']';
        } else if (pattern[at] == '(' && depth < GROUPS_MAX) {
            open[depth++] = at;
        } else if (pattern[at] == ')' && depth > 0) {
            depth--;
        }
    }
    return depth > 0 ? open[depth - 1] : 0;
}

/* There is no such group: a number or a name at `offset`. */
static void tell_reference(const char *pattern, size_t length, size_t offset, struct error *err) {
    size_t end = offset;
    while (end < length && (isalnum((unsigned char)pattern[end]) || pattern[end] == '_')) {
        end++;
    }
    bool is_number = end == offset || isdigit((unsigned char)pattern[offset]);
    error_set(err, ERROR_INVALID,
              is_number ? "invalid group reference %.*s at position %zu" : "unknown group name '%.*s' at position %zu",
              (int)(end - offset), pattern + offset, characters_before(pattern, length, offset));
}

/* Python's words for the usual mistakes, PCRE2's for the others. */
static void tell(int problem, const char *pattern, size_t length, size_t offset, struct error *err) {
    enum error_code code = problem == PCRE2_ERROR_NOMEMORY ? ERROR_INTERNAL : ERROR_INVALID;
    PCRE2_UCHAR message[256];
    switch (problem) {
    case PCRE2_ERROR_LOOKBEHIND_NOT_FIXED_LENGTH:
        error_set(err, code, "look-behind requires fixed-width pattern");
        return;
    case PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS:
        error_set(err, code, "missing ), unterminated subpattern at position %zu",
                  characters_before(pattern, length, find_open_group(pattern, length)));
        return;
    case PCRE2_ERROR_BAD_SUBPATTERN_REFERENCE:
        tell_reference(pattern, length, offset, err);
        return;
    default:
        pcre2_get_error_message(problem, message, sizeof(message));
        error_set(err, code, "%s at position %zu", (const char *)message, characters_before(pattern, length, offset));
    }
}

struct regex_backtrack *regex_backtrack_compile(const char *pattern, size_t length, bool ignore_case,
                                                struct error *err) {
    /* \u with four digits, as in Python; no \C, which could end within a character. */
    uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_ALT_BSUX | PCRE2_NEVER_BACKSLASH_C;
    int problem = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, length, options | (ignore_case ? PCRE2_CASELESS : 0),
                                     &problem, &offset, NULL);
    if (code == NULL) {
        tell(problem, pattern, length, offset, err);
        return NULL;
    }
    struct regex_backtrack *regex = make(code, false);
    if (regex == NULL) {
        pcre2_code_free(code);
        error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return regex;
}

struct regex_backtrack *regex_backtrack_share(const struct regex_backtrack *other) {
    return make(other->code, true);
}

bool regex_backtrack_search(struct regex_backtrack *regex, const char *line, size_t length) {
    if (regex->given_up == GIVEN_UP_MAX) {
        return false;
    }
    int found = pcre2_match(regex->code, (PCRE2_SPTR)line, length, 0, 0, regex->data, regex->context);
    bool is_unknown = found == PCRE2_ERROR_MATCHLIMIT || found == PCRE2_ERROR_HEAPLIMIT ||
                      found == PCRE2_ERROR_DEPTHLIMIT || found == PCRE2_ERROR_NOMEMORY;
    regex->given_up += is_unknown;
    return found >= 0;
}

bool regex_backtrack_gave_up(const struct regex_backtrack *regex) {
    return regex->given_up > 0;
}

void regex_backtrack_free(struct regex_backtrack *regex) {
    if (regex == NULL) {
        return;
    }
    pcre2_match_data_free(regex->data);
    pcre2_match_context_free(regex->context);
    if (!regex->is_shared) {
        pcre2_code_free(regex->code);
    }
    free(regex);
}
