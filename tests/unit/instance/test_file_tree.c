/* Folders made, removed and moved; files replaced whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "instance/atomic_file.h"
#include "instance/file_tree.h"

static char home[64];

static int make_home(void **state) {
    (void)state;
    strcpy(home, "/tmp/terminals-tree-XXXXXX");
    return mkdtemp(home) != NULL ? chdir(home) : -1;
}

static int remove_home(void **state) {
    (void)state;
    return chdir("/") == 0 && tree_remove(home, NULL) ? 0 : -1;
}

static const char *at(const char *name) {
    static char paths[4][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, PATH_MAX, "%s/%s", home, name);
    return path;
}

static bool is_there(const char *name) {
    struct stat status;
    return lstat(at(name), &status) == 0;
}

static void put(const char *name, const char *content) {
    struct error err;
    cleanup_atomic_file struct atomic_file *file = atomic_file_open(at(name), &err);
    if (file == NULL || !atomic_file_write(file, content, strlen(content), &err) || !atomic_file_commit(file, &err)) {
        fail_msg("%s", err.message);
    }
}

static void check_content(const char *name, const char *expected) {
    char content[256] = {0};
    FILE *file = fopen(at(name), "r");
    assert_non_null(file);
    content[fread(content, 1, sizeof(content) - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(content, expected);
}

static int count_entries(const char *name) {
    DIR *folder = opendir(at(name));
    assert_non_null(folder);
    int count = -2;
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static void test_folders_are_made_with_those_above_them(void **state) {
    (void)state;
    struct error err;
    assert_true(folder_make(at("a/b/c"), &err));
    assert_true(folder_make(at("a/b/c"), &err));
    put("file", "x");
    assert_false(folder_make(at("file"), &err));
    assert_non_null(strstr(err.message, "[Errno 17] File exists"));
    assert_false(folder_make(at("file/x"), &err));
    assert_non_null(strstr(err.message, "[Errno 20] Not a directory"));
    assert_false(folder_make("/proc/x/y", &err));
    assert_non_null(strstr(err.message, ": '/proc/x'"));
}

static void test_a_tree_deeper_than_a_path_can_be_is_removed(void **state) {
    (void)state;
    char name[201];
    memset(name, 'd', 200);
    name[200] = '\0';
    assert_int_equal(mkdir("deep", 0700), 0);
    assert_int_equal(chdir("deep"), 0);
    for (int i = 0; i < 200; i++) { /* 40,000 bytes: ten times PATH_MAX */
        assert_int_equal(mkdir(name, 0700), 0);
        assert_int_equal(chdir(name), 0);
        close(open("leaf", O_CREAT | O_WRONLY, 0600));
    }
    assert_int_equal(chdir(home), 0);
    struct error err;
    assert_true(tree_remove(at("deep"), &err));
    assert_false(is_there("deep"));
}

static void test_removing_never_follows_a_link(void **state) {
    (void)state;
    struct error err;
    assert_true(folder_make(at("keep/inner"), &err));
    put("keep/file", "kept");
    assert_true(folder_make(at("gone"), &err));
    assert_int_equal(symlink("../keep", "gone/link"), 0);
    assert_int_equal(symlink("keep", "link"), 0);
    assert_int_equal(mkfifo("gone/pipe", 0600), 0);
    assert_true(tree_remove(at("gone"), &err));
    assert_true(tree_remove(at("link"), &err));
    check_content("keep/file", "kept");
    assert_false(tree_remove(at("nothing"), &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
}

static void test_a_folder_of_ten_thousand_is_removed(void **state) {
    (void)state;
    assert_int_equal(mkdir("many", 0700), 0);
    for (int i = 0; i < 10000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "many/%d", i);
        if (i % 20 == 0) {
            assert_int_equal(mkdir(name, 0700), 0);
        } else {
            close(open(name, O_CREAT | O_WRONLY, 0600));
        }
    }
    struct error err;
    assert_true(tree_remove(at("many"), &err));
}

static void test_a_move_never_overwrites(void **state) {
    (void)state;
    struct error err;
    put("one", "1");
    put("two", "2");
    assert_false(tree_move(at("one"), at("two"), &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
    check_content("two", "2");
    assert_true(tree_move(at("one"), at("three"), &err));
    check_content("three", "1");
    assert_false(is_there("one"));
}

static void test_a_folder_moves_to_another_file_system(void **state) {
    (void)state;
    char other[] = "/dev/shm/terminals-tree-XXXXXX";
    struct stat here;
    struct stat there;
    if (mkdtemp(other) == NULL || stat(other, &there) != 0 || stat(home, &here) != 0 || here.st_dev == there.st_dev) {
        rmdir(other);
        skip();
    }
    struct error err;
    assert_true(folder_make(at("m/sub"), &err));
    put("m/sub/file", "content");
    assert_int_equal(chmod("m/sub/file", 0751), 0);
    assert_int_equal(symlink("sub/file", "m/link"), 0);
    char destination[64];
    snprintf(destination, sizeof(destination), "%s/m", other);
    assert_true(tree_move(at("m"), destination, &err));
    assert_false(is_there("m"));
    assert_true(tree_move(destination, at("m"), &err));
    check_content("m/link", "content");
    struct stat status;
    assert_int_equal(stat("m/sub/file", &status), 0);
    assert_int_equal(status.st_mode & 07777, 0751);
    assert_int_equal(rmdir(other), 0); /* and nothing is left there */
}

static void test_home_is_known_by_any_name(void **state) {
    (void)state;
    struct error err;
    assert_true(folder_make(at("u/home/x"), &err));
    assert_int_equal(symlink("u", "alias"), 0);
    assert_true(tree_holds(at("u/home"), at("u/home")));
    assert_true(tree_holds(at("u"), at("u/home")));
    assert_true(tree_holds(at("alias/home"), at("u/home")));
    assert_true(tree_holds("/", at("u/home")));
    assert_false(tree_holds(at("alias"), at("u/home"))); /* the link itself may go */
    assert_false(tree_holds(at("u/home/x"), at("u/home")));
}

static void test_writing_keeps_mode_and_links(void **state) {
    (void)state;
    assert_int_equal(mkdir("w", 0700), 0);
    put("w/file", "old");
    assert_int_equal(chmod("w/file", 0640), 0);
    assert_int_equal(symlink("file", "w/link"), 0);
    assert_int_equal(symlink("new", "w/dangling"), 0);
    put("w/link", "through the link");
    put("w/dangling", "made");
    check_content("w/file", "through the link");
    check_content("w/new", "made");
    struct stat status;
    assert_int_equal(stat("w/file", &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);
    assert_int_equal(link("w/file", "w/twin"), 0);
    put("w/twin", "both");
    check_content("w/file", "both");
    assert_int_equal(count_entries("w"), 5);
}

static void test_a_write_that_is_given_up_leaves_nothing(void **state) {
    (void)state;
    assert_int_equal(mkdir("g", 0700), 0);
    put("g/file", "old");
    struct error err;
    struct atomic_file *file = atomic_file_open(at("g/file"), &err);
    assert_true(atomic_file_write(file, "half", 4, &err));
    check_content("g/file", "old");
    atomic_file_free(file);
    check_content("g/file", "old");
    assert_int_equal(count_entries("g"), 1);
}

static void check_refused(const char *path, const char *expected) {
    struct error err;
    assert_null(atomic_file_open(path, &err));
    if (strstr(err.message, expected) == NULL) {
        fail_msg("%s: %s", path, err.message);
    }
}

static void test_what_cannot_be_written_is_refused_at_once(void **state) {
    (void)state;
    assert_int_equal(mkfifo("pipe", 0600), 0);
    assert_int_equal(symlink("loop", "loop"), 0);
    check_refused(at("pipe"), "[Errno 6]"); /* nobody reads it: refused, not waited for */
    check_refused(at("loop"), "[Errno 40]");
    check_refused(home, "[Errno 21] Is a directory");
    check_refused(at("no/folder"), "[Errno 2]");
    struct error err;
    struct atomic_file *null = atomic_file_open("/dev/null", &err);
    assert_non_null(null);
    assert_true(atomic_file_write(null, "x", 1, &err) && atomic_file_commit(null, &err));
    atomic_file_free(null);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folders_are_made_with_those_above_them),
        cmocka_unit_test(test_a_tree_deeper_than_a_path_can_be_is_removed),
        cmocka_unit_test(test_removing_never_follows_a_link),
        cmocka_unit_test(test_a_folder_of_ten_thousand_is_removed),
        cmocka_unit_test(test_a_move_never_overwrites),
        cmocka_unit_test(test_a_folder_moves_to_another_file_system),
        cmocka_unit_test(test_home_is_known_by_any_name),
        cmocka_unit_test(test_writing_keeps_mode_and_links),
        cmocka_unit_test(test_a_write_that_is_given_up_leaves_nothing),
        cmocka_unit_test(test_what_cannot_be_written_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, make_home, remove_home);
}
