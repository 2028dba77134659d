#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "instance/session_folders.h"

static void test_sessions_keep_their_folders_apart(void **state) {
    (void)state;
    struct session_folders *folders = session_folders_new("/home/user", 3600);
    assert_string_equal(session_folder_get(folders, NULL), "/home/user");
    assert_string_equal(session_folder_get(folders, "a"), "/home/user");
    assert_true(session_folder_set(folders, "a", "/one"));
    assert_true(session_folder_set(folders, "b", "/two"));
    assert_true(session_folder_set(folders, "a", "/three"));
    assert_string_equal(session_folder_get(folders, "a"), "/three");
    assert_string_equal(session_folder_get(folders, "b"), "/two");
    assert_string_equal(session_folder_get(folders, "A"), "/home/user");
    session_folders_free(folders);
}

static void test_nothing_is_remembered_without_a_session(void **state) {
    (void)state;
    struct session_folders *folders = session_folders_new("/home/user", 3600);
    assert_true(session_folder_set(folders, NULL, "/one"));
    assert_true(session_folder_set(folders, "", "/one"));
    assert_string_equal(session_folder_get(folders, NULL), "/home/user");
    assert_string_equal(session_folder_get(folders, ""), "/home/user");
    session_folders_free(folders);
}

static void test_the_session_unused_longest_is_forgotten(void **state) {
    (void)state;
    struct session_folders *folders = session_folders_new("/home/user", 3600);
    char id[16];
    for (int i = 0; i < SESSION_FOLDERS_MAX; i++) {
        snprintf(id, sizeof id, "%d", i);
        assert_true(session_folder_set(folders, id, "/x"));
    }
    assert_string_equal(session_folder_get(folders, "0"), "/x"); /* used again, so 1 is the oldest */
    assert_true(session_folder_set(folders, "new", "/y"));
    assert_string_equal(session_folder_get(folders, "0"), "/x");
    assert_string_equal(session_folder_get(folders, "1"), "/home/user");
    assert_string_equal(session_folder_get(folders, "new"), "/y");
    session_folders_free(folders);
}

static void test_a_session_that_is_not_used_is_forgotten(void **state) {
    (void)state;
    struct session_folders *folders = session_folders_new("/home/user", -1); /* over before it began */
    assert_true(session_folder_set(folders, "a", "/one"));
    assert_string_equal(session_folder_get(folders, "a"), "/home/user");
    assert_true(session_folder_set(folders, "a", "/two"));
    session_folders_free(folders);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sessions_keep_their_folders_apart),
        cmocka_unit_test(test_nothing_is_remembered_without_a_session),
        cmocka_unit_test(test_the_session_unused_longest_is_forgotten),
        cmocka_unit_test(test_a_session_that_is_not_used_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
