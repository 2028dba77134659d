#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/terminal_message.h"

static enum terminal_auth auth(const char *text) {
    return terminal_message_check_auth(text, strlen(text), "key");
}

static bool resize(const char *text, unsigned short *rows, unsigned short *columns) {
    return terminal_message_parse_resize(text, strlen(text), rows, columns);
}

static void test_only_the_key_authenticates(void **state) {
    (void)state;
    assert_int_equal(auth("{\"type\":\"auth\",\"token\":\"key\"}"), TERMINAL_AUTH_FINE);
    assert_int_equal(auth("{\"token\":\"key\",\"type\":\"auth\",\"x\":[]}"), TERMINAL_AUTH_FINE);
    assert_int_equal(auth("{\"type\":\"auth\",\"token\":\"\"}"), TERMINAL_AUTH_WRONG_KEY);
    assert_int_equal(auth("{\"type\":\"auth\",\"token\":\"key2\"}"), TERMINAL_AUTH_WRONG_KEY);
    assert_int_equal(auth("{\"type\":\"auth\",\"token\":\"k\xc3\xa9y\"}"), TERMINAL_AUTH_WRONG_KEY);
}

static void test_what_is_no_auth_message_is_refused(void **state) {
    (void)state;
    const char *const messages[] = {"",
                                    "hello",
                                    "[1]",
                                    "null",
                                    "{}",
                                    "{\"type\":\"auth\"}",
                                    "{\"type\":\"auth\",\"token\":5}",
                                    "{\"type\":5,\"token\":\"key\"}",
                                    "{\"type\":\"resize\",\"token\":\"key\"}",
                                    "{",
                                    "\"key\""};
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        assert_int_equal(auth(messages[i]), TERMINAL_AUTH_NO_MESSAGE);
    }
}

static void test_sizes_are_read(void **state) {
    (void)state;
    unsigned short rows = 0;
    unsigned short columns = 0;
    assert_true(resize("{\"type\":\"resize\",\"cols\":120,\"rows\":40}", &rows, &columns));
    assert_int_equal(rows, 40);
    assert_int_equal(columns, 120);
    assert_true(resize("{\"type\":\"resize\",\"cols\":65535,\"rows\":1}", &rows, &columns));
}

static void test_odd_sizes_are_ignored(void **state) {
    (void)state;
    unsigned short rows = 0;
    unsigned short columns = 0;
    const char *const messages[] = {"{\"type\":\"resize\",\"cols\":-1,\"rows\":5}",
                                    "{\"type\":\"resize\",\"cols\":0,\"rows\":5}",
                                    "{\"type\":\"resize\",\"cols\":65536,\"rows\":5}",
                                    "{\"type\":\"resize\",\"cols\":\"9\",\"rows\":5}",
                                    "{\"type\":\"resize\",\"cols\":1.5,\"rows\":5}",
                                    "{\"type\":\"resize\",\"rows\":5}",
                                    "{\"type\":\"size\",\"cols\":9,\"rows\":5}",
                                    "[1]",
                                    "",
                                    "{\"type\":\"resize\",\"cols\":true,\"rows\":5}",
                                    "{\"type\":\"resize\",\"cols\":99999999999999999999,\"rows\":5}"};
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        assert_false(resize(messages[i], &rows, &columns));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_key_authenticates),
        cmocka_unit_test(test_what_is_no_auth_message_is_refused),
        cmocka_unit_test(test_sizes_are_read),
        cmocka_unit_test(test_odd_sizes_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
