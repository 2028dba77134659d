#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/escapes.h"

static void check(const char *text, const char *expected, size_t expected_length) {
    char buffer[128];
    strcpy(buffer, text);
    assert_int_equal(escapes_decode(buffer, strlen(text)), expected_length);
    assert_memory_equal(buffer, expected, expected_length);
}

static void test_escapes_mean_what_they_mean_in_c(void **state) {
    (void)state;
    check("a\\n\\r\\t\\\\\\'\\\"", "a\n\r\t\\'\"", 7);
    check("\\x03\\x41\\0",
          "\x03"
          "A\0",
          3);
    check("\\u00e9\\u6587", "\xc3\xa9\xe6\x96\x87", 5);
    check("\\\\n", "\\n", 2);
}

static void test_what_is_no_escape_stays(void **state) {
    (void)state;
    check("C:\\users\\x", "C:\\users\\x", 10);
    check("\\q\\x4\\xg0\\u12", "\\q\\x4\\xg0\\u12", 13);
    check("\\", "\\", 1);
    check("\\ud800", "\\ud800", 6);
    check("", "", 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escapes_mean_what_they_mean_in_c),
        cmocka_unit_test(test_what_is_no_escape_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
