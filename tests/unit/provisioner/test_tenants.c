/* What becomes of an instance when people, backends and disks do what they want. */
#include "provisioner/activity.h"
#include "provisioner/node_internal.h"
#include "tests/unit/provisioner/world.h"

static void test_a_first_request_starts_an_instance_with_a_home_and_a_route(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world_start(world, "ann", &told);
    assert_int_equal(told.times, 1);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_state(told.tenant, INSTANCE_RUNNING);
    char home[512];
    snprintf(home, sizeof home, "%s/ann", world->data_dir);
    assert_string_equal(fake_backend.last_home, home);
    struct stat status;
    assert_int_equal(stat(home, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    char route[256];
    snprintf(route, sizeof route, "127.0.0.1|9000|%s|%s", told.tenant->key, told.tenant->record.instance_id);
    assert_string_equal(world_route(world, "ann"), route);
}

static void test_simultaneous_requests_share_one_start(void **state) {
    struct world *world = *state;
    struct told told[100] = {0};
    fake_backend.on_start = FAKE_WAIT;
    for (int i = 0; i < 100; i++) {
        world_start(world, "ann", &told[i]);
    }
    assert_int_equal(fake_backend.starts, 1);
    assert_true(fake_created(fake_backend.last_id));
    fake_ready(fake_backend.last_id);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(told[i].times, 1);
        assert_int_equal(told[i].err.code, ERROR_NONE);
    }
}

static void test_two_users_never_share_an_instance(void **state) {
    struct world *world = *state;
    struct told a = {0}, b = {0};
    world_start(world, "a", &a);
    world_start(world, "A", &b);
    assert_string_not_equal(a.tenant->record.instance_id, b.tenant->record.instance_id);
    assert_string_not_equal(a.tenant->key, b.tenant->key);
    assert_string_not_equal(world_route(world, "a"), world_route(world, "A"));
}

static void test_a_failed_start_says_why_and_the_next_request_tries_again(void **state) {
    struct world *world = *state;
    struct told told = {0}, again = {0};
    fake_backend.on_start = FAKE_FAIL;
    world_start(world, "ann", &told);
    assert_int_equal(told.err.code, ERROR_BACKEND);
    assert_string_equal(told.err.message, "it exited with status 1");
    assert_state(world_tenant(world, "ann"), INSTANCE_ERROR);
    assert_string_equal(world_tenant(world, "ann")->record.error, "it exited with status 1");
    assert_null(world_route(world, "ann"));
    fake_backend.on_start = FAKE_SUCCEED;
    world_start(world, "ann", &again);
    assert_int_equal(again.err.code, ERROR_NONE);
    assert_null(again.tenant->record.error);
}

static void test_starts_beyond_the_limit_wait_for_their_turn(void **state) {
    struct world *world = *state;
    struct told told[4] = {0};
    char ids[4][33];
    const char *const users[] = {"a", "b", "c", "d"};
    fake_backend.on_start = FAKE_WAIT;
    for (int i = 0; i < 4; i++) {
        world_start(world, users[i], &told[i]);
        strcpy(ids[i], world_tenant(world, users[i])->record.instance_id);
    }
    assert_int_equal(fake_backend.starts, 2);
    fake_failed(ids[0]);
    assert_int_equal(fake_backend.starts, 3);
    assert_string_equal(fake_backend.last_id, ids[2]);
    fake_ready(ids[1]);
    assert_int_equal(fake_backend.starts, 4);
    fake_ready(ids[2]);
    fake_ready(ids[3]);
    assert_int_equal(told[0].err.code, ERROR_BACKEND);
    for (int i = 1; i < 4; i++) {
        assert_int_equal(told[i].err.code, ERROR_NONE);
    }
    assert_int_equal(world->provisioner.running_starts, 0);
}

static void test_thousands_of_failing_starts_do_not_recurse(void **state) {
    struct world *world = *state;
    static struct told told;
    memset(&told, 0, sizeof told);
    fake_backend.on_start = FAKE_WAIT;
    char user[16];
    for (int i = 0; i < 2002; i++) {
        snprintf(user, sizeof user, "u%d", i);
        world_start(world, user, &told);
    }
    fake_backend.on_start = FAKE_FAIL;
    fake_failed(world_tenant(world, "u0")->record.instance_id);
    fake_failed(world_tenant(world, "u1")->record.instance_id);
    assert_int_equal(told.times, 2002);
    assert_int_equal(world->provisioner.queued_starts, 0);
}

static void test_a_start_that_takes_too_long_is_undone(void **state) {
    struct world *world = *state;
    struct told told = {0}, again = {0};
    world->settings.start_timeout_seconds = 0;
    fake_backend.on_start = FAKE_WAIT;
    fake_backend.on_stop = FAKE_WAIT;
    world_start(world, "ann", &told);
    char id[33];
    strcpy(id, fake_backend.last_id);
    WORLD_UNTIL(world, told.times == 1);
    assert_int_equal(told.err.code, ERROR_TIMEOUT);
    assert_int_equal(fake_backend.stops, 1);
    assert_state(world_tenant(world, "ann"), INSTANCE_STOPPING);
    /* Late news of the abandoned start changes nothing. */
    fake_ready(id);
    assert_false(fake_created(id));
    assert_state(world_tenant(world, "ann"), INSTANCE_STOPPING);
    world->settings.start_timeout_seconds = 60;
    world_start(world, "ann", &again);
    assert_int_equal(again.times, 0);
    fake_backend.on_start = FAKE_SUCCEED;
    fake_backend.events.stopped(&world->provisioner, id);
    assert_int_equal(again.err.code, ERROR_NONE);
    assert_state(again.tenant, INSTANCE_RUNNING);
}

/* As with a process that the kernel does not let go, or an engine that went away in the middle. */
static void test_nobody_waits_for_ever_for_a_stop_that_does_not_end(void **state) {
    struct world *world = *state;
    struct told first = {0}, stopped = {0}, told = {0}, again = {0};
    world_start(world, "ann", &first);
    char id[33];
    strcpy(id, fake_backend.last_id);
    fake_backend.on_stop = FAKE_WAIT;
    world_stop(world, "ann", &stopped);
    world->settings.start_timeout_seconds = 0;
    world_start(world, "ann", &told);
    assert_int_equal(told.times, 0);
    WORLD_UNTIL(world, told.times == 1);
    assert_int_equal(told.err.code, ERROR_TIMEOUT);
    assert_state(world_tenant(world, "ann"), INSTANCE_STOPPING);
    assert_int_equal(stopped.times, 0);
    /* Whoever asks next waits anew; and once it has stopped, the start has all of its time. */
    world->settings.start_timeout_seconds = 60;
    world_start(world, "ann", &again);
    assert_int_equal(again.times, 0);
    fake_backend.events.stopped(&world->provisioner, id);
    assert_int_equal(stopped.times, 1);
    assert_int_equal(again.times, 1);
    assert_int_equal(again.err.code, ERROR_NONE);
    assert_state(again.tenant, INSTANCE_RUNNING);
    assert_null(again.tenant->start_timer);
}

static bool engine_is_away(const struct backend *backend, struct error *err) {
    (void)backend;
    return !error_set(err, ERROR_CAPACITY, "the engine does not answer");
}

static void test_nobody_waits_for_a_stop_while_the_engine_is_away(void **state) {
    struct world *world = *state;
    struct told first = {0}, stopped = {0}, told = {0};
    world_start(world, "ann", &first);
    fake_backend.on_stop = FAKE_WAIT;
    world_stop(world, "ann", &stopped);
    fake_operations.is_away = engine_is_away;
    world_start(world, "ann", &told);
    fake_operations.is_away = NULL;
    assert_int_equal(told.times, 1);
    assert_int_equal(told.err.code, ERROR_CAPACITY);
    assert_state(world_tenant(world, "ann"), INSTANCE_STOPPING);
    fake_backend.events.stopped(&world->provisioner, fake_backend.last_id);
    assert_int_equal(stopped.times, 1);
    assert_int_equal(told.times, 1);
}

/* Nobody else would do anything about it. */
static void test_a_start_that_fails_while_the_lead_is_in_doubt_is_undone_after_it(void **state) {
    struct world *world = *state;
    struct told told = {0}, again = {0};
    struct node doubtful = {.operations = &fake_operations, .term = 1};
    fake_backend.on_start = FAKE_WAIT;
    world_start(world, "ann", &told);
    world_set_database_full(world, true);
    world->provisioner.node = &doubtful;
    fake_ready(fake_backend.last_id);
    assert_int_equal(told.times, 1);
    assert_int_not_equal(told.err.code, ERROR_NONE);
    assert_int_equal(fake_backend.stops, 0);
    world->provisioner.node = NULL;
    world_set_database_full(world, false);
    world_start(world, "ann", &again);
    WORLD_UNTIL(world, again.times == 1);
    /* Whoever asks then is told the same, and no more of hosts and paths. */
    assert_string_equal(again.err.message, told.err.message);
    assert_string_equal(error_for_clients(&again.err), error_for_clients(&told.err));
    assert_string_not_equal(error_for_clients(&again.err), again.err.message);
    assert_int_equal(again.err.code, told.err.code);
    assert_int_equal(world->provisioner.stats.starts_failed, 1);
    assert_int_equal(fake_backend.stops, 1);
    assert_state(world_tenant(world, "ann"), INSTANCE_ERROR);
    assert_int_equal(world->provisioner.running_starts, 0);
}

static void test_an_instance_that_dies_loses_its_route_at_once(void **state) {
    struct world *world = *state;
    struct told told = {0}, again = {0};
    world_start(world, "ann", &told);
    char first[33];
    strcpy(first, told.tenant->record.instance_id);
    fake_backend.events.gone(&world->provisioner, first, "killed by signal 9");
    assert_state(told.tenant, INSTANCE_STOPPED);
    assert_string_equal(told.tenant->record.error, "killed by signal 9");
    assert_null(world_route(world, "ann"));
    world_start(world, "ann", &again);
    assert_state(again.tenant, INSTANCE_RUNNING);
    assert_string_not_equal(again.tenant->record.instance_id, first);
}

static void test_a_stop_during_a_start_ends_both(void **state) {
    struct world *world = *state;
    struct told started = {0}, stopped = {0};
    fake_backend.on_start = fake_backend.on_stop = FAKE_WAIT;
    world_start(world, "ann", &started);
    world_stop(world, "ann", &stopped);
    assert_int_equal(started.err.code, ERROR_CAPACITY);
    assert_int_equal(stopped.times, 0);
    fake_backend.events.stopped(&world->provisioner, fake_backend.last_id);
    assert_int_equal(stopped.times, 1);
    assert_state(stopped.tenant, INSTANCE_STOPPED);
}

static void test_a_stop_of_a_queued_start_needs_no_backend(void **state) {
    struct world *world = *state;
    static struct told told[3]; /* those who still wait are told at the end of the world, after this function's */
    struct told stopped = {0};
    fake_backend.on_start = FAKE_WAIT;
    world_start(world, "a", &told[0]);
    world_start(world, "b", &told[1]);
    world_start(world, "c", &told[2]);
    world_stop(world, "c", &stopped);
    assert_int_equal(stopped.times, 1);
    assert_int_equal(fake_backend.stops, 0);
    assert_int_equal(told[2].err.code, ERROR_CAPACITY);
    assert_int_equal(world->provisioner.queued_starts, 0);
}

static void test_a_request_during_a_stop_starts_anew_after_it(void **state) {
    struct world *world = *state;
    struct told told = {0}, stopped = {0}, again = {0};
    fake_backend.on_stop = FAKE_WAIT;
    world_start(world, "ann", &told);
    world_stop(world, "ann", &stopped);
    assert_null(world_route(world, "ann"));
    world_start(world, "ann", &again);
    assert_int_equal(again.times, 0);
    fake_backend.events.stopped(&world->provisioner, fake_backend.last_id);
    assert_int_equal(stopped.times, 1);
    assert_int_equal(again.times, 1);
    assert_state(again.tenant, INSTANCE_RUNNING);
}

static void test_a_death_during_a_stop_is_just_the_stop(void **state) {
    struct world *world = *state;
    struct told told = {0}, stopped = {0};
    fake_backend.on_stop = FAKE_WAIT;
    world_start(world, "ann", &told);
    world_stop(world, "ann", &stopped);
    fake_backend.events.gone(&world->provisioner, fake_backend.last_id, "exited");
    fake_backend.events.stopped(&world->provisioner, fake_backend.last_id);
    assert_int_equal(stopped.times, 1);
    assert_null(stopped.tenant->record.error);
}

static void test_a_deletion_forgets_the_tenant_and_keeps_the_files(void **state) {
    struct world *world = *state;
    struct told told = {0}, deleted = {0};
    world_start(world, "ann", &told);
    world_delete(world, "ann", false, &deleted);
    assert_int_equal(deleted.times, 1);
    assert_int_equal(deleted.err.code, ERROR_NONE);
    assert_null(world_find(world, "ann"));
    assert_int_equal(access(fake_backend.last_home, F_OK), 0);
    world_restart(world);
    assert_null(world_find(world, "ann"));
}

static void test_a_purge_removes_the_files_before_it_says_so(void **state) {
    struct world *world = *state;
    struct told told = {0}, deleted = {0}, created = {0};
    world_start(world, "ann", &told);
    char file[600];
    snprintf(file, sizeof file, "%s/file", fake_backend.last_home);
    FILE *stream = fopen(file, "w");
    assert_non_null(stream);
    fclose(stream);
    world_delete(world, "ann", true, &deleted);
    assert_int_equal(deleted.times, 0);
    /* Somebody is faster than the purge: a new tenant, with an empty home. */
    world_start(world, "ann", &created);
    WORLD_UNTIL(world, deleted.times == 1);
    assert_int_equal(deleted.err.code, ERROR_NONE);
    assert_int_equal(created.times, 1);
    assert_state(world_find(world, "ann"), INSTANCE_RUNNING);
    assert_int_equal(access(file, F_OK), -1);
    assert_int_equal(access(fake_backend.last_home, F_OK), 0);
}

static void test_a_create_during_a_deletion_begins_after_it(void **state) {
    struct world *world = *state;
    struct told told = {0}, deleted = {0}, created = {0};
    fake_backend.on_stop = FAKE_WAIT;
    world_start(world, "ann", &told);
    char old_id[37];
    strcpy(old_id, told.tenant->record.id);
    world_delete(world, "ann", false, &deleted);
    world_start(world, "ann", &created);
    fake_backend.events.stopped(&world->provisioner, fake_backend.last_id);
    assert_int_equal(deleted.times, 1);
    assert_int_equal(created.times, 1);
    assert_state(created.tenant, INSTANCE_RUNNING);
    assert_string_not_equal(created.tenant->record.id, old_id);
}

static void test_a_map_that_cannot_be_written_slows_requests_but_fails_none(void **state) {
    struct world *world = *state;
    struct told told = {0}, again = {0};
    fake_map_is_full = true;
    world_start(world, "ann", &told);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_null(world_route(world, "ann"));
    fake_map_is_full = false;
    world_start(world, "ann", &again);
    assert_non_null(world_route(world, "ann"));
}

static void test_nothing_starts_that_cannot_be_written_down(void **state) {
    struct world *world = *state;
    struct told told = {0}, again = {0};
    world_set_database_full(world, true);
    world_start(world, "ann", &told);
    assert_int_equal(told.err.code, ERROR_INTERNAL);
    assert_int_equal(fake_backend.starts, 0);
    assert_null(world_find(world, "ann"));
    world_set_database_full(world, false);
    world_start(world, "ann", &again);
    assert_int_equal(again.err.code, ERROR_NONE);
}

static struct world *the_world;
static void fill_the_disk(const char *call) {
    if (strcmp(call, "run") == 0) {
        world_set_database_full(the_world, true);
    }
}

static void test_an_instance_whose_address_cannot_be_written_down_is_stopped(void **state) {
    struct world *world = *state;
    struct told told = {0}, again = {0};
    the_world = world;
    fake_backend.before_call = fill_the_disk;
    world_start(world, "ann", &told);
    assert_int_equal(told.err.code, ERROR_INTERNAL);
    assert_int_equal(fake_backend.stops, 1);
    assert_null(world_route(world, "ann"));
    assert_state(world_tenant(world, "ann"), INSTANCE_ERROR);
    fake_backend.before_call = NULL;
    world_set_database_full(world, false);
    world_start(world, "ann", &again);
    assert_int_equal(again.err.code, ERROR_NONE);
}

static void test_a_reference_that_cannot_be_written_down_lets_nothing_run(void **state) {
    struct world *world = *state;
    static struct told told; /* told at the very end */
    fake_backend.on_start = FAKE_WAIT;
    world_start(world, "ann", &told);
    world_set_database_full(world, true);
    assert_false(fake_created(fake_backend.last_id));
    assert_null(world_tenant(world, "ann")->record.backend_reference);
    world_set_database_full(world, false);
    assert_true(fake_created(fake_backend.last_id));
}

static void test_a_death_that_cannot_be_written_down_is_written_later(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world_start(world, "ann", &told);
    world_set_database_full(world, true);
    fake_backend.events.gone(&world->provisioner, fake_backend.last_id, "killed by signal 9");
    assert_state(told.tenant, INSTANCE_STOPPED);
    assert_true(told.tenant->row_is_stale);
    activity_flush(&world->provisioner);
    assert_true(told.tenant->row_is_stale);
    world_set_database_full(world, false);
    activity_flush(&world->provisioner);
    assert_false(told.tenant->row_is_stale);
    fake_backend.adoptions = 0;
    world_restart(world);
    assert_int_equal(fake_backend.adoptions, 0);
}

static void test_a_stop_that_cannot_be_written_down_does_not_happen(void **state) {
    struct world *world = *state;
    struct told told = {0}, stopped = {0};
    world_start(world, "ann", &told);
    world_set_database_full(world, true);
    world_stop(world, "ann", &stopped);
    assert_int_equal(stopped.err.code, ERROR_INTERNAL);
    assert_state(told.tenant, INSTANCE_RUNNING);
    assert_non_null(world_route(world, "ann"));
    world_set_database_full(world, false);
}

static void test_a_static_instance_needs_no_home(void **state) {
    struct world *world = *state;
    world_close_provisioner(world);
    fake_operations.shares_one_instance = true;
    temporary_folder_remove(world->data_dir);
    world_open_provisioner(world);
    assert_null(world->provisioner.homes);
    assert_int_equal(access(world->data_dir, F_OK), -1);
}

/* From within the loop, as a signal does: what would end a loop that does not run yet is forgotten. */
static void stop_all(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    provisioner_stop_all(argument);
}

static void test_the_end_of_all_instances_ends_the_loop(void **state) {
    struct world *world = *state;
    struct told a = {0}, b = {0}, late = {0};
    world_start(world, "a", &a);
    fake_backend.on_start = FAKE_WAIT;
    world_start(world, "b", &b);
    event_base_once(world->base, -1, EV_TIMEOUT, stop_all, &world->provisioner, NULL);
    event_base_dispatch(world->base);
    assert_int_equal(fake_backend.stops, 2);
    assert_int_equal(b.err.code, ERROR_CAPACITY);
    assert_state(world_tenant(world, "a"), INSTANCE_STOPPED);
    world_start(world, "a", &late);
    assert_int_equal(late.err.code, ERROR_CAPACITY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_first_request_starts_an_instance_with_a_home_and_a_route, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_simultaneous_requests_share_one_start, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_two_users_never_share_an_instance, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_failed_start_says_why_and_the_next_request_tries_again, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_starts_beyond_the_limit_wait_for_their_turn, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_thousands_of_failing_starts_do_not_recurse, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_start_that_takes_too_long_is_undone, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_nobody_waits_for_ever_for_a_stop_that_does_not_end, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_nobody_waits_for_a_stop_while_the_engine_is_away, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_start_that_fails_while_the_lead_is_in_doubt_is_undone_after_it,
                                        world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_an_instance_that_dies_loses_its_route_at_once, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_stop_during_a_start_ends_both, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_stop_of_a_queued_start_needs_no_backend, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_request_during_a_stop_starts_anew_after_it, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_death_during_a_stop_is_just_the_stop, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_deletion_forgets_the_tenant_and_keeps_the_files, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_purge_removes_the_files_before_it_says_so, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_create_during_a_deletion_begins_after_it, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_map_that_cannot_be_written_slows_requests_but_fails_none, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_nothing_starts_that_cannot_be_written_down, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_an_instance_whose_address_cannot_be_written_down_is_stopped, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_reference_that_cannot_be_written_down_lets_nothing_run, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_death_that_cannot_be_written_down_is_written_later, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_stop_that_cannot_be_written_down_does_not_happen, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_static_instance_needs_no_home, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_the_end_of_all_instances_ends_the_loop, world_make, world_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
