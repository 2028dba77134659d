/* A provisioner that is out of descriptors sees nothing in /proc: that must neither end what runs nor pass for its end.
 */
#define FIRST_PORT 19500 /* of a hundred, which are this program's: those of the others run beside it */
#include "tests/unit/provisioner/local_world.h"

static struct rlimit usual;

/* From now on only so many descriptors can be opened. */
static void leave_descriptors(unsigned count) {
    int lowest = dup(STDIN_FILENO);
    assert_true(lowest >= 0);
    close(lowest);
    const struct rlimit few = {.rlim_cur = (rlim_t)lowest + count, .rlim_max = usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
}

static void give_descriptors_back(void) {
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
}

/* Each of the looks at what is to be adopted fails once: as many can be made before as there are descriptors. */
static void test_an_instance_that_cannot_be_looked_at_is_adopted_later(void **state) {
    enum { LOOKS_MAX = 8 };
    struct world *world = *state;
    start_and_await(world);
    pid_t pid = instance_pid(world);
    uint16_t port = world->address.port;
    const struct instance_spec spec = spec_of(world, ID);
    for (unsigned left = 0; left < LOOKS_MAX; left++) {
        restart_backend(world);
        leave_descriptors(left);
        backend_local.adopt(world->backend, &spec, world->reference);
        give_descriptors_back();
        await_event(world, READY);
        assert_int_equal(world->address.port, port);
        assert_int_equal(instance_pid(world), pid);
        assert_int_equal(check(world), 1);
    }
    assert_int_equal(world->events[FAILED] + world->events[GONE], 0);
    stop_and_await(world);
}

static bool is_being_hunted(struct world *world, int argument) {
    (void)argument;
    return world->backend->hunted != NULL;
}

/* As its files may be removed after it. */
static void test_a_stop_is_not_done_before_it_is_seen_that_nothing_is_left(void **state) {
    struct world *world = *state;
    write_home(world, "before", "setsid sleep 1000 >/dev/null 2>&1 &\n");
    start_and_await(world);
    world->backend->instances->has_leftovers = true; /* in a sandbox, as if a predecessor had started it */
    leave_descriptors(0);
    backend_local.stop(world->backend, ID);
    bool is_hunted = await(world, is_being_hunted, 0, 15000);
    bool is_stopped = await(world, was_raised, STOPPED, 200);
    give_descriptors_back();
    assert_true(is_hunted);
    assert_false(is_stopped);
    await_event(world, STOPPED);
    assert_int_equal(processes(world), 0);
}

static void test_the_sweep_looks_again(void **state) {
    struct world *world = *state;
    start_and_await(world);
    restart_backend(world);
    leave_descriptors(0);
    backend_local.sweep(world->backend);
    give_descriptors_back();
    assert_true(processes(world) > 0);
    await_processes(world, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

static int run_every_test(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_an_instance_that_cannot_be_looked_at_is_adopted_later),
        TEST(test_a_stop_is_not_done_before_it_is_seen_that_nothing_is_left),
        TEST(test_the_sweep_looks_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    if (argc == 6 && strcmp(argv[1], "run") == 0) {
        return play_instance(atoi(argv[5]));
    }
    if (getrlimit(RLIMIT_NOFILE, &usual) != 0) {
        return 1;
    }
    int failures = 0;
    sandbox_of_tests = SANDBOX_NONE;
    failures += run_every_test();
    sandbox_of_tests = SANDBOX_BWRAP;
    failures += run_every_test();
    return failures != 0;
}
