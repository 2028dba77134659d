/* What the sandboxes see of /etc: the machine's files as they are now, no secret, and never half a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provisioner/backends/sandbox_etc.h"
#include "tests/unit/provisioner/temporary_folder.h"

struct machine {
    char folder[64];
    char original[128]; /* the machine's /etc */
    char copy[128];     /* the sandboxes' */
    struct sandbox_etc *etc;
};

static const struct sandbox_file ours[] = {{"passwd", "user:x:1000:1000::/home/user:/bin/bash\n"}};

static const char *path_of(const char *folder, const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* In place: the inode stays. */
static void write_file(const char *folder, const char *name, const char *content) {
    FILE *file = fopen(path_of(folder, name), "w");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
}

static void make_folder(const char *folder, const char *name) {
    assert_int_equal(mkdir(path_of(folder, name), 0755), 0);
}

static void open_etc(struct machine *machine) {
    struct error err;
    machine->etc = sandbox_etc_open(machine->folder, machine->original, ours, 1, &err);
    if (machine->etc == NULL) {
        fail_msg("%s", err.message);
    }
}

static void refresh(struct machine *machine) {
    struct error err;
    if (!sandbox_etc_refresh(machine->etc, &err)) {
        fail_msg("%s", err.message);
    }
}

static int open_machine(void **state) {
    struct machine *machine = calloc(1, sizeof *machine);
    *state = machine;
    temporary_folder_make(machine->folder);
    snprintf(machine->original, sizeof machine->original, "%s/machine", machine->folder);
    snprintf(machine->copy, sizeof machine->copy, "%s/etc", machine->folder);
    umask(022);
    make_folder(machine->folder, "machine");
    make_folder(machine->original, "ssl");
    make_folder(machine->original, "ssl/certs");
    write_file(machine->original, "hosts", "127.0.0.1 localhost\n");
    write_file(machine->original, "services", "ssh 22/tcp\n");
    write_file(machine->original, "ssl/openssl.cnf", "[default]\n");
    write_file(machine->original, "shadow", "root:secret\n");
    open_etc(machine);
    return 0;
}

static int close_machine(void **state) {
    struct machine *machine = *state;
    sandbox_etc_close(machine->etc);
    temporary_folder_remove(machine->folder);
    free(machine);
    return 0;
}

static void assert_shows(const struct machine *machine, const char *name, const char *content) {
    char found[256] = "";
    FILE *file = fopen(path_of(machine->copy, name), "r");
    assert_non_null(file);
    size_t length = fread(found, 1, sizeof found - 1, file);
    found[length] = '\0';
    fclose(file);
    assert_string_equal(found, content);
}

static void assert_hides(const struct machine *machine, const char *name) {
    struct stat status;
    assert_int_equal(lstat(path_of(machine->copy, name), &status), -1);
    assert_int_equal(errno, ENOENT);
}

static bool is_mounted(const struct machine *machine, const char *name) {
    cleanup_string_list struct string_list arguments = {0};
    bool found = false;
    sandbox_etc_add_mounts(machine->etc, &arguments);
    for (size_t i = 0; i < arguments.count; i++) {
        found = found || strcmp(arguments.strings[i], path_of(machine->original, name)) == 0;
    }
    return found;
}

static void test_it_shows_what_programs_need_and_no_secret(void **state) {
    const struct machine *machine = *state;
    assert_shows(machine, "hosts", "127.0.0.1 localhost\n");
    assert_shows(machine, "ssl/openssl.cnf", "[default]\n");
    assert_shows(machine, "passwd", ours[0].content);
    assert_hides(machine, "shadow");
    assert_true(is_mounted(machine, "ssl/certs"));
    assert_false(is_mounted(machine, "hosts"));
}

/* Instances may be root outside: what its mode keeps from others must not be copied for them. */
static void test_what_not_everybody_may_read_stays_hidden(void **state) {
    struct machine *machine = *state;
    assert_int_equal(chmod(path_of(machine->original, "hosts"), 0640), 0);
    assert_int_equal(chmod(path_of(machine->original, "ssl/certs"), 0700), 0);
    refresh(machine);
    assert_hides(machine, "hosts");
    assert_false(is_mounted(machine, "ssl/certs"));
    assert_int_equal(chmod(path_of(machine->original, "hosts"), 0644), 0);
    refresh(machine);
    assert_shows(machine, "hosts", "127.0.0.1 localhost\n");
}

/* Each of the same size and within a tick of the clock, so that no time stamp tells. */
static void test_a_change_is_seen_by_the_next_start(void **state) {
    struct machine *machine = *state;
    char content[] = "127.0.0.1 a\n";
    for (int name = 'a'; name <= 'z'; name++) {
        content[10] = (char)name;
        write_file(machine->original, "hosts", content);
        refresh(machine);
        assert_shows(machine, "hosts", content);
    }
    write_file(machine->original, "hosts.new", "127.0.0.1 renamed\n");
    char renamed[512];
    snprintf(renamed, sizeof renamed, "%s", path_of(machine->original, "hosts.new"));
    assert_int_equal(rename(renamed, path_of(machine->original, "hosts")), 0);
    refresh(machine);
    assert_shows(machine, "hosts", "127.0.0.1 renamed\n");
}

static ino_t copied_inode(const struct machine *machine, const char *name) {
    struct stat status;
    assert_int_equal(stat(path_of(machine->copy, name), &status), 0);
    return status.st_ino;
}

/* Else each start would write some fifty files. */
static void test_what_has_not_changed_for_long_is_not_copied_again(void **state) {
    struct machine *machine = *state;
    assert_int_equal(symlink("/bin/sh", path_of(machine->original, "magic")), 0);
    refresh(machine);
    ino_t copied = copied_inode(machine, "magic");
    refresh(machine);
    assert_int_equal(copied_inode(machine, "magic"), copied);
    assert_int_equal(unlink(path_of(machine->original, "magic")), 0);
    write_file(machine->original, "magic", "new\n");
    refresh(machine);
    assert_shows(machine, "magic", "new\n");
}

static void test_links_show_what_they_lead_to(void **state) {
    struct machine *machine = *state;
    write_file(machine->folder, "one", "nameserver 192.0.2.1\n");
    write_file(machine->folder, "two", "nameserver 192.0.2.2\n");
    assert_int_equal(symlink("../one", path_of(machine->original, "resolv.conf")), 0);
    assert_int_equal(symlink("/nonexistent", path_of(machine->original, "localtime")), 0);
    refresh(machine);
    assert_shows(machine, "resolv.conf", "nameserver 192.0.2.1\n");
    assert_hides(machine, "localtime");
    assert_int_equal(unlink(path_of(machine->original, "resolv.conf")), 0);
    assert_int_equal(symlink("../two", path_of(machine->original, "resolv.conf")), 0);
    refresh(machine);
    assert_shows(machine, "resolv.conf", "nameserver 192.0.2.2\n");
}

static void test_what_is_removed_or_becomes_something_else_is_so_here(void **state) {
    struct machine *machine = *state;
    assert_int_equal(unlink(path_of(machine->original, "hosts")), 0);
    assert_int_equal(rmdir(path_of(machine->original, "ssl/certs")), 0);
    write_file(machine->original, "ssl/certs", "a file\n");
    assert_int_equal(unlink(path_of(machine->original, "services")), 0);
    make_folder(machine->original, "services");
    refresh(machine);
    assert_hides(machine, "hosts");
    assert_false(is_mounted(machine, "ssl/certs"));
    assert_shows(machine, "ssl/certs", "a file\n");
    assert_true(is_mounted(machine, "services"));
    assert_int_equal(rmdir(path_of(machine->original, "services")), 0);
    refresh(machine);
    assert_hides(machine, "services");
    assert_false(is_mounted(machine, "services"));
}

/* An instance that reads while a file changes has all of the old one or all of the new one. */
static void test_nobody_sees_half_a_file(void **state) {
    struct machine *machine = *state;
    char old[64] = "";
    int fd = open(path_of(machine->copy, "hosts"), O_RDONLY);
    write_file(machine->original, "hosts", "192.0.2.1 new\n");
    refresh(machine);
    assert_true(read(fd, old, sizeof old - 1) > 0);
    close(fd);
    assert_string_equal(old, "127.0.0.1 localhost\n");
    assert_shows(machine, "hosts", "192.0.2.1 new\n");
}

/* A limit on the size of files stands in for a full disk. */
static void test_with_a_full_disk_the_older_copy_stays_and_all_else_goes_on(void **state) {
    struct machine *machine = *state;
    struct error err;
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    write_file(machine->original, "hosts", "192.0.2.1 much-longer-than-the-limit-lets-it-be\n");
    write_file(machine->original, "services", "x 1/tcp\n");
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 16, .rlim_max = before.rlim_max});
    bool refreshed = sandbox_etc_refresh(machine->etc, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(refreshed);
    assert_non_null(strstr(err.message, "hosts"));
    assert_shows(machine, "hosts", "127.0.0.1 localhost\n");
    assert_shows(machine, "services", "x 1/tcp\n");
    refresh(machine);
    assert_shows(machine, "hosts", "192.0.2.1 much-longer-than-the-limit-lets-it-be\n");
}

/* Who cannot look knows nothing, and takes nothing away from instances that run. */
static void test_without_descriptors_what_there_is_stays(void **state) {
    struct machine *machine = *state;
    struct error err;
    struct rlimit before;
    make_folder(machine->original, "vim");
    write_file(machine->original, "vim/vimrc", "set ruler\n");
    refresh(machine);
    write_file(machine->original, "services", "x 1/tcp\n");
    getrlimit(RLIMIT_NOFILE, &before);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max});
    bool refreshed = sandbox_etc_refresh(machine->etc, &err);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_false(refreshed);
    assert_shows(machine, "services", "ssh 22/tcp\n");
    assert_shows(machine, "vim/vimrc", "set ruler\n");
    refresh(machine);
    assert_shows(machine, "services", "x 1/tcp\n");
}

/* Whatever a kill left, and what an earlier version showed and this one does not. */
static void test_a_new_life_puts_right_what_it_finds(void **state) {
    struct machine *machine = *state;
    sandbox_etc_close(machine->etc);
    write_file(machine->folder, "etc.next", "half of a fi");
    write_file(machine->copy, "hosts", "half of a fi");
    write_file(machine->copy, "shadow", "root:secret\n");
    make_folder(machine->copy, "private");
    write_file(machine->copy, "private/key", "secret\n");
    assert_int_equal(unlink(path_of(machine->copy, "services")), 0);
    make_folder(machine->copy, "services");
    assert_int_equal(rmdir(path_of(machine->copy, "ssl/certs")), 0);
    write_file(machine->copy, "ssl/certs", "a file\n");
    open_etc(machine);
    assert_shows(machine, "hosts", "127.0.0.1 localhost\n");
    assert_shows(machine, "services", "ssh 22/tcp\n");
    assert_shows(machine, "passwd", ours[0].content);
    assert_hides(machine, "shadow");
    assert_hides(machine, "private");
    assert_true(is_mounted(machine, "ssl/certs"));
    struct stat status;
    assert_int_equal(stat(path_of(machine->copy, "ssl/certs"), &status), 0);
    assert_true(S_ISDIR(status.st_mode));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_machine, close_machine)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_it_shows_what_programs_need_and_no_secret),
        TEST(test_what_not_everybody_may_read_stays_hidden),
        TEST(test_a_change_is_seen_by_the_next_start),
        TEST(test_what_has_not_changed_for_long_is_not_copied_again),
        TEST(test_links_show_what_they_lead_to),
        TEST(test_what_is_removed_or_becomes_something_else_is_so_here),
        TEST(test_nobody_sees_half_a_file),
        TEST(test_with_a_full_disk_the_older_copy_stays_and_all_else_goes_on),
        TEST(test_without_descriptors_what_there_is_stays),
        TEST(test_a_new_life_puts_right_what_it_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
