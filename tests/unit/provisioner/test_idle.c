/* Nobody who works loses an instance, and nobody who does not keeps one. */
#include "provisioner/activity.h"
#include "provisioner/audit.h"
#include "provisioner/idle.h"
#include "tests/unit/provisioner/world.h"

static struct world *the_world; /* for the fake's callbacks */

struct swept {
    int times;
    struct sweep_result result;
    struct error err;
};

static void on_swept(void *argument, const struct sweep_result *result, const struct error *err) {
    struct swept *swept = argument;
    swept->times++;
    swept->result = *result;
    swept->err = err == NULL ? (struct error){0} : *err;
}

/* A user whose instance has run, unused, for that long. */
static struct tenant *idle_user(struct world *world, const char *user_id, int64_t idle_seconds) {
    struct told told = {0};
    the_world = world;
    world_start(world, user_id, &told);
    told.tenant->last_active_ms = clock_monotonic_ms() - idle_seconds * 1000;
    return told.tenant;
}

static struct swept sweep(struct world *world) {
    struct swept swept = {0};
    idle_sweep(&world->provisioner, on_swept, &swept);
    WORLD_UNTIL(world, swept.times == 1);
    return swept;
}

static void haproxy_saw(const struct tenant *tenant, int64_t idle_ms, unsigned in_flight) {
    struct route_activity *route = &fake_haproxy.routes[fake_haproxy.count++];
    strcpy(route->route_key, tenant->record.route_key);
    route->idle_ms = idle_ms;
    route->in_flight = in_flight;
}

static void test_an_idle_instance_is_stopped_and_a_busy_one_kept(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 1801);
    struct tenant *bob = idle_user(world, "bob", 1700);
    struct swept swept = sweep(world);
    assert_int_equal(swept.result.checked, 2);
    assert_int_equal(swept.result.stopped, 1);
    assert_int_equal(swept.result.kept, 1);
    assert_state(ann, INSTANCE_STOPPED);
    assert_state(bob, INSTANCE_RUNNING);
    assert_null(world_route(world, "ann"));
    assert_non_null(world_route(world, "bob"));
    struct error err;
    int64_t total = 0;
    const struct audit_filter filter = {.action = "idle_cleanup", .limit = 10};
    json_object_put(audit_list(&world->provisioner, &filter, &total, &err));
    assert_int_equal(total, 1);
}

static void test_what_haproxy_saw_counts(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 9999);
    struct tenant *bob = idle_user(world, "bob", 9999);
    struct tenant *eve = idle_user(world, "eve", 9999);
    fake_haproxy.is_up = true;
    haproxy_saw(ann, 1000, 0);
    haproxy_saw(bob, 99999999, 1); /* execute?wait=300: silent, but under way */
    haproxy_saw(eve, 1801000, 0);
    struct swept swept = sweep(world);
    assert_int_equal(swept.result.stopped, 1);
    assert_state(ann, INSTANCE_RUNNING);
    assert_state(bob, INSTANCE_RUNNING);
    assert_state(eve, INSTANCE_STOPPED);
}

static void test_an_haproxy_that_says_nothing_stops_nobody(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 9999);
    fake_haproxy.is_up = fake_haproxy.is_silent = true;
    struct swept swept = sweep(world);
    assert_int_equal(swept.err.code, ERROR_BACKEND);
    assert_state(ann, INSTANCE_RUNNING);
    assert_non_null(world_route(world, "ann"));
}

static void fall_silent(int look) {
    fake_haproxy.is_silent = look == 2;
}

static void test_an_haproxy_that_falls_silent_in_between_stops_nobody(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 9999);
    fake_haproxy.is_up = true;
    fake_haproxy.on_look = fall_silent;
    struct swept swept = sweep(world);
    assert_int_equal(swept.result.stopped, 0);
    assert_state(ann, INSTANCE_RUNNING);
    assert_non_null(world_route(world, "ann"));
}

static void a_request_was_in_flight(int look) {
    if (look == 2) {
        assert_null(world_route(the_world, "ann"));
        haproxy_saw(world_tenant(the_world, "ann"), 0, 1);
    }
}

static void test_a_request_in_flight_during_the_drain_gets_the_route_back(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 9999);
    fake_haproxy.is_up = true;
    fake_haproxy.on_look = a_request_was_in_flight;
    struct swept swept = sweep(world);
    assert_int_equal(swept.result.stopped, 0);
    assert_int_equal(swept.result.kept, 1);
    assert_state(ann, INSTANCE_RUNNING);
    assert_false(ann->is_draining);
    assert_non_null(world_route(world, "ann"));
}

static struct told cold;
static void a_cold_request_comes(int look) {
    if (look == 2) {
        world_start(the_world, "ann", &cold);
    }
}

static void test_a_request_during_the_drain_calls_it_off(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 9999);
    memset(&cold, 0, sizeof cold);
    fake_haproxy.is_up = true;
    fake_haproxy.on_look = a_cold_request_comes;
    struct swept swept = sweep(world);
    assert_int_equal(cold.times, 1);
    assert_int_equal(cold.err.code, ERROR_NONE);
    assert_int_equal(swept.result.stopped, 0);
    assert_state(ann, INSTANCE_RUNNING);
    assert_non_null(world_route(world, "ann"));
}

static void it_dies(int look) {
    if (look == 2) {
        fake_backend.events.gone(&the_world->provisioner, world_tenant(the_world, "ann")->record.instance_id, "killed");
    }
}

static void test_an_instance_that_dies_during_the_drain_is_not_stopped_twice(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 9999);
    fake_haproxy.is_up = true;
    fake_haproxy.on_look = it_dies;
    sweep(world);
    assert_int_equal(fake_backend.stops, 0);
    assert_state(ann, INSTANCE_STOPPED);
}

/* What it knew of the time since the last look is lost with it. */
static void test_nobody_is_called_idle_by_an_haproxy_that_has_just_begun(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 1801);
    fake_haproxy.is_up = true;
    fake_haproxy.lost_ms = clock_monotonic_ms() - 60 * 1000;
    sweep(world);
    assert_state(ann, INSTANCE_RUNNING);
    fake_haproxy.is_up = false; /* the same while there is none */
    sweep(world);
    assert_state(ann, INSTANCE_RUNNING);
    fake_haproxy.lost_ms = clock_monotonic_ms() - 1801 * 1000;
    world->provisioner.not_idle_before_ms = 0;
    sweep(world);
    assert_state(ann, INSTANCE_STOPPED);
}

static void test_zero_means_never(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 99999);
    world->settings.idle_timeout_seconds = 0;
    struct swept swept = sweep(world);
    assert_int_equal(swept.result.checked, 1);
    assert_int_equal(swept.result.kept, 1);
    assert_state(ann, INSTANCE_RUNNING);
}

static void test_a_static_instance_is_never_idle(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 99999);
    fake_operations.shares_one_instance = true;
    sweep(world);
    assert_state(ann, INSTANCE_RUNNING);
}

static void test_a_second_reap_joins_the_first(void **state) {
    struct world *world = *state;
    struct swept first = {0}, second = {0};
    idle_user(world, "ann", 9999);
    fake_haproxy.is_up = true;
    idle_sweep(&world->provisioner, on_swept, &first);
    idle_sweep(&world->provisioner, on_swept, &second);
    WORLD_UNTIL(world, first.times == 1);
    assert_int_equal(second.times, 1);
    assert_int_equal(fake_haproxy.looks, 2);
    assert_int_equal(second.result.stopped, 1);
}

static void test_a_stop_that_hangs_does_not_hang_the_sweep(void **state) {
    struct world *world = *state;
    struct tenant *ann = idle_user(world, "ann", 9999);
    world->settings.idle_cleanup_timeout_seconds = 0;
    fake_backend.on_stop = FAKE_WAIT;
    struct swept swept = sweep(world);
    assert_int_equal(swept.result.stopped, 0);
    assert_state(ann, INSTANCE_STOPPING);
    fake_backend.events.stopped(&world->provisioner, fake_backend.last_id);
    assert_state(ann, INSTANCE_STOPPED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_idle_instance_is_stopped_and_a_busy_one_kept, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_what_haproxy_saw_counts, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_an_haproxy_that_says_nothing_stops_nobody, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_an_haproxy_that_falls_silent_in_between_stops_nobody, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_request_in_flight_during_the_drain_gets_the_route_back, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_request_during_the_drain_calls_it_off, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_an_instance_that_dies_during_the_drain_is_not_stopped_twice, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_nobody_is_called_idle_by_an_haproxy_that_has_just_begun, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_zero_means_never, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_static_instance_is_never_idle, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_second_reap_joins_the_first, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_stop_that_hangs_does_not_hang_the_sweep, world_make, world_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
