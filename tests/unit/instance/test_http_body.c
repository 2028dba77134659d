#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/http_body.h"

static enum http_body_problem parse(const char *text, const char *content_type, struct http_body_syntax *syntax) {
    struct json_object *value = NULL;
    *syntax = (struct http_body_syntax){0};
    enum http_body_problem problem = http_body_parse(text, strlen(text), content_type, &value, syntax);
    json_object_put(value);
    return problem;
}

static void test_objects_are_taken(void **state) {
    (void)state;
    struct http_body_syntax syntax;
    const char *const types[] = {NULL, "application/json", "Application/JSON; charset=utf-8", "application/x+json"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(parse(" {\"a\": [1, null]} \r\n", types[i], &syntax), HTTP_BODY_FINE);
    }
}

static void test_other_content_types_are_no_json(void **state) {
    (void)state;
    struct http_body_syntax syntax;
    const char *const types[] = {"text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json", "",
                                 "+json"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(parse("{}", types[i], &syntax), HTTP_BODY_NO_OBJECT);
    }
}

static void test_what_is_missing_is_missing(void **state) {
    (void)state;
    struct http_body_syntax syntax;
    assert_int_equal(parse("", NULL, &syntax), HTTP_BODY_MISSING);
    assert_int_equal(parse("null", NULL, &syntax), HTTP_BODY_MISSING);
    assert_int_equal(parse("[]", NULL, &syntax), HTTP_BODY_NO_OBJECT);
    assert_int_equal(parse("5", NULL, &syntax), HTTP_BODY_NO_OBJECT);
    assert_int_equal(parse("\"x\"", NULL, &syntax), HTTP_BODY_NO_OBJECT);
}

static void test_bad_syntax_says_where(void **state) {
    (void)state;
    struct http_body_syntax syntax;
    assert_int_equal(parse("{bad", NULL, &syntax), HTTP_BODY_NO_JSON);
    assert_int_equal(syntax.position, 1);
    assert_string_equal(syntax.message, "Expecting property name enclosed in double quotes");
    assert_int_equal(parse("{} x", NULL, &syntax), HTTP_BODY_NO_JSON);
    assert_int_equal(syntax.position, 3);
    assert_string_equal(syntax.message, "Extra data");
    assert_int_equal(parse("{\"a\":", NULL, &syntax), HTTP_BODY_NO_JSON);
    assert_int_equal(parse("{\"a\":1,}", NULL, &syntax), HTTP_BODY_NO_JSON);
    assert_int_equal(parse("{\"a\":\"\xff\"}", NULL, &syntax), HTTP_BODY_NO_JSON);
}

static void test_deep_nesting_is_refused(void **state) {
    (void)state;
    struct http_body_syntax syntax;
    char text[1001];
    memset(text, '[', 1000);
    text[1000] = '\0';
    assert_int_equal(parse(text, NULL, &syntax), HTTP_BODY_NO_JSON);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_are_taken),          cmocka_unit_test(test_other_content_types_are_no_json),
        cmocka_unit_test(test_what_is_missing_is_missing), cmocka_unit_test(test_bad_syntax_says_where),
        cmocka_unit_test(test_deep_nesting_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
