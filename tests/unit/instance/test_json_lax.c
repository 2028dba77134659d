/* What pydantic 2 takes for a truth and for a whole number when it is not strict, and its words for the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

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
        {"\"1_000\"", 1000, NULL},
        {"\"-1_0.0\"", -10, NULL},
        {"\"+5\\n\"", 5, NULL},
        {"\"\\u000b\\f7\"", 7, NULL},
        {"\"007\"", 7, NULL},
        {"\"1__0\"", 0, "int_parsing"},
        {"\"_1\"", 0, "int_parsing"},
        {"\"1_\"", 0, "int_parsing"},
        {"\"+-5\"", 0, "int_parsing"},
        {"\"- 5\"", 0, "int_parsing"},
        {"\"1 0\"", 0, "int_parsing"},
        {"\".0\"", 0, "int_parsing"},
        {"\"1e0\"", 0, "int_parsing"},
        {"\"0x1\"", 0, "int_parsing"},
        {"\"1\\u0000\"", 0, "int_parsing"},
        {"\"99999999999999999999\"", INT64_MAX, NULL},
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

static void test_decimals(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double number;
    } good[] = {{"1.5", 1.5}, {"5.", 5}, {".5", 0.5},  {"+.5e1", 5},        {" 1.5\n", 1.5},         {"1_0.5", 10.5},
                {"1E2", 100}, {"-0", 0}, {"1e_1", 10}, {"1e400", HUGE_VAL}, {"-Infinity", -HUGE_VAL}};
    static const char *const bad[] = {"",     " ",    "x",   ".",   "e5", "1e",     "1.5_",   "_1.5",
                                      "1__0", "0x10", "1,5", "1 5", "1d", "nan(1)", "infinit"};
    double number = 0;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(json_lax_decimal(good[i].text, strlen(good[i].text), &number));
        assert_true(number == good[i].number);
    }
    assert_true(json_lax_decimal("NaN", 3, &number));
    assert_true(isnan(number));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(json_lax_decimal(bad[i], strlen(bad[i]), &number));
    }
    assert_false(json_lax_decimal("1\0", 2, &number));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_truths), cmocka_unit_test(test_whole_numbers),
                                       cmocka_unit_test(test_decimals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
