/* RFC 9110 §14.1.2: what a Range header asks of a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "instance/http_range.h"

static void assert_part(const char *header, uint64_t size, uint64_t first, uint64_t length) {
    struct http_range range;
    assert_int_equal(http_range_parse(header, size, &range), HTTP_RANGE_PART);
    assert_int_equal(range.first, first);
    assert_int_equal(range.length, length);
}

static void test_a_part_is_what_was_asked_for_and_is_there(void **state) {
    (void)state;
    assert_part("bytes=0-0", 10, 0, 1);
    assert_part("bytes=0-9", 10, 0, 10);
    assert_part("bytes=5-", 10, 5, 5);
    assert_part("bytes=5-99", 10, 5, 5);
    assert_part("bytes=-3", 10, 7, 3);
    assert_part("bytes=-30", 10, 0, 10);
    assert_part("Bytes= 1-2 ", 10, 1, 2);
    assert_part("bytes=4294967296-4294967297", UINT64_C(5) << 30, UINT64_C(1) << 32, 2);
    assert_part("bytes=1-18446744073709551615", 10, 1, 9);
    assert_part("bytes=1-99999999999999999999999", 10, 1, 9);
}

static void test_what_is_not_there_is_unsatisfiable(void **state) {
    (void)state;
    static const char *const headers[] = {"bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999-"};
    struct http_range range;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        assert_int_equal(http_range_parse(headers[i], 10, &range), HTTP_RANGE_UNSATISFIABLE);
    }
    assert_int_equal(http_range_parse("bytes=0-", 0, &range), HTTP_RANGE_UNSATISFIABLE);
    assert_int_equal(http_range_parse("bytes=-1", 0, &range), HTTP_RANGE_UNSATISFIABLE);
}

static void test_what_makes_no_sense_is_ignored(void **state) {
    (void)state;
    static const char *const headers[] = {"",           "bytes",      "bytes=",    "bytes=-",       "bytes=a-b",
                                          "bytes=2-1",  "bytes=1-2,", "bytes=1,2", "bytes=0-1,3-4", "items=0-1",
                                          "bytes=1--2", "0-1"};
    struct http_range range;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        assert_int_equal(http_range_parse(headers[i], 10, &range), HTTP_RANGE_WHOLE);
    }
    assert_int_equal(http_range_parse(NULL, 10, &range), HTTP_RANGE_WHOLE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_part_is_what_was_asked_for_and_is_there),
        cmocka_unit_test(test_what_is_not_there_is_unsatisfiable),
        cmocka_unit_test(test_what_makes_no_sense_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
