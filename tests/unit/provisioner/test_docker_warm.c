/* A warm container ends, or is paused, while it is being handed over: its owner wants it stopped there and then, and is
 * told when it is. */
#include "tests/unit/provisioner/docker_world.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "provisioner/backends/home_mount.h"
#include "provisioner/backends/process.h"

/* --- instead of home_mount.c: a mount that takes its time ----------------------------------------------------------
 */

static int mounts;

bool home_mount_is_possible(const char *folder) {
    (void)folder;
    return true;
}

struct home_mount *home_mount_start(struct event_base *base, const struct home_mount_request *request,
                                    home_mount_done *done, void *argument, struct error *err) {
    (void)base;
    (void)request;
    (void)done;
    (void)argument;
    (void)err;
    return (struct home_mount *)&mounts;
}

void home_mount_cancel(struct home_mount *mount) {
    (void)mount;
}

/* --- the tests -----------------------------------------------------------------------------------------------------
 */

static pid_t process; /* of the container: one that was started with its key */

static int open_with_process(void **state) {
    char *arguments[] = {"sleep", "1000", NULL};
    char *environment[] = {"OPEN_TERMINAL_API_KEY=" KEY, NULL};
    assert_int_equal(posix_spawn(&process, "/bin/sleep", NULL, NULL, arguments, environment), 0);
    char value[64];
    for (int tries = 0; !process_environment(process, "OPEN_TERMINAL_API_KEY", value, sizeof value); tries++) {
        assert_true(tries < 60000); /* it has one a moment after the exec */
        usleep(1000);
    }
    return open_world(state);
}

static int close_with_process(void **state) {
    kill(process, SIGKILL);
    waitpid(process, NULL, 0);
    return close_world(state);
}

static void on_handed_over(void *argument, const struct error *err) {
    struct docker_world *world = argument;
    assert_string_equal(err->message, "the container ended while it was handed over");
    backend_docker.stop(world->backend, ID); /* a folder may be in it */
}

static struct docker_instance *begin_handover(struct docker_world *world) {
    struct instance_spec spec = {
        .instance_id = ID,
        .instance_name = "terminals-x",
        .user_id = "",
        .policy_id = "default",
        .context_id = "default",
        .key = KEY,
    };
    struct docker_instance *instance = docker_instance_new(world->backend, &spec);
    assert_non_null(instance);
    docker_instance_set_container(instance, "c1");
    instance->state = DOCKER_READY;
    instance->pid = process;
    spec.user_id = "alice";
    spec.home = world->folder;
    backend_docker.hand_over(world->backend, &spec, on_handed_over, world);
    assert_non_null(instance->handover);
    return instance;
}

static void expect_stopped(struct docker_world *world) {
    await(world, &world->stopped, 1);
    assert_null(docker_instance_find(world->backend, ID));
    assert_int_equal(world->failed, 0);
}

static void test_one_that_ends_is_stopped(void **state) {
    docker_instance_ended(begin_handover(*state), 1, NULL);
    expect_stopped(*state);
}

static void test_one_that_is_paused_is_stopped(void **state) {
    docker_instance_paused(begin_handover(*state));
    expect_stopped(*state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_that_ends_is_stopped, open_with_process, close_with_process),
        cmocka_unit_test_setup_teardown(test_one_that_is_paused_is_stopped, open_with_process, close_with_process),
    };
    return cmocka_run_group_tests_name("docker_warm", tests, NULL, NULL);
}
