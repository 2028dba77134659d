/* A program that cannot be started, and what is said of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

static bool is_in_time = true;

static int poll_in_time(struct pollfd *fds, nfds_t count, int timeout_ms) {
    return is_in_time ? poll(fds, count, timeout_ms) : 0;
}

#define poll poll_in_time
#include "instance/guardian.c"
#undef poll

/* The guardian's side of a pipe. */
struct world {
    struct guardian guardian;
    int reports_in;
};

static int set_up(void **state) {
    struct world *world = calloc(1, sizeof *world);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    *world = (struct world){.guardian.reports = ends[0], .reports_in = ends[1]};
    is_in_time = true;
    *state = world;
    return 0;
}

static int tear_down(void **state) {
    struct world *world = *state;
    close(world->guardian.reports);
    close(world->reports_in);
    free(world);
    return 0;
}

static void test_a_start_is_told(void **state) {
    struct world *world = *state;
    struct error err = {0};
    report(world->reports_in, GUARDIAN_STARTED, 4711);
    assert_int_equal(guardian_wait_for_start(&world->guardian, &err), 4711);
}

static void test_a_start_that_takes_too_long_is_told_as_that(void **state) {
    struct world *world = *state;
    struct error err = {0};
    is_in_time = false;
    errno = ENOENT; /* of something else */
    assert_int_equal(guardian_wait_for_start(&world->guardian, &err), -1);
    assert_int_equal(err.code, ERROR_CAPACITY);
    assert_string_equal(err.message, "it took longer than 10 s");
}

static void test_no_start_is_told_as_that(void **state) {
    struct world *world = *state;
    struct error err = {0};
    errno = ENOENT;
    report(world->reports_in, GUARDIAN_ENDED, W_EXITCODE(126, 0));
    assert_int_equal(guardian_wait_for_start(&world->guardian, &err), -1);
    assert_int_equal(err.code, ERROR_CAPACITY);
    assert_string_equal(err.message, "no process could be made for it");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_start_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_start_that_takes_too_long_is_told_as_that, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_start_is_told_as_that, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
