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
#include "instance/loop.h"
#include "instance/process.h"

extern char **environ;

static bool is_in_time = true;
static pid_t test_pid; /* the one process that may make others */

static int poll_in_time(struct pollfd *fds, nfds_t count, int timeout_ms) {
    return is_in_time ? poll(fds, count, timeout_ms) : 0;
}

static pid_t fork_in_test(void) {
    if (getpid() == test_pid) {
        return fork();
    }
    errno = EAGAIN;
    return -1;
}

#define poll poll_in_time
#define fork fork_in_test
#include "instance/guardian.c"
#undef poll
#undef fork

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

/* ---- a command whose guardian cannot make its process: the real guardian.c, under the real process.c ---- */

static struct loop *loop;

static void stop(struct process_waiter *waiter) {
    (void)waiter;
    loop_stop(loop);
}

static void test_a_command_without_a_process_is_told_as_that(void **state) {
    (void)state;
    char log_path[] = "/tmp/test_guardian.XXXXXX";
    assert_true(close(mkstemp(log_path)) == 0 && unlink(log_path) == 0);
    cleanup_close int folder = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const struct process_options options = {
        .id = "1",
        .command = "echo hello",
        .log_path = log_path,
        .max_log_size = 65536,
        .folder = folder,
        .environment = environ,
    };
    struct process_waiter waiter = {.ended = stop};
    struct error err = {0};
    loop = loop_new(NULL, NULL);
    struct process *process = process_start(loop, &options, &err);
    assert_non_null(process);
    process_wait(process, &waiter);
    assert_true(loop_run(loop));
    assert_int_equal(process->exit_code, 126);

    char output[256] = "";
    off_t start = 0, end = 0;
    assert_true(output_log_range(process->log, 0, &start, &end));
    assert_true(end - start < (off_t)sizeof output);
    assert_true(output_log_read(process->log, start, end, output, sizeof output - 1) > 0);
    assert_non_null(strstr(output, "cannot start a process: Resource temporarily unavailable"));

    process_settle(process);
    process_abandon(process);
    process_release(process);
    assert_int_equal(unlink(log_path), 0);
    loop_free(loop);
    assert_true(waitpid(-1, NULL, 0) > 0);
}

int main(void) {
    test_pid = getpid();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_start_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_start_that_takes_too_long_is_told_as_that, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_start_is_told_as_that, set_up, tear_down),
        cmocka_unit_test(test_a_command_without_a_process_is_told_as_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
