#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "instance/cors.h"
#include "instance/environment.h"
#include "instance/ports.h"

static void test_listed_origins_are_allowed(void **state) {
    (void)state;
    assert_true(cors_allows("*", "https://a.example"));
    assert_true(cors_allows(NULL, "https://a.example"));
    assert_true(cors_allows("https://a.example", "https://a.example"));
    assert_true(cors_allows("https://b.example, https://a.example", "https://a.example"));
    assert_false(cors_allows("https://a.example", "https://a.example.evil"));
    assert_false(cors_allows("https://a.example.org", "https://a.example"));
    assert_false(cors_allows("https://a.example", ""));
    assert_false(cors_allows("", "https://a.example"));
}

static void test_listening_sockets_are_recognized(void **state) {
    (void)state;
    unsigned port = 0;
    unsigned long inode = 0;
    assert_true(ports_parse_line(
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 "
        "0000000000000000 100 0 0 10 0",
        &port, &inode));
    assert_int_equal(port, 8080);
    assert_int_equal(inode, 12345);
    assert_true(ports_parse_line("   1: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A "
                                 "00000000:00000000 00:00000000 00000000     0        0 7 1 0 100 0 0 10 0",
                                 &port, &inode));
    assert_int_equal(port, 80);
    assert_int_equal(inode, 7);
}

static void test_other_sockets_are_not(void **state) {
    (void)state;
    unsigned port = 0;
    unsigned long inode = 0;
    assert_false(ports_parse_line(
        "   0: 0100007F:1F90 0100007F:1000 01 00000000:00000000 00:00000000 00000000  1000 0 12345 1", &port, &inode));
    assert_false(ports_parse_line("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid",
                                  &port, &inode));
    assert_false(ports_parse_line("", &port, &inode));
}

static const char *find(char **environment, const char *name) {
    const char *found = NULL;
    for (char **entry = environment; *entry != NULL; entry++) {
        size_t length = strlen(name);
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') {
            assert_null(found); /* a name is there once */
            found = *entry + length + 1;
        }
    }
    return found;
}

static void test_extra_variables_win_over_ours(void **state) {
    (void)state;
    setenv("SHARED", "ours", 1);
    setenv("OURS", "kept", 1);
    static const char text[] = "{\"SHARED\":\"theirs\",\"NEW\":\"a=b\",\"\":\"x\",\"A=B\":\"c\"}";
    struct json_object *extra = json_parse(text, sizeof text - 1, NULL);
    assert_non_null(extra);
    char **environment = environment_make(extra);
    assert_string_equal(find(environment, "SHARED"), "theirs");
    assert_string_equal(find(environment, "OURS"), "kept");
    assert_string_equal(find(environment, "NEW"), "a=b");
    assert_null(find(environment, ""));
    assert_null(find(environment, "A"));
    free(environment);
    json_object_put(extra);
    environment = environment_make(NULL);
    assert_string_equal(find(environment, "SHARED"), "ours");
    free(environment);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listed_origins_are_allowed),
        cmocka_unit_test(test_listening_sockets_are_recognized),
        cmocka_unit_test(test_other_sockets_are_not),
        cmocka_unit_test(test_extra_variables_win_over_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
