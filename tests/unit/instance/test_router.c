#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/instance.h"
#include "instance/options.h"
#include "instance/router.h"

static int match(const char *pattern, const char *path, struct http_path_parameter *found, const char **rest) {
    *rest = NULL;
    return router_match(pattern, path, strlen(path), found, HTTP_PATH_PARAMETERS_MAX, rest);
}

static int count(const char *pattern, const char *path) {
    struct http_path_parameter found[HTTP_PATH_PARAMETERS_MAX];
    const char *rest;
    return match(pattern, path, found, &rest);
}

static void test_literal_paths_match_whole(void **state) {
    (void)state;
    assert_int_equal(count("/execute", "/execute"), 0);
    assert_int_equal(count("/execute", "/%65xecute"), 0);
    assert_int_equal(count("/execute", "/execut"), -1);
    assert_int_equal(count("/execute", "/execute/"), -1);
    assert_int_equal(count("/execute", "/executes"), -1);
    assert_int_equal(count("/execute", "//execute"), -1);
    assert_int_equal(count("/execute", "execute"), -1);
    assert_int_equal(count("/execute", ""), -1);
    assert_int_equal(count("/files/list", "/files%2Flist"), -1);
}

static void test_a_parameter_takes_one_segment(void **state) {
    (void)state;
    struct http_path_parameter found[HTTP_PATH_PARAMETERS_MAX];
    const char *rest;
    assert_int_equal(match("/execute/{process_id}/status", "/execute/a%2fb/status", found, &rest), 1);
    assert_int_equal(found[0].name_length, strlen("process_id"));
    assert_memory_equal(found[0].name, "process_id", found[0].name_length);
    assert_int_equal(found[0].value_length, 5);
    assert_memory_equal(found[0].value, "a%2fb", 5);
    assert_int_equal(count("/execute/{process_id}", "/execute/"), -1);
    assert_int_equal(count("/execute/{process_id}", "/execute/a/b"), -1);
}

static void test_the_rest_takes_everything(void **state) {
    (void)state;
    struct http_path_parameter found[HTTP_PATH_PARAMETERS_MAX];
    const char *rest;
    assert_int_equal(match("/proxy/{port}/{path...}", "/proxy/80/a//b/../%2e", found, &rest), 2);
    assert_string_equal(rest, "a//b/../%2e");
    assert_int_equal(found[0].value_length, 2);
    assert_int_equal(found[1].name_length, 4);
    assert_int_equal(match("/proxy/{port}/{path...}", "/proxy/80/", found, &rest), 2);
    assert_string_equal(rest, "");
    assert_int_equal(match("/proxy/{port}/{path...}", "/proxy/80", found, &rest), -1);
}

static void test_only_paths_that_are_offered_are_known(void **state) {
    (void)state;
    static struct options options = {.is_terminal_enabled = true};
    static const struct instance plain = {.options = &options};
    assert_true(router_knows(&plain, "/api/terminals", 14));
    assert_false(router_knows(&plain, "/info", 5));
    assert_false(router_knows(&plain, "/mcp", 4));
    options.is_terminal_enabled = false;
    assert_false(router_knows(&plain, "/api/terminals", 14));
    assert_true(router_knows(&plain, "/health", 7));
    assert_true(router_knows(&plain, "/proxy/80/x", 11));
    assert_false(router_knows(&plain, "/healthy", 8));
    assert_false(router_knows(&plain, "", 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literal_paths_match_whole),
        cmocka_unit_test(test_a_parameter_takes_one_segment),
        cmocka_unit_test(test_the_rest_takes_everything),
        cmocka_unit_test(test_only_paths_that_are_offered_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
