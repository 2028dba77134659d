/* What a health check believes of a process that listens on nothing. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/heartbeat.h"

#define PROCESS "thing"

static char folder[] = "/tmp/heartbeat-XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/heartbeat-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/" PROCESS ".heartbeat", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder); /* which fails if anything else is left in it */
}

static void write_record(const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void expect_bad(bool must_be_ready, enum error_code code, const char *words) {
    struct error err = {0};
    assert_false(heartbeat_check(folder, PROCESS, must_be_ready, &err));
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.message, words));
}

static void test_what_was_written_just_now_is_alive(void **state) {
    (void)state;
    struct error err = {0};
    assert_true(heartbeat_write(folder, PROCESS, false, &err));
    assert_true(heartbeat_check(folder, PROCESS, false, &err));
    expect_bad(true, ERROR_CAPACITY, "is alive, and waits");
    assert_true(heartbeat_write(folder, PROCESS, true, &err));
    assert_true(heartbeat_check(folder, PROCESS, false, &err));
    assert_true(heartbeat_check(folder, PROCESS, true, &err));
}

static void test_what_is_old_or_of_another_boot_is_dead(void **state) {
    (void)state;
    char record[64];
    snprintf(record, sizeof record, "%" PRId64 " ready\n", clock_monotonic_ms() - HEARTBEAT_STALE_MS - 1);
    write_record(record);
    expect_bad(false, ERROR_TIMEOUT, "has not been heard");
    snprintf(record, sizeof record, "%" PRId64 " ready\n", clock_monotonic_ms() + 3600000);
    write_record(record);
    expect_bad(false, ERROR_TIMEOUT, "has not been heard");
}

static void test_what_is_missing_or_nonsense_is_dead(void **state) {
    (void)state;
    expect_bad(false, ERROR_BACKEND, "No such file");
    static const char *const nonsense[] = {"", "ready", "now ready\n", "17\n"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        write_record(nonsense[i]);
        expect_bad(false, ERROR_BACKEND, "is no heartbeat");
    }
}

static void test_a_folder_that_is_not_there_is_said(void **state) {
    (void)state;
    struct error err = {0};
    assert_false(heartbeat_write("/nowhere", PROCESS, true, &err));
    assert_non_null(strstr(err.message, "/nowhere/" PROCESS));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_written_just_now_is_alive, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_what_is_old_or_of_another_boot_is_dead, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_what_is_missing_or_nonsense_is_dead, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_folder_that_is_not_there_is_said, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
