/* What a client's path means: where it starts, where `..` leads, which bytes it may hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "instance/files_path.h"

#define BASE "/home/user/docs"
#define HOME "/home/user"

static void test_paths_become_absolute(void **state) {
    static const struct {
        const char *path, *expected;
    } cases[] = {
        {"", BASE},
        {".", BASE},
        {"a", BASE "/a"},
        {"./a/./b/", BASE "/a/b"},
        {"..", HOME},
        {"../../..", "/"},
        {"../../../../../etc", "/etc"},
        {"/", "/"},
        {"//", "/"},
        {"//etc///passwd", "/etc/passwd"},
        {"/..", "/"},
        {"/a/../..", "/"},
        {"a/../..//b", HOME "/b"},
        {"...", BASE "/..."},
        {"..a/.b", BASE "/..a/.b"},
        {"~", HOME},
        {"~/x", HOME "/x"},
        {"~/../x", "/home/x"},
        {"~x", BASE "/~x"},
        {"a/~", BASE "/a/~"},
        {"./~", BASE "/~"},
        {"a b\n\"c", BASE "/a b\n\"c"},
        {"\xEF\xBE\xA9t", BASE "/\xEF\xBE\xA9t"}, /* U+FFA9 is itself */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err;
        cleanup_free char *path = path_resolve(BASE, HOME, cases[i].path, strlen(cases[i].path), &err);
        assert_non_null(path);
        assert_string_equal(path, cases[i].expected);
    }
}

static void test_a_character_that_stands_for_a_byte_becomes_it(void **state) {
    (void)state;
    struct error err;
    cleanup_free char *path = path_resolve("/", HOME, "\xEE\xBF\xA9t\xC3\xA9", 6, &err); /* U+EFE9 */
    assert_string_equal(path, "/\xE9t\xC3\xA9");
}

static void test_a_nul_in_a_path_is_an_error_not_a_shorter_path(void **state) {
    (void)state;
    struct error err;
    assert_null(path_resolve(BASE, HOME, "secret\0.txt", 11, &err));
    assert_int_equal(err.code, ERROR_INVALID);
}

static void test_a_very_long_path_is_resolved(void **state) {
    (void)state;
    size_t length = 1024 * 1024;
    cleanup_free char *text = malloc(length + 1);
    memset(text, 'a', length);
    text[length] = '\0';
    struct error err;
    cleanup_free char *path = path_resolve("/", HOME, text, length, &err);
    assert_int_equal(strlen(path), length + 1);
}

static void test_folder_and_name(void **state) {
    (void)state;
    static const struct {
        const char *path, *folder, *name;
    } cases[] = {{"/a/b", "/a", "b"}, {"/a", "/", "a"}, {"/", "/", ""}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cleanup_free char *folder = path_folder(cases[i].path);
        assert_string_equal(folder, cases[i].folder);
        assert_string_equal(path_name(cases[i].path), cases[i].name);
        cleanup_free char *joined = path_join(folder, path_name(cases[i].path));
        assert_string_equal(joined, cases[i].path);
    }
}

static void test_within(void **state) {
    (void)state;
    assert_true(path_is_within("/a/b", "/a"));
    assert_true(path_is_within("/a", "/a"));
    assert_true(path_is_within("/a", "/"));
    assert_false(path_is_within("/ab", "/a"));
    assert_false(path_is_within("/", "/a"));
}

static void test_temporary_names_are_hidden_and_differ(void **state) {
    (void)state;
    char first[PATH_TEMPORARY_NAME_SIZE];
    char second[PATH_TEMPORARY_NAME_SIZE];
    assert_true(path_temporary_name(first) && path_temporary_name(second));
    assert_int_equal(first[0], '.');
    assert_string_not_equal(first, second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_become_absolute),
        cmocka_unit_test(test_a_character_that_stands_for_a_byte_becomes_it),
        cmocka_unit_test(test_a_nul_in_a_path_is_an_error_not_a_shorter_path),
        cmocka_unit_test(test_a_very_long_path_is_resolved),
        cmocka_unit_test(test_folder_and_name),
        cmocka_unit_test(test_within),
        cmocka_unit_test(test_temporary_names_are_hidden_and_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
