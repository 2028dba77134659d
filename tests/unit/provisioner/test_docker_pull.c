/* A pull is shared by all who want the image, and one that hangs is begun anew. */
#include "tests/unit/provisioner/docker_world.h"

#include "provisioner/backends/docker_pull.c"

static void on_told(void *argument, const char *text) {
    (void)argument;
    (void)text;
}

static void on_pulled(void *argument, const struct error *err) {
    (void)argument;
    (void)err;
}

static struct docker_pull_wait *join(struct docker_world *world) {
    struct backend *backend = world->backend;
    struct docker_pull_wait *wait =
        docker_pull_join(&backend->pulls, backend->engine, "registry:5000/image", on_told, on_pulled, NULL);
    assert_non_null(wait);
    return wait;
}

static void test_one_that_hangs_is_begun_anew(void **state) {
    struct docker_world *world = *state;
    char line[] = "{\"status\":\"Extracting\"}";
    struct docker_pull_wait *first = join(world);
    await(world, &world->pulls, 1);
    struct docker_pull *pull = first->pull;
    struct docker_call *call = pull->call;
    docker_pull_leave(first);
    pull->heard_ms -= SILENT_MAX_MS + 1;
    on_line(pull, line, sizeof line - 1); /* it was slow, and goes on */
    struct docker_pull_wait *second = join(world);
    assert_ptr_equal(second->pull->call, call);

    pull->heard_ms -= SILENT_MAX_MS + 1;
    struct docker_pull_wait *third = join(world);
    await(world, &world->pulls, 2);
    assert_ptr_equal(second->pull, third->pull);
    call = third->pull->call;
    assert_ptr_equal(join(world)->pull->call, call); /* and only once a minute */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_that_hangs_is_begun_anew, open_world, close_world),
    };
    return cmocka_run_group_tests_name("docker_pull", tests, NULL, NULL);
}
