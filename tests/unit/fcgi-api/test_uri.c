/* Percent-encoding, and paths that try to be somewhere else. */
#include "tests/unit/fcgi-api/world.h"

#include "fcgi-api/uri.h"

static void test_percent_encoding_is_undone(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool plus_is_space;
        const char *decoded; /* NULL: refused */
    } cases[] = {
        {"", false, ""},
        {"plain", false, "plain"},
        {"a%2Fb", false, "a/b"},
        {"a%2fb", false, "a/b"},
        {"a+b", false, "a+b"},
        {"a+b", true, "a b"},
        {"a%2Bb", true, "a+b"},
        {"100%", false, "100%"},
        {"%", false, "%"},
        {"%4", false, "%4"},
        {"%zz", false, "%zz"},
        {"%4g", false, "%4g"},
        {"%%41", false, "%A"},
        {"%00", false, NULL},
        {"a%00b", false, NULL},
        {"%ff", false, NULL},
        {"%c3%bc", false, "\xc3\xbc"},
        {"%c3", false, NULL},
        {"%ed%a0%80", false, NULL},
        {"%c0%af", false, NULL},
        {"%f4%90%80%80", false, NULL},
        {"%F0%9F%90%9A", false, "\xf0\x9f\x90\x9a"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = {0};
        cleanup_free char *decoded = uri_decode(cases[i].text, strlen(cases[i].text), cases[i].plus_is_space, &err);
        if (cases[i].decoded == NULL) {
            assert_null(decoded);
            assert_int_equal(err.code, ERROR_INVALID);
        } else {
            assert_non_null(decoded);
            assert_string_equal(decoded, cases[i].decoded);
        }
    }
}

static void test_decoding_stops_where_the_text_ends(void **state) {
    (void)state;
    struct error err = {0};
    cleanup_free char *decoded = uri_decode("%41%42", 5, false, &err);
    assert_string_equal(decoded, "A%4");
}

static void test_a_path_stays_in_its_instance(void **state) {
    (void)state;
    static const struct {
        const char *target;
        enum error_code code;
    } cases[] = {
        {"/", ERROR_NONE},
        {"/files/list", ERROR_NONE},
        {"/files/view?path=/../../x", ERROR_NONE},
        {"/files/view?x=%00", ERROR_NONE},
        {"/a%20b/%C3%A4/%ff", ERROR_NONE},
        {"/...", ERROR_NONE},
        {"/..a", ERROR_NONE},
        {"/a/../b", ERROR_NONE},
        {"/./a", ERROR_NONE},
        {"//a", ERROR_NONE},
        {"/api/config", ERROR_NONE},
        {"/api/v1x", ERROR_NONE},
        {"/proxy/8000/api/v1/x", ERROR_NONE},
        {"/x/v1", ERROR_NONE},
        {NULL, ERROR_INVALID},
        {"", ERROR_INVALID},
        {"?x", ERROR_INVALID},
        {"*", ERROR_INVALID},
        {"http://h/x", ERROR_INVALID},
        {"/..", ERROR_INVALID},
        {"/../", ERROR_INVALID},
        {"/../files", ERROR_INVALID},
        {"/a/../../b", ERROR_INVALID},
        {"/a//../../b", ERROR_INVALID},
        {"/./../b", ERROR_INVALID},
        {"/%2e%2e/b", ERROR_INVALID},
        {"/%2E./b", ERROR_INVALID},
        {"/..%2fb", ERROR_INVALID},
        {"/a%2f..%2F..%2fb", ERROR_INVALID},
        {"/a%00", ERROR_INVALID},
        {"/a\nb", ERROR_INVALID},
        {"/a%0d%0ab", ERROR_INVALID},
        {"/a\x7f", ERROR_INVALID},
        {"/api/v1", ERROR_NOT_FOUND},
        {"/api/v1/tenants/", ERROR_NOT_FOUND},
        {"//api/v1/tenants", ERROR_NOT_FOUND},
        {"/api//v1", ERROR_NOT_FOUND},
        {"/%61pi/v%31/x", ERROR_NOT_FOUND},
        {"/api%2fv1", ERROR_NOT_FOUND},
        {"/files/../api/v1/x", ERROR_NOT_FOUND},
        {"/api/x/../v1/x", ERROR_NOT_FOUND},
        {"/api/./v1", ERROR_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = {0};
        bool good = uri_check_instance_target(cases[i].target, &err);
        if (good != (cases[i].code == ERROR_NONE) || err.code != cases[i].code) {
            fail_msg("%s: got code %d (%s)", cases[i].target, (int)err.code, err.message);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percent_encoding_is_undone),
        cmocka_unit_test(test_decoding_stops_where_the_text_ends),
        cmocka_unit_test(test_a_path_stays_in_its_instance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
