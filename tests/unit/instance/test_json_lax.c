/* What pydantic 2 takes for a truth and for a whole number when it is not strict, and its words for the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "instance/json_lax.h"

static void test_truths(void **state) {
    (void)state;
    static const struct {
        const char *json;
        int truth; /* -1: none */
        const char *problem;
    } cases[] = {
        {"true", 1, NULL},
        {"false", 0, NULL},
        {"1", 1, NULL},
        {"0", 0, NULL},
        {"1.0", 1, NULL},
        {"\"Yes\"", 1, NULL},
        {"\"off\"", 0, NULL},
        {"\"maybe\"", -1, "bool_parsing"},
        {"2", -1, "bool_parsing"},
        {"0.5", -1, "bool_parsing"},
        {"[]", -1, "bool_type"},
        {"null", -1, "bool_type"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json_object *value = json_tokener_parse(cases[i].json);
        struct json_problem problem = {NULL, NULL};
        bool truth = cases[i].truth == 0;
        assert_int_equal(json_lax_boolean(value, &truth, &problem), cases[i].truth >= 0);
        if (cases[i].truth >= 0) {
            assert_int_equal(truth, cases[i].truth);
        } else {
            assert_string_equal(problem.type, cases[i].problem);
        }
        json_object_put(value);
    }
}

static void test_whole_numbers(void **state) {
    (void)state;
    static const struct {
        const char *json;
        int64_t number;
        const char *problem;
    } cases[] = {
        {"3", 3, NULL},
        {"-3", -3, NULL},
        {"3.0", 3, NULL},
        {"\"3\"", 3, NULL},
        {"\" 4 \"", 4, NULL},
        {"\"5.00\"", 5, NULL},
        {"\"5.\"", 0, "int_parsing"},
        {"\"5.01\"", 0, "int_parsing"},
        {"true", 1, NULL},
        {"99999999999999999999", INT64_MAX, NULL},
        {"3.5", 0, "int_from_float"},
        {"1e300", 0, "int_from_float"},
        {"\"x\"", 0, "int_parsing"},
        {"\"\"", 0, "int_parsing"},
        {"{}", 0, "int_type"},
        {"null", 0, "int_type"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json_object *value = json_tokener_parse(cases[i].json);
        struct json_problem problem = {NULL, NULL};
        int64_t number = 0;
        assert_int_equal(json_lax_integer(value, &number, &problem), cases[i].problem == NULL);
        assert_int_equal(number, cases[i].number);
        if (cases[i].problem != NULL) {
            assert_string_equal(problem.type, cases[i].problem);
        }
        json_object_put(value);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_truths), cmocka_unit_test(test_whole_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
