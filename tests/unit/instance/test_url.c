#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/url.h"

static void check_decoded(const char *text, bool plus_is_space, const char *expected, size_t expected_length) {
    char out[256];
    assert_int_equal(url_decode(text, strlen(text), plus_is_space, out), expected_length);
    assert_memory_equal(out, expected, expected_length + 1);
}

static void test_percent_encoding_is_decoded(void **state) {
    (void)state;
    check_decoded("a%20b", false, "a b", 3);
    check_decoded("%E6%96%87", false, "\xe6\x96\x87", 3);
    check_decoded("%00x", false, "\0x", 2);
    check_decoded("%2F%2f", false, "//", 2);
    check_decoded("", false, "", 0);
}

static void test_what_is_no_escape_stays(void **state) {
    (void)state;
    check_decoded("100%", false, "100%", 4);
    check_decoded("%4", false, "%4", 2);
    check_decoded("%zz%4g", false, "%zz%4g", 6);
    check_decoded("%%41", false, "%A", 2);
}

static void test_plus_is_a_space_in_a_query_only(void **state) {
    (void)state;
    check_decoded("a+b", true, "a b", 3);
    check_decoded("a+b", false, "a+b", 3);
    check_decoded("%2B", true, "+", 1);
}

static void test_queries_are_split(void **state) {
    (void)state;
    struct url_query query;
    assert_true(url_query_parse("a=1&b=%20x&&c&=d&a=2&e==f", &query));
    assert_int_equal(query.count, 6);
    assert_string_equal(query.parameters[0].name, "a");
    assert_string_equal(query.parameters[0].value, "1");
    assert_string_equal(query.parameters[1].value, " x");
    assert_string_equal(query.parameters[2].name, "c");
    assert_string_equal(query.parameters[2].value, "");
    assert_string_equal(query.parameters[3].name, "");
    assert_string_equal(query.parameters[4].value, "2");
    assert_string_equal(query.parameters[5].value, "=f");
    url_query_free(&query);
}

static void test_an_encoded_separator_separates_nothing(void **state) {
    (void)state;
    struct url_query query;
    assert_true(url_query_parse("a=1%262%3d3&b%3d=4", &query));
    assert_int_equal(query.count, 2);
    assert_string_equal(query.parameters[0].value, "1&2=3");
    assert_string_equal(query.parameters[1].name, "b=");
    url_query_free(&query);
    assert_true(url_query_parse("", &query));
    assert_int_equal(query.count, 0);
    url_query_free(&query);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percent_encoding_is_decoded),
        cmocka_unit_test(test_what_is_no_escape_stays),
        cmocka_unit_test(test_plus_is_a_space_in_a_query_only),
        cmocka_unit_test(test_queries_are_split),
        cmocka_unit_test(test_an_encoded_separator_separates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
