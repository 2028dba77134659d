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
    assert_int_equal(parse("{\"a\":\"\xff\"}", NULL, &syntax), HTTP_BODY_NO_TEXT);
}

static void test_deep_nesting_is_refused(void **state) {
    (void)state;
    struct http_body_syntax syntax;
    char text[1001];
    memset(text, '[', 1000);
    text[1000] = '\0';
    assert_int_equal(parse(text, NULL, &syntax), HTTP_BODY_NO_JSON);
}

/* What Python 3.13's json module says to these. */
static void test_mistakes_are_told_in_pythons_words(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t position;
        const char *message;
    } mistakes[] = {
        {"{\"a\": 1, }", 7, "Illegal trailing comma before end of object"},
        {"{\"a\": [1,]}", 8, "Illegal trailing comma before end of array"},
        {"{\"a\": \"x}", 6, "Unterminated string starting at"},
        {"{\"a\": \"x\\\"}", 6, "Unterminated string starting at"},
        {"{\"a\": \"x\ny\"}", 8, "Invalid control character at"},
        {"{\"a\": \"x\\qy\"}", 8, "Invalid \\escape"},
        {"{\"\xc3\xa9\xe6\x96\x87\" 1}", 6, "Expecting ':' delimiter"},
        {"{\"a\": 1 \"b\": 2}", 8, "Expecting ',' delimiter"},
        {"{\"a\": nope}", 6, "Expecting value"},
        {"{\"a\":", 5, "Expecting value"},
        {"  ", 2, "Expecting value"},
        {"{'a': 1}", 1, "Expecting property name enclosed in double quotes"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
        struct http_body_syntax syntax;
        enum http_body_problem problem = parse(mistakes[i].text, NULL, &syntax);
        if (problem != HTTP_BODY_NO_JSON || syntax.position != mistakes[i].position ||
            strcmp(syntax.message, mistakes[i].message) != 0) {
            print_error("%s: %zu %s\n", mistakes[i].text, syntax.position, syntax.message);
        }
        assert_int_equal(problem, HTTP_BODY_NO_JSON);
        assert_string_equal(syntax.message, mistakes[i].message);
        assert_int_equal(syntax.position, mistakes[i].position);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes_are_told_in_pythons_words),
        cmocka_unit_test(test_objects_are_taken),
        cmocka_unit_test(test_other_content_types_are_no_json),
        cmocka_unit_test(test_what_is_missing_is_missing),
        cmocka_unit_test(test_bad_syntax_says_where),
        cmocka_unit_test(test_deep_nesting_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
