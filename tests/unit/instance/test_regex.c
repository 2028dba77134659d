/* Python's notation, searched in linear time. Expected values and sentences are Python's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "instance/regex.h"

static bool search(const char *pattern, const char *text, bool ignore_case) {
    struct error err;
    struct regex *regex = regex_compile(pattern, strlen(pattern), ignore_case, &err);
    if (regex == NULL) {
        fail_msg("`%s`: %s", pattern, err.message);
    }
    bool is_found = regex_search(regex, text, strlen(text));
    if (is_found != regex_search(regex, text, strlen(text))) {
        fail_msg("`%s` differs the second time", pattern);
    }
    regex_free(regex);
    return is_found;
}

static void test_what_matches_and_what_does_not(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *matches, *differs;
    } cases[] = {
        {"abc", "xabcx", "ab c"},
        {"a.c", "abc", "a\nc"},
        {"a.c",
         "a\xC3\xA9"
         "c",
         "ac"},
        {"^ab", "abc", "cab"},
        {"ab$", "cab", "abc"},
        {"^$", "", "x"},
        {"a|b|cd", "xcd", "c d"},
        {"a(b|c)*d", "abcbcd", "abxd"},
        {"a+b", "aab", "b"},
        {"a?b$", "b", "ba"},
        {"^a{2}$", "aa", "aaa"},
        {"^a{2,}$", "aaaa", "a"},
        {"^a{1,3}$", "aaa", "aaaa"},
        {"^a{,2}$", "", "aaa"},
        {"a{x}", "a{x}", "aa"},
        {"a{", "a{", "a"},
        {"[abc]d", "cd", "xd"},
        {"[a-c]d", "bd", "dd"},
        {"[^a-c]d", "xd", "ad"},
        {"[]x]", "]", "["},
        {"[^]x]", "a", "]"},
        {"[a-]", "-", "b"},
        {"[\\d_]+x", "1_x", "ax"},
        {"^\\d+$", "0123", "12a"},
        {"^\\D$", "a", "1"},
        {"\\s", "a b", "ab"},
        {"^\\S+$", "a.b", "a b"},
        {"^\\w+$", "a_9\xC3\xA9", "a-b"},
        {"^\\W$", "-", "a"},
        {"\\bcat\\b", "a cat!", "concat"},
        {"\\Bcat", "concat", "cat"},
        {"\\Aa\\Z", "a", "ab"},
        {"\\.\\*\\\\", ".*\\", "ab\\"},
        {"\\x41\\u00e9", "A\xC3\xA9", "A"},
        {"a\\tb", "a\tb", "atb"},
        {"(?:ab)+c", "ababc", "ac"},
        {"(?P<name>x)y", "xy", "y"},
        {"a.*?b", "a--b", "ba"},
        {"(?i)HeLLo", "hEllO", "help"},
        {"(?i)[A-C]x", "bX", "dx"},
        {"(a*)*b", "aaab", "aaac"},
        {"(|a)+b", "b", "a"},
        {"\xE6\x96\x87+", "\xE6\x96\x87\xE6\x96\x87", "\xE6\x96\x88"},
        {"()", "", NULL},
        {"", "anything", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (!search(cases[i].pattern, cases[i].matches, false)) {
            fail_msg("`%s` does not match `%s`", cases[i].pattern, cases[i].matches);
        }
        if (cases[i].differs != NULL && search(cases[i].pattern, cases[i].differs, false)) {
            fail_msg("`%s` matches `%s`", cases[i].pattern, cases[i].differs);
        }
    }
}

static void test_case_can_be_ignored(void **state) {
    (void)state;
    assert_true(search("LINE [a-f]", "line C", true));
    assert_true(search("\xC3\x89t\xC3\xA9", "\xC3\xA9T\xC3\x89", true));
    assert_false(search("[^a]", "A", true));
    assert_false(search("LINE", "line", false));
}

static void test_errors_in_pythons_words(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *message;
    } cases[] = {
        {"[", "unterminated character set at position 0"},
        {"a[b", "unterminated character set at position 1"},
        {"[]", "unterminated character set at position 0"},
        {"(a", "missing ), unterminated subpattern at position 0"},
        {"a)", "unbalanced parenthesis at position 1"},
        {"*a", "nothing to repeat at position 0"},
        {"a|*", "nothing to repeat at position 2"},
        {"a**", "multiple repeat at position 2"},
        {"\\", "bad escape (end of pattern) at position 0"},
        {"a\\q", "bad escape \\q at position 1"},
        {"\\x4", "incomplete escape \\x4 at position 0"},
        {"[z-a]", "bad character range z-a at position 1"},
        {"[a-\\d]", "bad character range a-\\d at position 1"},
        {"a{3,2}", "min repeat greater than max repeat at position 2"},
        {"(?", "unexpected end of pattern at position 2"},
        {"(?P", "unexpected end of pattern at position 3"},
        {"(?P<", "missing group name at position 4"},
        {"(?P<a", "missing >, unterminated name at position 4"},
        {"(?z)", "unknown extension ?z at position 1"},
        {"(?<a>b)", "unknown extension ?<a at position 1"},
        {"(?P>a)", "unknown extension ?P> at position 1"},
        {"(?i", "missing -, : or ) at position 3"},
        {"(*FAIL)", "nothing to repeat at position 1"},
        {"(?<=a+)b", "look-behind requires fixed-width pattern"},
        {"\xC3\xA9(a)(?=[(]\\(b", "missing ), unterminated subpattern at position 4"},
        {"(?i:a", "missing ), unterminated subpattern at position 0"},
        {"(a)\\2", "invalid group reference 2 at position 4"},
        {"(?P=b)", "unknown group name 'b' at position 4"},
        {"((((a{99}){99}){99}){99})", "the pattern is too large"},
        {"(((){9999}){9999}){9999}", "the pattern is too large"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {0};
        struct regex *regex = regex_compile(cases[i].pattern, strlen(cases[i].pattern), false, &err);
        if (regex != NULL || strcmp(err.message, cases[i].message) != 0) {
            fail_msg("`%s`: %s", cases[i].pattern, regex != NULL ? "compiles" : err.message);
        }
        assert_int_equal(err.code, ERROR_INVALID);
    }
}

/* What no automaton can do, and PCRE2 does (regex_backtrack.h). Asked of Python's re. */
static void test_look_around_and_back_references(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *matches, *differs;
    } cases[] = {
        {"foo(?=bar)", "foobar", "foo bar"},
        {"foo(?!bar)", "foo bar", "foobar"},
        {"(?<=foo)bar", "foobar", "barfoo"},
        {"(?<!foo)bar", "barfoo", "foobar"},
        {"(\\w+) \\1", "the the cat", "the cat"},
        {"(?P<w>\\w+) (?P=w)$", "a b b", "a b c"},
        {"^(?!.*foo).+$", "bar", "a foo"},
        {"(?=.*a)(?=.*b)^", "bxa", "aa"},
        {"a++b", "aab", "ba"},
        {"a++a", "", "aaa"},
        {"(?>a+)a", "", "aaa"},
        {"(?i:FOO)bar", "foobar", "fooBAR"},
        {"(a)?(?(1)b|c)", "c", "xb"},
        {"fo(?#comment)o", "foo", "fo"},
        {"(?x) fo o # c", "foo", "fo o"},
        {"\\u00e9(?= \\w)", "\xC3\xA9 \xC3\xA9", "\xC3\xA9."},
        {"(?<=\xE6\x96\x87).$", "\xE6\x96\x87\xE5\xAD\x97", "\xE5\xAD\x97"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if ((*cases[i].matches != '\0' && !search(cases[i].pattern, cases[i].matches, false)) ||
            search(cases[i].pattern, cases[i].differs, false)) {
            fail_msg("`%s`", cases[i].pattern);
        }
    }
    assert_true(search("(\xC3\xA9)\\1", "\xC3\x89\xC3\xA9", true));
}

static void test_lines_do_not_see_one_another(void **state) {
    (void)state;
    struct error err;
    static const char text[] = "foo\nbar\r\nfoo\xFF\nfoo\r\nend";
    static const char pattern[] = "foo(?!\\s*bar|.)$";
    struct regex *regex = regex_compile(pattern, sizeof(pattern) - 1, false, &err);
    struct regex *other = regex_share(regex);
    assert_ptr_equal(regex_find_line(other, text, sizeof(text) - 1), text);
    assert_ptr_equal(regex_find_line(other, text + 4, sizeof(text) - 5), strstr(text, "foo\r"));
    assert_null(regex_find_line(other, strstr(text, "end"), 3));
    assert_false(regex_gave_up(other));
    regex_free(other);
    regex_free(regex);
}

static void test_what_takes_too_long_is_given_up(void **state) {
    (void)state;
    static char line[100000];
    struct error err;
    memset(line, 'a', sizeof(line));
    line[0] = 'c';
    static const char pattern[] = "(?=c(a+)+[bx])";
    struct regex *regex = regex_compile(pattern, sizeof(pattern) - 1, false, &err);
    assert_non_null(regex);
    for (int i = 0; i < 200; i++) { /* without limits that would be years */
        assert_false(regex_search(regex, line, sizeof(line)));
    }
    assert_true(regex_gave_up(regex));
    regex_free(regex);
}

static void test_groups_nested_without_end_are_refused(void **state) {
    (void)state;
    char pattern[4000];
    memset(pattern, '(', sizeof(pattern));
    struct error err = {0};
    assert_null(regex_compile(pattern, sizeof(pattern), false, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    memset(pattern, 'a', sizeof(pattern)); /* but a long pattern is fine */
    struct regex *regex = regex_compile(pattern, sizeof(pattern), false, &err);
    assert_non_null(regex);
    regex_free(regex);
    static char longer[5000];
    assert_null(regex_compile(longer, sizeof(longer), false, &err));
}

static void test_a_literal_has_nothing_special(void **state) {
    (void)state;
    static const char text[] = "a.c*[x](\\d)^$ \xC3\xA9|{2}?+-#";
    struct error err;
    struct regex *regex = regex_compile_literal(text, sizeof(text) - 1, false, &err);
    assert_non_null(regex);
    assert_true(regex_search(regex, text, sizeof(text) - 1));
    assert_false(regex_search(regex, "abc", 3));
    regex_free(regex);
}

static void test_file_name_patterns(void **state) {
    (void)state;
    static const struct {
        const char *glob, *matches, *differs;
    } cases[] = {
        {"*.py", "a.py", "a.pyc"}, {"*.py", "dir/a.py", "py"}, {"?.c", "\xC3\xA9.c", "ab.c"}, {"[ab]*", "bx", "cx"},
        {"[!ab]*", "cx", "ax"},    {"[]]", "]", "["},          {"[a-c]", "b", "-"},           {"[x", "[x", "x"},
        {"a**b", "ab", "abc"},     {"a.b", "a.b", "axb"},      {"\\*", "\\x", "*"},           {"*", "", NULL},
        {"a\n*", "a\nb\nc", "ab"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err;
        struct regex *regex = regex_compile_glob(cases[i].glob, strlen(cases[i].glob), &err);
        assert_non_null(regex);
        if (!regex_search(regex, cases[i].matches, strlen(cases[i].matches)) ||
            (cases[i].differs != NULL && regex_search(regex, cases[i].differs, strlen(cases[i].differs)))) {
            fail_msg("`%s`", cases[i].glob);
        }
        regex_free(regex);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_matches_and_what_does_not),
        cmocka_unit_test(test_case_can_be_ignored),
        cmocka_unit_test(test_errors_in_pythons_words),
        cmocka_unit_test(test_look_around_and_back_references),
        cmocka_unit_test(test_lines_do_not_see_one_another),
        cmocka_unit_test(test_what_takes_too_long_is_given_up),
        cmocka_unit_test(test_groups_nested_without_end_are_refused),
        cmocka_unit_test(test_a_literal_has_nothing_special),
        cmocka_unit_test(test_file_name_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
