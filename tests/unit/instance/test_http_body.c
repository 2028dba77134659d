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
    const char *const types[] = {NULL, "application/json", "Application/JSON; charset=utf-8", "application/x+json",
                                 "application/+json"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(parse(" {\"a\": [1, null]} \r\n", types[i], &syntax), HTTP_BODY_FINE);
    }
}

static void test_everything_that_is_json_is_taken(void **state) {
    (void)state;
    static const char *const texts[] = {
        "\xEF\xBB\xBF{}",
        "{\"a\":[-0, 0.5, -1.5e+10, 1E5, 12345678901234567890123, true, false, null, \"\"]}",
        "{\"\":{}, \"a\\u0000\\ud83d\\ude00\\n\\/\": [ ] }",
        "\t{\r\n}\t",
        "{\"a\":\"\x7f'\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct http_body_syntax syntax;
        assert_int_equal(parse(texts[i], NULL, &syntax), HTTP_BODY_FINE);
    }
}

static void test_other_content_types_are_no_json(void **state) {
    (void)state;
    struct http_body_syntax syntax;
    const char *const types[] = {
        "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json", "", "application/",
        "text/json"};
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
    assert_string_equal(syntax.message, "Too deeply nested");
    memset(text + 64, ']', 64);
    text[128] = '\0';
    assert_int_equal(parse(text, NULL, &syntax), HTTP_BODY_NO_OBJECT);
}

/* What Python 3.13's json module says to these (asked, not remembered). */
static void test_mistakes_are_told_in_pythons_words(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t position;
        const char *message;
    } mistakes[] = {
        {"{", 1, "Expecting property name enclosed in double quotes"},
        {"{\"a\"", 4, "Expecting ':' delimiter"},
        {"{\"a\":", 5, "Expecting value"},
        {"{\"a\":1", 6, "Expecting ',' delimiter"},
        {"{\"a\":1,", 7, "Expecting property name enclosed in double quotes"},
        {"{\"a\":1,}", 6, "Illegal trailing comma before end of object"},
        {"[1,]", 2, "Illegal trailing comma before end of array"},
        {"[1 2]", 3, "Expecting ',' delimiter"},
        {"{\"a\" 1}", 5, "Expecting ':' delimiter"},
        {"{\"a\":1 \"b\":2}", 7, "Expecting ',' delimiter"},
        {"{a:1}", 1, "Expecting property name enclosed in double quotes"},
        {"{'a':1}", 1, "Expecting property name enclosed in double quotes"},
        {"{\"a\":'b'}", 5, "Expecting value"},
        {"nul", 0, "Expecting value"},
        {"nope", 0, "Expecting value"},
        {"{\"a\":tru}", 5, "Expecting value"},
        {"{\"a\":\"\n\"}", 6, "Invalid control character at"},
        {"{\"a\":\"\001\"}", 6, "Invalid control character at"},
        {"{\"a\":\"\\x\"}", 6, "Invalid \\escape"},
        {"{\"a\":\"\\u12\"}", 7, "Invalid \\uXXXX escape"},
        {"{\"a\":\"\\u12G4\"}", 7, "Invalid \\uXXXX escape"},
        {"\"\\u0041", 2, "Invalid \\uXXXX escape"},
        {"\"\\u", 2, "Invalid \\uXXXX escape"},
        {"{\"a\":\"abc", 5, "Unterminated string starting at"},
        {"{\"a\":\"abc\\", 5, "Unterminated string starting at"},
        {"{\"a\":1} x", 8, "Extra data"},
        {"{} {}", 3, "Extra data"},
        {"[", 1, "Expecting value"},
        {"[1", 2, "Expecting ',' delimiter"},
        {"[1,", 3, "Expecting value"},
        {" ", 1, "Expecting value"},
        {"\n {bad", 3, "Expecting property name enclosed in double quotes"},
        {"{\"a\":01}", 6, "Expecting ',' delimiter"},
        {"{\"a\":1.}", 6, "Expecting ',' delimiter"},
        {"{\"a\":.5}", 5, "Expecting value"},
        {"{\"a\":-}", 5, "Expecting value"},
        {"--1", 0, "Expecting value"},
        {"-", 0, "Expecting value"},
        {"{\"a\":+1}", 5, "Expecting value"},
        {"{\"a\":1e}", 6, "Expecting ',' delimiter"},
        {"{\"a\":1e+,}", 6, "Expecting ',' delimiter"},
        {"{\"\303\251\":}", 5, "Expecting value"},
        {"{\"\303\251\":1,}", 6, "Illegal trailing comma before end of object"},
        {"{\"a\":{\"b\":[1,{\"c\":}]}}", 18, "Expecting value"},
        {",", 0, "Expecting value"},
        {"}", 0, "Expecting value"},
        {"{,}", 1, "Expecting property name enclosed in double quotes"},
        {"[,]", 1, "Expecting value"},
        {"{\"a\":1,,\"b\":2}", 7, "Expecting property name enclosed in double quotes"},
        {"{\"a\"::1}", 5, "Expecting value"},
        {"{1:2}", 1, "Expecting property name enclosed in double quotes"},
        {"{\"a\":/*c*/1}", 5, "Expecting value"},
        {"// x\n{}", 0, "Expecting value"},
        {"{\"a\":0x1}", 6, "Expecting ',' delimiter"},
        {"{\"a\":1_0}", 6, "Expecting ',' delimiter"},
        {"\"", 0, "Unterminated string starting at"},
        {"[1,\n2,\n]", 5, "Illegal trailing comma before end of array"},
        {"{\"a\":1\n,\n}", 7, "Illegal trailing comma before end of object"},
        {"{\"a\":True}", 5, "Expecting value"},
        {"[0, nul]", 4, "Expecting value"},
        {"\013{}", 0, "Expecting value"},
        {"{}\013", 2, "Extra data"},
        {"[1]]", 3, "Extra data"},
        {"{\"a\":\"b\"c}", 8, "Expecting ',' delimiter"},
        {"01", 1, "Extra data"},
        {"1.2.3", 3, "Extra data"},
        {"{\"a\":1e5x}", 8, "Expecting ',' delimiter"},
        {"tr\303\251", 0, "Expecting value"},
        /* Our own: what would be changed, or is no JSON by RFC 8259. */
        {"{\"a\": \"\\ud800\"}", 7, "Unpaired surrogate"},
        {"{\"a\": \"\\ud83d\\u0041\"}", 7, "Unpaired surrogate"},
        {"{\"a\": \"\\ude00\\ud83d\"}", 7, "Unpaired surrogate"},
        {"{\"a\": NaN}", 6, "Expecting value"},
        {"[-Infinity]", 1, "Expecting value"},
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
        cmocka_unit_test(test_everything_that_is_json_is_taken),
        cmocka_unit_test(test_other_content_types_are_no_json),
        cmocka_unit_test(test_what_is_missing_is_missing),
        cmocka_unit_test(test_bad_syntax_says_where),
        cmocka_unit_test(test_deep_nesting_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
