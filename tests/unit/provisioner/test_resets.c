/* Scheduled resets when something comes between. */
#include <fcntl.h>

#include "provisioner/audit.h"
#include "provisioner/lifecycles.h"
#include "provisioner/resets.h"
#include "tests/unit/provisioner/world.h"

#define DAY_MS 86400000LL

static bool set_lifecycle(struct world *world, const char *text, int64_t now_ms) {
    struct error err;
    struct json_object *data = json_tokener_parse(text);
    bool ok = lifecycles_set(&world->provisioner, NAME_DEFAULT, data, now_ms, &err);
    json_object_put(data);
    return ok;
}

static void path_of(const struct world *world, const char *user, const char *file, char path[256]) {
    snprintf(path, 256, "%.95s/%.32s/%.32s", world->data_dir, user, file);
}

static bool has(const struct world *world, const char *user, const char *file) {
    char path[256];
    path_of(world, user, file, path);
    return access(path, F_OK) == 0;
}

static void put(struct world *world, const char *user, const char *file) {
    char path[256];
    path_of(world, user, file, path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

/* Alice runs, has a file, and has been due for long. */
static struct tenant *set_up(struct world *world) {
    struct told told = {0};
    int64_t before_ms = clock_unix_ms() - 100 * DAY_MS;
    WORLD_UNTIL(world, world->provisioner.routes_are_built);
    assert_true(set_lifecycle(world, "{\"reset\": {\"schedule\": \"@monthly\"}}", before_ms));
    struct tenant *alice = world_tenant(world, "alice");
    alice->record.created_at_ms = before_ms;
    world_start(world, "alice", &told);
    assert_state(alice, INSTANCE_RUNNING);
    put(world, "alice", "old");
    return alice;
}

struct reported {
    int times;
    struct resets_result result;
};

static void on_reset(void *argument, const struct resets_result *result) {
    struct reported *reported = argument;
    reported->times++;
    reported->result = *result;
}

static void run(struct world *world, size_t reset, size_t failed) {
    struct reported reported = {0};
    resets_run(&world->provisioner, on_reset, &reported);
    WORLD_UNTIL(world, reported.times > 0);
    assert_int_equal(reported.result.reset, reset);
    assert_int_equal(reported.result.failed, failed);
}

static int64_t rows(struct world *world, const char *action) {
    struct error err;
    int64_t total = 0;
    const struct audit_filter filter = {.action = action, .limit = 100};
    json_object_put(audit_list(&world->provisioner, &filter, &total, &err));
    return total;
}

static void stopped(struct tenant *tenant) {
    fake_backend.events.stopped(fake_backend.events.owner, tenant->record.instance_id);
}

static void test_what_cannot_be_recorded_is_not_done_twice(void **state) {
    struct world *world = *state;
    struct reported reported = {0};
    struct told told = {0};
    struct tenant *alice = set_up(world);
    fake_backend.on_stop = FAKE_WAIT;
    resets_run(&world->provisioner, on_reset, &reported);
    assert_state(alice, INSTANCE_STOPPING);
    assert_null(world_route(world, "alice"));
    world_set_database_full(world, true);
    stopped(alice);
    assert_int_equal(reported.result.failed, 1);
    assert_false(has(world, "alice", "old"));
    run(world, 0, 1);
    world_set_database_full(world, false);
    world_start(world, "alice", &told);
    put(world, "alice", "new");
    run(world, 1, 0);
    assert_int_equal(fake_backend.stops, 1);
    assert_true(has(world, "alice", "new"));
    assert_int_equal(rows(world, "scheduled_reset"), 1);
    run(world, 0, 0);
    world_restart(world);
    run(world, 0, 0);
    assert_true(has(world, "alice", "new"));
}

static void test_a_schedule_removed_during_the_stop_keeps_the_folder(void **state) {
    struct world *world = *state;
    struct reported reported = {0};
    struct tenant *alice = set_up(world);
    fake_backend.on_stop = FAKE_WAIT;
    resets_run(&world->provisioner, on_reset, &reported);
    assert_state(alice, INSTANCE_STOPPING);
    assert_true(set_lifecycle(world, "{}", clock_unix_ms()));
    stopped(alice);
    assert_int_equal(reported.times, 1);
    assert_int_equal(reported.result.reset + reported.result.failed, 0);
    assert_true(has(world, "alice", "old"));
    assert_int_equal(rows(world, "scheduled_reset"), 0);
}

static void test_a_start_is_let_finish(void **state) {
    struct world *world = *state;
    struct told told = {0};
    struct tenant *alice = set_up(world);
    world_stop(world, "alice", &told);
    fake_backend.on_start = FAKE_WAIT;
    world_start(world, "alice", &told);
    run(world, 0, 0);
    assert_true(fake_created(alice->record.instance_id));
    fake_ready(alice->record.instance_id);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_state(alice, INSTANCE_RUNNING);
    assert_true(has(world, "alice", "old"));
    run(world, 1, 0);
    assert_false(has(world, "alice", "old"));
}

static void test_who_comes_during_a_reset_starts_with_an_empty_folder(void **state) {
    struct world *world = *state;
    struct reported first = {0};
    struct reported second = {0};
    struct told told = {0};
    struct tenant *alice = set_up(world);
    fake_backend.on_stop = FAKE_WAIT;
    resets_run(&world->provisioner, on_reset, &first);
    resets_run(&world->provisioner, on_reset, &second);
    world_start(world, "alice", &told);
    assert_int_equal(told.times, 0);
    stopped(alice);
    assert_int_equal(told.times, 1);
    assert_state(alice, INSTANCE_RUNNING);
    assert_false(has(world, "alice", "old"));
    assert_true(has(world, "alice", "."));
    assert_int_equal(first.times + second.times, 2);
    assert_int_equal(first.result.reset, 1);
    assert_int_equal(rows(world, "scheduled_reset"), 1);
}

static void test_who_is_deleted_meanwhile_is_not_reset(void **state) {
    struct world *world = *state;
    struct reported reported = {0};
    struct told told = {0};
    struct tenant *alice = set_up(world);
    fake_backend.on_stop = FAKE_WAIT;
    resets_run(&world->provisioner, on_reset, &reported);
    world_delete(world, "alice", false, &told);
    stopped(alice);
    assert_int_equal(told.times, 1);
    assert_int_equal(reported.times, 1);
    assert_null(world_find(world, "alice"));
    assert_true(has(world, "alice", "old"));
}

static void test_a_folder_that_cannot_be_moved_is_tried_again_later(void **state) {
    struct world *world = *state;
    char path[256];
    struct tenant *alice = set_up(world);
    /* Somebody, not its user, has put a file where the trash should be. */
    path_of(world, ".trash", ".", path);
    path[strlen(path) - 2] = '\0';
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
    run(world, 0, 1);
    assert_true(has(world, "alice", "old"));
    assert_int_equal(rows(world, "scheduled_reset"), 1); /* a warning */
    run(world, 0, 0);
    assert_int_equal(fake_backend.stops, 1);
    assert_int_equal(unlink(path), 0);
    alice->reset_retry_ms = clock_monotonic_ms();
    run(world, 1, 0);
    assert_false(has(world, "alice", "old"));
}

static void test_a_stop_that_hangs_keeps_nobody_waiting_for_ever(void **state) {
    struct world *world = *state;
    struct reported reported = {0};
    struct tenant *alice = set_up(world);
    world->settings.idle_cleanup_timeout_seconds = 1;
    fake_backend.on_stop = FAKE_WAIT;
    resets_run(&world->provisioner, on_reset, &reported);
    WORLD_UNTIL(world, reported.times == 1);
    assert_int_equal(reported.result.reset, 0);
    stopped(alice);
    assert_false(has(world, "alice", "old"));
    assert_int_equal(rows(world, "scheduled_reset"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_what_cannot_be_recorded_is_not_done_twice),
        TEST(test_a_schedule_removed_during_the_stop_keeps_the_folder),
        TEST(test_a_start_is_let_finish),
        TEST(test_who_comes_during_a_reset_starts_with_an_empty_folder),
        TEST(test_who_is_deleted_meanwhile_is_not_reset),
        TEST(test_a_folder_that_cannot_be_moved_is_tried_again_later),
        TEST(test_a_stop_that_hangs_keeps_nobody_waiting_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
