/* The environment of a local instance: what we say, what its policy adds, and what no policy may touch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "provisioner/backends/local_command.h"

/* How many entries set this variable; *value is that of the last. */
static int count(const struct string_list *environment, const char *variable, const char **value) {
    int found = 0;
    size_t length = strlen(variable);
    for (size_t i = 0; i < environment->count; i++) {
        if (strncmp(environment->strings[i], variable, length) == 0 && environment->strings[i][length] == '=') {
            *value = environment->strings[i] + length + 1;
            found++;
        }
    }
    return found;
}

static void test_only_a_program_of_ours_is_told_to_wait(void **state) {
    (void)state;
    for (int waits = 0; waits <= 1; waits++) {
        cleanup_string_list struct string_list arguments = {0};
        cleanup_string_list struct string_list words = {0};
        cleanup_string_list struct string_list environment = {0};
        const struct local_command command = {
            .binary = "/bin/x", .waits = waits, .home = "/h", .key = "k", .mark = "m:1", .port = 9000, .info_fd = -1};
        local_command_build(&command, &arguments, &words, &environment);
        assert_int_equal(words.count, waits);
        assert_int_equal(arguments.count, waits ? 8 : 6);
        assert_string_equal(arguments.strings[2], waits ? "--wait-fd" : "--host");
    }
}

static void build(const char *env, struct string_list *environment) {
    cleanup_string_list struct string_list arguments = {0};
    cleanup_string_list struct string_list words = {0};
    cleanup_json struct json_object *object = env == NULL ? NULL : json_parse_object(env, strlen(env), NULL);
    const struct local_command command = {.binary = "/bin/x",
                                          .home = "/home/of/user",
                                          .key = "the-key",
                                          .mark = "m:1",
                                          .port = 9000,
                                          .info_fd = -1,
                                          .env = object};
    local_command_build(&command, &arguments, &words, environment);
    assert_false(arguments.failed || words.failed || environment->failed);
    assert_int_equal(words.count, 0);
}

static void test_a_policy_adds_variables_and_replaces_defaults(void **state) {
    (void)state;
    const char *value = "";
    cleanup_string_list struct string_list without = {0};
    cleanup_string_list struct string_list with = {0};
    build(NULL, &without);
    assert_int_equal(count(&without, "LANG", &value), 1);
    assert_string_equal(value, "C.UTF-8");
    build("{\"LANG\":\"de_DE.UTF-8\",\"PATH\":\"/x\",\"EMPTY\":\"\",\"A\":\"b=c\\nd\"}", &with);
    assert_int_equal(count(&with, "LANG", &value), 1);
    assert_string_equal(value, "de_DE.UTF-8");
    assert_int_equal(count(&with, "PATH", &value), 1);
    assert_string_equal(value, "/x");
    assert_int_equal(count(&with, "EMPTY", &value), 1);
    assert_int_equal(count(&with, "A", &value), 1);
    assert_string_equal(value, "b=c\nd");
    assert_int_equal(count(&with, "TERM", &value), 1);
}

static void test_what_keeps_instances_apart_is_not_a_policy_s_to_say(void **state) {
    (void)state;
    static const char env[] =
        "{\"OPEN_TERMINAL_API_KEY\":\"x\",\"OPEN_TERMINAL_API_KEY_FILE\":\"/x\",\"HOME\":\"/etc\","
        "\"TERMINALS_INSTANCE\":\"x\",\"USER\":\"root\",\"OPEN_TERMINAL_PORT\":\"1\","
        "\"LD_PRELOAD\":\"x\",\"LD_LIBRARY_PATH\":\"x\",\"GCONV_PATH\":\"x\",\"GLIBC_TUNABLES\":\"x\"}";
    const char *value = "";
    cleanup_string_list struct string_list environment = {0};
    build(env, &environment);
    assert_int_equal(count(&environment, "OPEN_TERMINAL_API_KEY", &value), 1);
    assert_string_equal(value, "the-key");
    assert_int_equal(count(&environment, "HOME", &value), 1);
    assert_string_equal(value, "/home/of/user");
    assert_int_equal(count(&environment, "TERMINALS_INSTANCE", &value), 1);
    assert_string_equal(value, "m:1");
    assert_int_equal(count(&environment, "USER", &value), 1);
    assert_string_not_equal(value, "x");
    static const char *const absent[] = {"OPEN_TERMINAL_API_KEY_FILE",
                                         "OPEN_TERMINAL_PORT",
                                         "LD_PRELOAD",
                                         "LD_LIBRARY_PATH",
                                         "GCONV_PATH",
                                         "GLIBC_TUNABLES"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        assert_int_equal(count(&environment, absent[i], &value), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_policy_adds_variables_and_replaces_defaults),
        cmocka_unit_test(test_only_a_program_of_ours_is_told_to_wait),
        cmocka_unit_test(test_what_keeps_instances_apart_is_not_a_policy_s_to_say),
    };
    return cmocka_run_group_tests_name("local_command", tests, NULL, NULL);
}
