/* What people write in YAML means what they think. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/yaml_json.h"

static void expect(const char *yaml, const char *json) {
    struct error err = {0};
    cleanup_json struct json_object *value = yaml_to_json(yaml, strlen(yaml), &err);
    if (value == NULL) {
        fail_msg("`%s`: %s", yaml, err.message);
    }
    assert_string_equal(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN), json);
}

static void expect_error(const char *yaml, const char *part) {
    struct error err = {0};
    struct json_object *value = yaml_to_json(yaml, strlen(yaml), &err);
    assert_null(value);
    if (strstr(err.message, part) == NULL) {
        fail_msg("`%s` gives `%s`, which says nothing of `%s`", yaml, err.message, part);
    }
}

static void test_plain_scalars_are_of_the_core_schema(void **state) {
    (void)state;
    expect("[1, -2, +3, 0o17, 0x1F, 007]", "[1,-2,3,15,31,7]");
    expect("[1.5, -1e3, .5]", "[1.5,-1000.0,0.5]");
    expect("[true, False, null, ~, ]", "[true,false,null,null]");
    /* YAML 1.1's yes and no are texts, and so is what is quoted or no number. */
    expect("[yes, no, on, 500m, 2Gi, 1.2.3, 12:30, -, .inf, e5]",
           "[\"yes\",\"no\",\"on\",\"500m\",\"2Gi\",\"1.2.3\",\"12:30\",\"-\",\".inf\",\"e5\"]");
    expect("['1', \"true\", \"\"]", "[\"1\",\"true\",\"\"]");
    expect("a: |\n  one\n  two\n", "{\"a\":\"one\\ntwo\\n\"}");
    expect("a: 99999999999999999999", "{\"a\":1e+20}");
}

static void test_structure_is_kept(void **state) {
    (void)state;
    expect("", "{}");
    expect("# nothing\n", "{}");
    expect("a:\n  b: [1, {c: d}]\n  e:\n", "{\"a\":{\"b\":[1,{\"c\":\"d\"}],\"e\":null}}");
    expect("x: &x {a: 1}\ny: *x\n", "{\"x\":{\"a\":1},\"y\":{\"a\":1}}");
    expect("1: a", "{\"1\":\"a\"}");
}

static void test_mistakes_are_named_with_their_line(void **state) {
    (void)state;
    expect_error("a: 1\nb: [\n", "line 3");
    expect_error("a: 1\na: 2\n", "line 2: `a` comes twice");
    expect_error("a: 1\n---\nb: 2\n", "second document");
    expect_error("? [a]\n: 1\n", "a key must be a text");
    expect_error("a: !!binary aGk=\n", "tags");
    expect_error("a: &x [1]\n<<: *x\n", "`<<`");
    expect_error("a: \"b\\0c\"\n", "NUL");
    expect_error("a: &x [*x]\n", "nested too deeply");
    expect_error("~", "null");
    expect_error("a: *nobody\n", "line 1");
}

static void test_a_billion_laughs_are_too_many(void **state) {
    (void)state;
    char text[2048] = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
    for (int i = 1; i < 10; i++) {
        char line[128];
        snprintf(line, sizeof line, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1,
                 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        strcat(text, line);
    }
    expect_error(text, "too large");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_scalars_are_of_the_core_schema),
        cmocka_unit_test(test_structure_is_kept),
        cmocka_unit_test(test_mistakes_are_named_with_their_line),
        cmocka_unit_test(test_a_billion_laughs_are_too_many),
    };
    return cmocka_run_group_tests_name("yaml_json", tests, NULL, NULL);
}
