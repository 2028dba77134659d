/* The positions are those at which the scanner of CPython's json module gives up. */
#include "instance/json_syntax.h"

#include <ctype.h>
#include <string.h>

struct scan {
    const char *text;
    size_t length;
    size_t at;
    unsigned depth_left;
    struct json_syntax_problem *problem;
};

static bool fail(struct scan *scan, size_t position, const char *message) {
    *scan->problem = (struct json_syntax_problem){position, message};
    return false;
}

/* The next byte, NUL at the end (which no rule below takes). */
static char peek(const struct scan *scan) {
    return scan->at < scan->length ? scan->text[scan->at] : '\0';
}

static void skip_space(struct scan *scan) {
    while (scan->at < scan->length && memchr(" \t\r\n", scan->text[scan->at], 4) != NULL) {
        scan->at++;
    }
}

static bool take(struct scan *scan, char c) {
    if (peek(scan) != c) {
        return false;
    }
    scan->at++;
    return true;
}

static bool take_digits(struct scan *scan) {
    size_t start = scan->at;
    while (isdigit((unsigned char)peek(scan))) {
        scan->at++;
    }
    return scan->at > start;
}

/* What follows a number that is complete, as in "1." or "01", is for the caller to refuse. */
static bool check_number(struct scan *scan) {
    size_t start = scan->at;
    take(scan, '-');
    if (!take(scan, '0') && !take_digits(scan)) {
        return fail(scan, start, "Expecting value");
    }
    size_t end = scan->at;
    if (take(scan, '.') && take_digits(scan)) {
        end = scan->at;
    }
    scan->at = end;
    if (take(scan, 'e') || take(scan, 'E')) {
        if (!take(scan, '+')) {
            take(scan, '-');
        }
        end = take_digits(scan) ? scan->at : end;
    }
    scan->at = end;
    return true;
}

/* \uXXXX, from the "u" on. Python wants to see what follows the four digits. */
static bool read_unit(struct scan *scan, unsigned *unit) {
    *unit = 0;
    for (size_t i = 1; i <= 4; i++) {
        char c = scan->at + 5 < scan->length ? scan->text[scan->at + i] : '\0';
        if (!isxdigit((unsigned char)c)) {
            return fail(scan, scan->at, "Invalid \\uXXXX escape");
        }
        *unit = *unit << 4 | (unsigned)(isdigit((unsigned char)c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    scan->at += 5;
    return true;
}

/* json-c would make U+FFFD of half a pair (RFC 8259 §8.2): what the client meant would be changed without a word. */
static bool check_unit(struct scan *scan, size_t backslash) {
    unsigned unit;
    unsigned second = 0;
    if (!read_unit(scan, &unit)) {
        return false;
    }
    if (unit < 0xD800 || unit > 0xDFFF) {
        return true;
    }
    bool is_followed = unit <= 0xDBFF && scan->length - scan->at > 1 && memcmp(scan->text + scan->at, "\\u", 2) == 0;
    if (is_followed) {
        scan->at++;
        if (!read_unit(scan, &second)) {
            return false;
        }
    }
    return (second & 0xFC00) == 0xDC00 || fail(scan, backslash, "Unpaired surrogate");
}

static bool check_escape(struct scan *scan, size_t string_start) {
    size_t backslash = scan->at++;
    if (scan->at == scan->length) {
        return fail(scan, string_start, "Unterminated string starting at");
    }
    if (peek(scan) == 'u') {
        return check_unit(scan, backslash);
    }
    if (memchr("\"\\/bfnrt", peek(scan), 8) == NULL) {
        return fail(scan, backslash, "Invalid \\escape");
    }
    scan->at++;
    return true;
}

static bool check_string(struct scan *scan) {
    size_t start = scan->at++;
    while (scan->at < scan->length) {
        unsigned char c = (unsigned char)scan->text[scan->at];
        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c < 0x20) {
            return fail(scan, scan->at, "Invalid control character at");
        }
        if (c != '\\') {
            scan->at++;
        } else if (!check_escape(scan, start)) {
            return false;
        }
    }
    return fail(scan, start, "Unterminated string starting at");
}

static bool check_value(struct scan *scan);

static bool check_member(struct scan *scan) {
    if (peek(scan) != '"') {
        return fail(scan, scan->at, "Expecting property name enclosed in double quotes");
    }
    if (!check_string(scan)) {
        return false;
    }
    skip_space(scan);
    if (!take(scan, ':')) {
        return fail(scan, scan->at, "Expecting ':' delimiter");
    }
    skip_space(scan);
    return check_value(scan);
}

/* An array or object, from its opening bracket on. */
static bool check_container(struct scan *scan) {
    bool is_object = peek(scan) == '{';
    char close = is_object ? '}' : ']';
    if (scan->depth_left == 0) {
        return fail(scan, scan->at, "Too deeply nested");
    }
    scan->depth_left--;
    scan->at++;
    skip_space(scan);
    bool is_closed = take(scan, close);
    while (!is_closed) {
        if (!(is_object ? check_member(scan) : check_value(scan))) {
            return false;
        }
        skip_space(scan);
        is_closed = take(scan, close);
        size_t comma = scan->at;
        if (!is_closed && !take(scan, ',')) {
            return fail(scan, comma, "Expecting ',' delimiter");
        }
        skip_space(scan);
        if (!is_closed && peek(scan) == close) {
            return fail(scan, comma,
                        is_object ? "Illegal trailing comma before end of object"
                                  : "Illegal trailing comma before end of array");
        }
    }
    scan->depth_left++;
    return true;
}

static bool check_value(struct scan *scan) {
    static const char *const words[] = {"null", "true", "false"};
    switch (peek(scan)) {
    case '"':
        return check_string(scan);
    case '{':
    case '[':
        return check_container(scan);
    default:
        break;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t length = strlen(words[i]);
        if (scan->length - scan->at >= length && memcmp(scan->text + scan->at, words[i], length) == 0) {
            scan->at += length;
            return true;
        }
    }
    return check_number(scan);
}

bool json_syntax_check(const char *text, size_t length, unsigned depth_max, struct json_syntax_problem *problem) {
    struct scan scan = {.text = text, .length = length, .depth_left = depth_max, .problem = problem};
    skip_space(&scan);
    if (!check_value(&scan)) {
        return false;
    }
    skip_space(&scan);
    return scan.at == length || fail(&scan, scan.at, "Extra data");
}
