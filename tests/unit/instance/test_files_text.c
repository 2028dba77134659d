/* Lines, times and error sentences in the forms that the original has. Expected values are what Python 3 prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "instance/files_text.h"

static void test_lines_end_where_python_ends_them(void **state) {
    (void)state;
    static const char text[] = "a\vb\fc\xC2\x85"
                               "d\xE2\x80\xA8"
                               "e\x1C"
                               "f\n";
    static const size_t lengths[] = {2, 2, 3, 4, 2, 2};
    size_t at = 0;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t length = line_length(text + at, sizeof(text) - 1 - at);
        assert_int_equal(length, lengths[i]);
        assert_true(line_is_ended(text + at, length));
        at += length;
    }
    assert_int_equal(at, sizeof(text) - 1);
    assert_int_equal(line_length("a\r\nb", 4), 3);
    assert_int_equal(line_length("a\rb", 3), 2);
    assert_int_equal(line_length("ab", 2), 2);
    assert_false(line_is_ended("ab", 2));
    assert_int_equal(line_length("", 0), 0);
    assert_int_equal(line_length("\xE2\x80\xAA", 3), 3); /* U+202A ends nothing */
    assert_false(line_is_ended("\xE2\x80\xAA", 3));
}

static void check_range(int64_t first, int64_t last, const char *expected) {
    static const char text[] = "1\n2\n3";
    size_t start;
    size_t length = line_range_find(text, 5, (struct line_range){first, last}, &start);
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(text + start, expected, length);
}

static void test_line_ranges(void **state) {
    (void)state;
    check_range(1, INT64_MAX, "1\n2\n3");
    check_range(1, 1, "1\n");
    check_range(2, 3, "2\n3");
    check_range(3, INT64_MAX, "3");
    check_range(4, INT64_MAX, "");
    check_range(3, 2, "");
    check_range(INT64_MAX, INT64_MAX, "");
}

static void check_normalized(const char *text, const char *expected) {
    char copy[64];
    strcpy(copy, text);
    size_t length = newlines_normalize(copy, strlen(copy));
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(copy, expected, length);
}

static void test_line_endings_become_line_feeds(void **state) {
    (void)state;
    check_normalized("a\r\nb\r\n", "a\nb\n");
    check_normalized("a\rb", "a\nb");
    check_normalized("\r\r\n\r", "\n\n\n");
    check_normalized("a\nb", "a\nb");
    check_normalized("", "");
}

static void test_a_file_with_crlf_throughout_is_known_as_one(void **state) {
    (void)state;
    assert_true(newlines_are_crlf("a\r\nb\r\n", 6));
    assert_true(newlines_are_crlf("a\r\nb", 4));
    assert_false(newlines_are_crlf("a\r\nb\n", 5));
    assert_false(newlines_are_crlf("a\rb\r\n", 5));
    assert_false(newlines_are_crlf("a\r", 2));
    assert_false(newlines_are_crlf("ab", 2));
}

static void test_times_as_python_prints_them(void **state) {
    (void)state;
    static const struct {
        struct timespec time;
        const char *expected;
    } cases[] = {
        {{1767323045, 0}, "1767323045.0"},
        {{1795426432, 553614000}, "1795426432.553614"},
        {{1795426432, 494306600}, "1795426432.4943066"},
        {{1795426432, 500000000}, "1795426432.5"},
        {{1795426432, 999999999}, "1795426433.0"},
        {{1795426432, 1}, "1795426432.0"},
        {{0, 0}, "0.0"},
        {{0, 1}, "1e-09"},
        {{-2, 500000000}, "-1.5"},
        {{12, 250000000}, "12.25"},
        {{4294967296, 100000000}, "4294967296.1"},
        {{8999999999, 123456789}, "8999999999.123457"},
        {{9999999999, 123456789}, "9999999999.123457"},
        {{253402300799, 5000000}, "253402300799.005"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_buffer struct buffer out = {0};
        assert_true(append_timestamp(&out, cases[i].time));
        assert_string_equal(out.data, cases[i].expected);
    }
}

static void test_the_quick_way_to_print_a_time_agrees_with_the_slow_one(void **state) {
    (void)state;
    unsigned seed = 7;
    for (int round = 0; round < 100000; round++) {
        struct timespec time = {1000000000 + (time_t)rand_r(&seed), rand_r(&seed) % 1000000000};
        double seconds = (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
        cleanup_buffer struct buffer out = {0};
        append_timestamp(&out, time);
        assert_true(strtod(out.data, NULL) == seconds);
        /* The shortest that gives the same double: what repr() does with 16 digits if they do, with 17 else. */
        char expected[32];
        snprintf(expected, sizeof(expected), "%.16g", seconds);
        if (strtod(expected, NULL) != seconds) {
            snprintf(expected, sizeof(expected), "%.17g", seconds);
        }
        strcat(expected, strchr(expected, '.') == NULL ? ".0" : "");
        assert_string_equal(out.data, expected);
    }
}

static void check_repr(const char *text, const char *expected) {
    cleanup_buffer struct buffer out = {0};
    assert_true(append_repr(&out, text, strlen(text)));
    assert_string_equal(out.data, expected);
}

static void test_quoting_as_python_does_it(void **state) {
    (void)state;
    check_repr("plain", "'plain'");
    check_repr("it's", "\"it's\"");
    check_repr("it's \"q\"", "'it\\'s \"q\"'");
    check_repr("a\\b\n\r\t\x01\x7F", "'a\\\\b\\n\\r\\t\\x01\\x7f'");
    check_repr("\xC3\xA9\xE6\x96\x87", "'\xC3\xA9\xE6\x96\x87'");
    check_repr("\xC2\x85\xE2\x80\xA8", "'\\x85\\u2028'");
    check_repr("\xFF", "'\\udcff'");
    check_repr("", "''");
}

static void test_errors_as_python_words_them(void **state) {
    (void)state;
    struct error err;
    assert_false(error_set_path(&err, EACCES, "/root/x"));
    assert_string_equal(err.message, "[Errno 13] Permission denied: '/root/x'");
    assert_int_equal(err.code, ERROR_FORBIDDEN);
    error_set_path(&err, EEXIST, "/home/user/hello.txt");
    assert_string_equal(err.message, "[Errno 17] File exists: '/home/user/hello.txt'");
    assert_int_equal(err.code, ERROR_INVALID);
    error_set_path(&err, ENOENT, "/x");
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    char *path = malloc(5001);
    for (size_t i = 0; i < 5000; i += 2) {
        memcpy(path + i, "\xC3\xA9", 2);
    }
    path[5000] = '\0';
    error_set_path(&err, ENAMETOOLONG, path);
    free(path);
    assert_true(strlen(err.message) < sizeof(err.message) - 1); /* cut on purpose, between characters */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_end_where_python_ends_them),
        cmocka_unit_test(test_line_ranges),
        cmocka_unit_test(test_line_endings_become_line_feeds),
        cmocka_unit_test(test_a_file_with_crlf_throughout_is_known_as_one),
        cmocka_unit_test(test_times_as_python_prints_them),
        cmocka_unit_test(test_the_quick_way_to_print_a_time_agrees_with_the_slow_one),
        cmocka_unit_test(test_quoting_as_python_does_it),
        cmocka_unit_test(test_errors_as_python_words_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
