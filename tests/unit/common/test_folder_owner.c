/* What root makes in a run folder belongs to the folder's owner, so that all processes of the compose stack can use it.
 */
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

#include "common/folder_owner.h"
#include "common/unix_listener.h"

#define OWNER 10001

static char folder[64];

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/test_folder_owner.XXXXXX");
    assert_non_null(mkdtemp(folder));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command); /* NOLINT: a path of our own */
}

static void test_a_socket_that_root_binds_is_for_the_owner_of_the_folder(void **state) {
    (void)state;
    struct stat status;
    char path[96];
    uid_t owner = geteuid() == 0 ? OWNER : geteuid();
    snprintf(path, sizeof path, "%s/x.sock", folder);
    assert_int_equal(chown(folder, owner, (gid_t)-1), 0);
    int fd = unix_listener_bind(path, NULL);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_uid, owner);
    assert_int_equal(status.st_mode & 0777, 0600);
    close(fd);
}

static void test_a_link_in_the_folder_leads_nowhere(void **state) {
    (void)state;
    struct stat status;
    char path[96];
    char target[96];
    snprintf(path, sizeof path, "%s/link", folder);
    snprintf(target, sizeof target, "%s.target", folder);
    fclose(fopen(target, "w"));
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(chown(folder, geteuid() == 0 ? OWNER : geteuid(), (gid_t)-1), 0);
    assert_true(folder_owner_give(path, NULL));
    assert_int_equal(stat(target, &status), 0);
    assert_int_equal(status.st_uid, geteuid());
    unlink(target);
}

static void test_what_is_not_there_is_named(void **state) {
    (void)state;
    struct error err = {0};
    if (geteuid() == 0) {
        assert_false(folder_owner_give("/tmp/no-such-folder/x", &err));
        assert_non_null(strstr(err.message, "/tmp/no-such-folder/x"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_socket_that_root_binds_is_for_the_owner_of_the_folder, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_link_in_the_folder_leads_nowhere, set_up, tear_down),
        cmocka_unit_test(test_what_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
