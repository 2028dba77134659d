/* A machine without memory makes all instances silent for a while: nobody may lose what runs in his by that. Whether
 * there is a sandbox makes no difference here. */
#define FIRST_PORT 19600 /* of a hundred, which are this program's: those of the others run beside it */
#include "tests/unit/provisioner/local_world.h"

static struct local_instance *the_instance(const struct world *world) {
    struct local_instance *instance = NULL;
    HASH_FIND_STR(world->backend->instances, ID, instance);
    assert_non_null(instance);
    return instance;
}

static bool has_answered(struct world *world, int argument) {
    (void)argument;
    return the_instance(world)->liveness.silent_ms == 0;
}

/* It goes on as the same process, with what it runs, and nobody was told that it is gone. */
static void expect_to_have_lived(struct world *world, pid_t pid) {
    assert_true(await(world, has_answered, 0, 30000));
    assert_int_equal(check(world), 1);
    assert_int_equal(instance_pid(world), pid);
    assert_int_equal(world->events[GONE] + world->events[FAILED] + world->events[STOPPED], 0);
}

static void test_an_instance_that_stands_still_for_a_while_lives_on(void **state) {
    struct world *world = *state;
    start_and_await(world);
    pid_t pid = instance_pid(world);
    kill(pid, SIGSTOP);
    assert_int_equal(check(world), 0); /* HAProxy could not connect, and the gate asks */
    assert_true(the_instance(world)->liveness.silent_ms > 0);
    int64_t started = clock_monotonic_ms();
    assert_int_equal(check(world), 0); /* as it is being watched already, nobody waits */
    assert_true(clock_monotonic_ms() - started < 1000);
    kill(pid, SIGCONT);
    expect_to_have_lived(world, pid);
}

static void test_an_instance_that_stands_still_when_it_is_adopted_is_kept(void **state) {
    struct world *world = *state;
    start_and_await(world);
    pid_t pid = instance_pid(world);
    kill(pid, SIGSTOP);
    restart_backend(world);
    const struct instance_spec spec = spec_of(world, ID);
    backend_local.adopt(world->backend, &spec, world->reference);
    if (!await(world, was_raised, READY, 30000)) {
        fail_msg("it was not adopted: %s", world->failure.message);
    }
    assert_true(the_instance(world)->liveness.silent_ms > 0);
    kill(pid, SIGCONT);
    expect_to_have_lived(world, pid);
}

static void test_an_instance_that_hangs_is_ended(void **state) {
    struct world *world = *state;
    start_and_await(world);
    kill(instance_pid(world), SIGSTOP);
    assert_int_equal(check(world), 0);
    assert_int_equal(world->events[GONE], 0);
    the_instance(world)->liveness.silent_ms = UNRESPONSIVE_MS - 1;
    if (!await(world, was_raised, GONE, 30000)) {
        fail_msg("it was not ended");
    }
    assert_non_null(strstr(world->reason, "does not answer"));
    await_processes(world, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(int argc, char **argv) {
    if (argc == 6 && strcmp(argv[1], "run") == 0) {
        return play_instance(atoi(argv[5]));
    }
    const struct CMUnitTest tests[] = {
        TEST(test_an_instance_that_stands_still_for_a_while_lives_on),
        TEST(test_an_instance_that_stands_still_when_it_is_adopted_is_kept),
        TEST(test_an_instance_that_hangs_is_ended),
    };
    sandbox_of_tests = SANDBOX_NONE;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
