#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/command_line.h"

static const char usage[] = "usage: terminals greet [--loud] [--times N] NAME\n";

static struct {
    bool loud;
    const char *times;
    const char *name;
} given;

/* Begins the command? */
static bool read_line(int count, char **words, int *status) {
    static const struct command_argument arguments[] = {
        {"--loud", .flag = &given.loud}, {"--times", .value = &given.times}, {.value = &given.name}, {0}};
    given.loud = false;
    given.times = NULL;
    given.name = NULL;
    *status = -1;
    return command_line_read(usage, arguments, count, words, status);
}

#define READ(status, ...)                                                                                              \
    read_line((int)(sizeof((char *[]){"greet", __VA_ARGS__}) / sizeof(char *)), (char *[]){"greet", __VA_ARGS__},      \
              status)

static void test_arguments_are_read_in_any_order(void **state) {
    (void)state;
    int status = 0;
    assert_true(READ(&status, "--times", "3", "alice", "--loud"));
    assert_true(given.loud);
    assert_string_equal(given.times, "3");
    assert_string_equal(given.name, "alice");
    assert_true(READ(&status, "alice"));
    assert_false(given.loud);
    assert_null(given.times);
}

static void test_the_last_of_two_options_counts(void **state) {
    (void)state;
    int status = 0;
    assert_true(READ(&status, "--times", "3", "--times", "4"));
    assert_string_equal(given.times, "4");
}

static void test_a_value_may_look_like_an_option(void **state) {
    (void)state;
    int status = 0;
    assert_true(READ(&status, "--times", "--loud"));
    assert_string_equal(given.times, "--loud");
    assert_false(given.loud);
}

static void test_help_ends_the_command_well(void **state) {
    (void)state;
    int status = 0;
    assert_false(READ(&status, "--help"));
    assert_int_equal(status, EXIT_SUCCESS);
    assert_false(READ(&status, "-h"));
    assert_int_equal(status, EXIT_SUCCESS);
}

static void test_what_is_not_understood_ends_the_command(void **state) {
    (void)state;
    int status = 0;
    assert_false(READ(&status, "--laud"));
    assert_int_equal(status, COMMAND_LINE_WRONG);
    assert_false(READ(&status, "alice", "bob"));
    assert_int_equal(status, COMMAND_LINE_WRONG);
    assert_false(READ(&status, "alice", "--times"));
    assert_int_equal(status, COMMAND_LINE_WRONG);
    assert_false(READ(&status, "--loud=yes"));
    assert_int_equal(status, COMMAND_LINE_WRONG);
    assert_false(READ(&status, "-"));
    assert_int_equal(status, COMMAND_LINE_WRONG);
}

static void test_seconds_are_digits_within_their_limits(void **state) {
    (void)state;
    static const char *const wrong[] = {"", " 3", "+3", "-3", "3s", "0", "11", "99999999999999999999", "1.5"};
    struct error err;
    long seconds = 0;
    assert_true(command_line_seconds("10", 1, 10, &seconds, &err));
    assert_int_equal(seconds, 10);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_false(command_line_seconds(wrong[i], 1, 10, &seconds, &err));
    }
    assert_string_equal(err.message, "`1.5` is not a number of seconds from 1 to 10");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments_are_read_in_any_order),
        cmocka_unit_test(test_the_last_of_two_options_counts),
        cmocka_unit_test(test_a_value_may_look_like_an_option),
        cmocka_unit_test(test_help_ends_the_command_well),
        cmocka_unit_test(test_what_is_not_understood_ends_the_command),
        cmocka_unit_test(test_seconds_are_digits_within_their_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
