/* Looking through many lines at once finds the lines that match one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "instance/regex.h"

/* The number of the first line that matches, 0 if none does. */
static int first_line(const char *pattern, bool ignore_case, const char *text, size_t length) {
    struct error err;
    struct regex *regex = regex_compile(pattern, strlen(pattern), ignore_case, &err);
    if (regex == NULL) {
        fail_msg("`%s`: %s", pattern, err.message);
    }
    const char *found = regex_find_line(regex, text, length);
    assert_false(regex_failed(regex));
    int line = found != NULL;
    for (const char *c = text; c < found; c++) {
        line += *c == '\n';
    }
    regex_free(regex);
    return line;
}

static void test_each_line_is_a_text_of_its_own(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *text;
        int line;
    } cases[] = {
        {"^b", "a\nb\n", 2},
        {"a$", "ab\nba\n", 2},
        {"^$", "a\n\nb", 2},
        {"^$", "a\n", 0},
        {"a.b", "a\nb\naxb", 3},
        {"a\\sb", "a\nb\na b", 3},
        {"[^x]b", "a\nb\nab", 3},
        {"b$", "ab\r\n", 1},
        {"b\\s", "b\r\nb \r\n", 2},
        {"\r", "a\r\nb\rc\n", 2},
        {"a$", "a\r", 1},
        {"\\bfoo\\b", "foot\nx foo", 2},
        {"o\\b", "of\nfo", 2},
        {"foo|bar", "x\nbar\n", 2},
        {"(foo|ba+r)z", "foo\nbaarz\n", 2},
        {"colou?r", "colr\ncolor", 2},
        {"x*y", "xx\nzy", 2},
        {"h.llo", "hxxllo\nh\xC3\xA9llo", 2},
        {"\xC3\xA9+$", "e\n\xC3\xA9\xC3\xA9\n", 2},
        {"(a|b)(c|d)(e|f)", "ace\n", 1},
        {"(?:ab){3}", "abab\nababab", 2},
        {"a{0}b", "a\nb", 2},
        {"(abc|abd)*x", "y\nx", 2},
        {"", "a\n", 1},
        {"never", "", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int line = first_line(cases[i].pattern, false, cases[i].text, strlen(cases[i].text));
        if (line != cases[i].line) {
            fail_msg("`%s` in case %zu: line %d, not %d", cases[i].pattern, i, line, cases[i].line);
        }
    }
    assert_int_equal(first_line("hELlo", true, "x\nHelLO", 7), 2);
    assert_int_equal(first_line("\xC3\x89t\xC3\xA9", true, "\xC3\xA9T\xC3\x89", 5), 1);
}

/* A word at every place of a text longer than what is looked at in one go. */
static void test_a_word_is_found_wherever_it_is(void **state) {
    (void)state;
    const size_t length = 40000;
    char *text = malloc(length);
    assert_non_null(text);
    for (size_t at = 0; at + 6 < length; at += at < 100 ? 1 : 37) {
        memset(text, 'n', length);
        for (size_t i = 79; i < length; i += 80) {
            text[i] = '\n';
        }
        memcpy(text + at, "needle", 6);
        int line = 1;
        for (size_t i = 0; i < at; i++) {
            line += text[i] == '\n';
        }
        assert_int_equal(first_line("needle", false, text, length), line);
        assert_int_equal(first_line("nEEdle|haystack", true, text, length), line);
        assert_int_equal(first_line("ne+dle", false, text, length), line);
    }
    free(text);
}

/* More states than are kept at once: what was learnt is thrown away, and learnt anew. */
static void test_a_pattern_of_many_states_finds_the_same(void **state) {
    (void)state;
    cleanup_buffer struct buffer text = {0};
    unsigned random = 1;
    for (int i = 0; i < 400000; i++) {
        random = random * 1103515245U + 12345U;
        buffer_append(&text, (random >> 16 & 1) != 0 ? "a" : "b", 1);
    }
    buffer_append_string(&text, "\nxa");
    for (int i = 0; i < 18; i++) {
        buffer_append_string(&text, "b");
    }
    buffer_append_string(&text, "y\n");
    assert_int_equal(first_line("a[ab]{18}y", false, text.data, text.length), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_line_is_a_text_of_its_own),
        cmocka_unit_test(test_a_word_is_found_wherever_it_is),
        cmocka_unit_test(test_a_pattern_of_many_states_finds_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
