/* `terminals make-key`: a key for one user, made once, whoever made its folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/make_key.h"

static char folder[64];
static char path[96];
static char owner[16];

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/test_make_key.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/api.key", folder);
    snprintf(owner, sizeof owner, "%u", geteuid() == 0 ? 10001 : (unsigned)geteuid());
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command); /* NOLINT: a path of our own */
}

static int run(const char *file, const char *uid) {
    char *arguments[] = {"make-key", (char *)file, (char *)uid, NULL};
    return make_key(uid == NULL ? 2 : 3, arguments);
}

static void read_key(char key[65]) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(key, 1, 64, file), 64);
    key[64] = '\0';
    fclose(file);
}

static void test_file_and_folder_are_the_users_alone(void **state) {
    (void)state;
    struct stat status;
    assert_int_equal(chmod(folder, 0755), 0); /* as Docker makes it */
    assert_int_equal(run(path, owner), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(status.st_uid, strtoul(owner, NULL, 10));
    assert_int_equal(stat(folder, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    assert_int_equal(status.st_uid, strtoul(owner, NULL, 10));
}

static void test_a_key_that_is_there_stays(void **state) {
    (void)state;
    char first[65];
    char second[65];
    assert_int_equal(run(path, owner), 0);
    read_key(first);
    assert_int_equal(run(path, owner), 0);
    read_key(second);
    assert_string_equal(first, second);
}

static void test_what_makes_no_sense_is_refused(void **state) {
    (void)state;
    assert_int_equal(run(path, NULL), 2);
    assert_int_equal(run("api.key", owner), 2);
    static const char *const bad[] = {"", "-1", "x", "1x", " 1", "4294967295", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(run(path, bad[i]), 2);
    }
    assert_int_equal(access(path, F_OK), -1);
}

static void test_a_link_is_not_followed(void **state) {
    (void)state;
    char target[128];
    snprintf(target, sizeof target, "%s/target", folder);
    FILE *file = fopen(target, "w");
    assert_non_null(file);
    for (int i = 0; i < 64; i++) {
        fputc('a', file);
    }
    fclose(file);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(run(path, owner), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file_and_folder_are_the_users_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_key_that_is_there_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_makes_no_sense_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_link_is_not_followed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
