#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/flags.h"

#define PARSE(flags, err, ...)                                                                                         \
    flags_parse(flags, (int)(sizeof((char *[]){"serve", __VA_ARGS__}) / sizeof(char *)),                               \
                (char *[]){"serve", __VA_ARGS__}, err)

static const char *value_of(const struct flags *flags, const char *name) {
    for (const struct settings_override *override = flags->overrides; override->name != NULL; override++) {
        if (strcmp(override->name, name) == 0) {
            return override->value;
        }
    }
    return NULL;
}

static void test_each_flag_is_a_setting(void **state) {
    (void)state;
    struct flags flags;
    struct error err = {0};
    assert_true(PARSE(&flags, &err, "--host", "::1", "--port=3001", "--api-key", "k=v", "--backend", "static"));
    assert_string_equal(value_of(&flags, "TERMINALS_HOST"), "::1");
    assert_string_equal(value_of(&flags, "TERMINALS_PORT"), "3001");
    assert_string_equal(value_of(&flags, "TERMINALS_API_KEY"), "k=v");
    assert_string_equal(value_of(&flags, "TERMINALS_BACKEND"), "static");
    assert_null(flags.overrides[FLAGS_MAX].name);
    assert_false(flags.help);
}

static void test_the_last_of_two_counts(void **state) {
    (void)state;
    struct flags flags;
    struct error err = {0};
    assert_true(
        PARSE(&flags, &err, "--port", "1", "--port", "2", "--port=3", "--port", "4", "--port", "5", "--port=6"));
    assert_string_equal(value_of(&flags, "TERMINALS_PORT"), "6");
    assert_null(flags.overrides[1].name);
}

static void test_no_flag_is_no_override(void **state) {
    (void)state;
    struct flags flags;
    struct error err = {0};
    char *arguments[] = {"serve"};
    assert_true(flags_parse(&flags, 1, arguments, &err));
    assert_null(flags.overrides[0].name);
}

static void test_an_empty_value_is_a_value(void **state) {
    (void)state;
    struct flags flags;
    struct error err = {0};
    assert_true(PARSE(&flags, &err, "--host=", "--backend", ""));
    assert_string_equal(value_of(&flags, "TERMINALS_HOST"), "");
    assert_string_equal(value_of(&flags, "TERMINALS_BACKEND"), "");
}

static void test_nonsense_is_named_and_a_secret_is_not(void **state) {
    (void)state;
    struct flags flags;
    struct error err = {0};
    assert_false(PARSE(&flags, &err, "--prot", "1"));
    assert_string_equal(err.message, "unknown argument `--prot`");
    assert_false(PARSE(&flags, &err, "--port"));
    assert_string_equal(err.message, "`--port` needs a value");
    assert_false(PARSE(&flags, &err, "--api-keys=secret"));
    assert_null(strstr(err.message, "secret"));
    assert_false(PARSE(&flags, &err, "stray"));
    assert_false(PARSE(&flags, &err, "-"));
}

static void test_help_is_asked_for(void **state) {
    (void)state;
    struct flags flags;
    struct error err = {0};
    assert_true(PARSE(&flags, &err, "--port", "1", "--help"));
    assert_true(flags.help);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_flag_is_a_setting),
        cmocka_unit_test(test_the_last_of_two_counts),
        cmocka_unit_test(test_no_flag_is_no_override),
        cmocka_unit_test(test_an_empty_value_is_a_value),
        cmocka_unit_test(test_nonsense_is_named_and_a_secret_is_not),
        cmocka_unit_test(test_help_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
