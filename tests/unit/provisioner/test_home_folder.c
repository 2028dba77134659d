/* Homes are full of what their users put there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>

#include "common/log.h"
#include "provisioner/home_folder.h"
#include "tests/unit/provisioner/temporary_folder.h"

static char folder[64];
static struct event_base *base;
static struct home_folders *homes;

static int make(void **state) {
    struct error err;
    char data[80];
    (void)state;
    log_configure("test", LOG_ERROR + 1, LOG_TEXT);
    temporary_folder_make(folder);
    snprintf(data, sizeof data, "%s/a/b/homes", folder);
    base = event_base_new();
    homes = home_folders_open(data, base, &err);
    return homes == NULL ? -1 : 0;
}

static int remove_it(void **state) {
    (void)state;
    home_folders_close(homes);
    event_base_free(base);
    temporary_folder_remove(folder);
    return 0;
}

static const char *path_of(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static bool exists(const char *name) {
    struct stat status;
    return lstat(path_of(name), &status) == 0;
}

static void put_file(const char *name) {
    int fd = open(path_of(name), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

struct purged {
    int times;
    struct error err;
};

static void on_purged(void *argument, const struct error *err) {
    struct purged *purged = argument;
    purged->times++;
    purged->err = err == NULL ? (struct error){0} : *err;
}

static struct purged purge(const char *user_id, const char *context_id) {
    struct purged purged = {0};
    home_folder_purge(homes, user_id, "default", context_id, on_purged, &purged);
    while (purged.times == 0) {
        event_base_loop(base, EVLOOP_ONCE);
    }
    return purged;
}

static void create(const char *user_id, const char *context_id) {
    struct error err = {0};
    char *path = home_folder_create(homes, user_id, "default", context_id, &err);
    if (path == NULL) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(path[0], '/');
    free(path);
}

static void test_no_user_id_reaches_outside(void **state) {
    (void)state;
    struct error err;
    static const char *const ids[] = {"..", "../../x", "/etc", ".trash", ".contexts", "a/b", "\xc3\xa9", "a b"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char *path = home_folder_create(homes, ids[i], "default", "default", &err);
        assert_non_null(path);
        assert_non_null(strstr(path, "/a/b/homes/u-"));
        free(path);
    }
}

static void test_a_link_in_the_way_is_refused(void **state) {
    (void)state;
    struct error err = {0};
    mkdir(path_of("outside"), 0700);
    char target[80];
    snprintf(target, sizeof target, "%s/outside", folder);
    assert_int_equal(symlink(target, path_of("a/b/homes/ann")), 0);
    assert_null(home_folder_create(homes, "ann", "default", "default", &err));
    assert_int_equal(symlink(target, path_of("a/b/homes/.contexts")), 0);
    assert_null(home_folder_create(homes, "bob", "default", "chat:1", &err));
}

static void test_a_purge_follows_no_link(void **state) {
    (void)state;
    create("ann", "default");
    mkdir(path_of("outside"), 0700);
    put_file("outside/precious");
    char target[80];
    snprintf(target, sizeof target, "%s/outside", folder);
    assert_int_equal(symlink(target, path_of("a/b/homes/ann/link")), 0);
    assert_int_equal(symlink("../../..", path_of("a/b/homes/ann/up")), 0);
    put_file("a/b/homes/ann/file");
    assert_int_equal(purge("ann", "default").err.code, ERROR_NONE);
    assert_false(exists("a/b/homes/ann"));
    assert_true(exists("outside/precious"));
}

static void test_a_home_that_is_itself_a_link_loses_only_the_link(void **state) {
    (void)state;
    mkdir(path_of("outside"), 0700);
    put_file("outside/precious");
    char target[80];
    snprintf(target, sizeof target, "%s/outside", folder);
    assert_int_equal(symlink(target, path_of("a/b/homes/ann")), 0);
    purge("ann", "default");
    assert_true(exists("outside/precious"));
}

static void test_a_purge_touches_one_context_only(void **state) {
    (void)state;
    create("ann", "default");
    create("ann", "chat:1");
    create("bob", "default");
    put_file("a/b/homes/ann/file");
    assert_int_equal(purge("ann", "chat:1").err.code, ERROR_NONE);
    assert_true(exists("a/b/homes/ann/file"));
    assert_true(exists("a/b/homes/bob"));
}

static void test_a_tree_deeper_than_any_stack_is_removed(void **state) {
    (void)state;
    create("ann", "default");
    int fd = open(path_of("a/b/homes/ann"), O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(mkdirat(fd, "d", 0700), 0);
        int file = openat(fd, "f", O_WRONLY | O_CREAT, 0600);
        close(file);
        int next = openat(fd, "d", O_RDONLY | O_DIRECTORY);
        close(fd);
        fd = next;
    }
    close(fd);
    struct purged purged = purge("ann", "default");
    assert_string_equal(purged.err.message, "");
    assert_false(exists("a/b/homes/ann"));
    assert_int_equal(rmdir(path_of("a/b/homes/.trash")), 0);
}

static void test_folders_without_any_rights_are_removed(void **state) {
    (void)state;
    create("ann", "default");
    mkdir(path_of("a/b/homes/ann/x"), 0700);
    mkdir(path_of("a/b/homes/ann/x/y"), 0700);
    put_file("a/b/homes/ann/x/y/f");
    chmod(path_of("a/b/homes/ann/x/y"), 0);
    chmod(path_of("a/b/homes/ann/x"), 0);
    chmod(path_of("a/b/homes/ann"), 0500);
    assert_int_equal(purge("ann", "default").err.code, ERROR_NONE);
    assert_int_equal(rmdir(path_of("a/b/homes/.trash")), 0);
}

static void test_a_purge_of_nothing_succeeds(void **state) {
    (void)state;
    assert_int_equal(purge("nobody", "default").err.code, ERROR_NONE);
    assert_int_equal(purge("nobody", "chat:1").err.code, ERROR_NONE);
}

static void test_what_a_killed_purge_left_is_removed_at_the_next_start(void **state) {
    (void)state;
    mkdir(path_of("a/b/homes/.trash"), 0700);
    mkdir(path_of("a/b/homes/.trash/one"), 0700);
    mkdir(path_of("a/b/homes/.trash/one/home"), 0700);
    mkdir(path_of("a/b/homes/.trash/one/0"), 0700);
    put_file("a/b/homes/.trash/one/0/file");
    home_folders_empty_trash(homes);
    while (exists("a/b/homes/.trash/one")) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        usleep(1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_user_id_reaches_outside, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_link_in_the_way_is_refused, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_purge_follows_no_link, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_home_that_is_itself_a_link_loses_only_the_link, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_purge_touches_one_context_only, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_tree_deeper_than_any_stack_is_removed, make, remove_it),
        cmocka_unit_test_setup_teardown(test_folders_without_any_rights_are_removed, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_purge_of_nothing_succeeds, make, remove_it),
        cmocka_unit_test_setup_teardown(test_what_a_killed_purge_left_is_removed_at_the_next_start, make, remove_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
