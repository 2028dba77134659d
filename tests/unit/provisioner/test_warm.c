/* A warm instance becomes its user's, or ends: whatever happens in between. */
#include "provisioner/audit.h"
#include "provisioner/lifetime.h"
#include "provisioner/policies.h"
#include "provisioner/warm.h"
#include "tests/unit/provisioner/world.h"

static struct {
    enum fake_answer answer; /* FAKE_WAIT: the test calls fake_handed_over() */
    int times;
    char home[512];
    void (*done)(void *argument, const struct error *err);
    void *argument;
} fake_handover;

static void fake_handed_over(bool well) {
    struct error err;
    error_set(&err, ERROR_BACKEND, "mount the home folder in the instance: Operation not permitted");
    fake_handover.done(fake_handover.argument, well ? NULL : &err);
}

static void fake_hand_over(struct backend *backend, const struct instance_spec *spec,
                           void (*done)(void *argument, const struct error *err), void *argument) {
    (void)backend;
    fake_handover.times++;
    fake_handover.done = done;
    fake_handover.argument = argument;
    snprintf(fake_handover.home, sizeof fake_handover.home, "%s", spec->home);
    if (fake_handover.answer != FAKE_WAIT) {
        fake_handed_over(fake_handover.answer == FAKE_SUCCEED);
    }
}

static int make(void **state) {
    memset(&fake_handover, 0, sizeof fake_handover);
    fake_handover.answer = FAKE_SUCCEED;
    fake_operations.hand_over = fake_hand_over;
    int result = world_make(state);
    fake_backend.is_alive = true;
    struct world *world = *state;
    event_base_loop(world->base, EVLOOP_NONBLOCK);
    return result;
}

static int remove_world(void **state) {
    int result = world_remove(state);
    fake_operations.hand_over = NULL;
    return result;
}

static void keep_warm(struct world *world, int count) {
    struct error err;
    struct json_object *data = json_object_new_object();
    json_add_int(data, "warm", count);
    assert_non_null(policies_update(&world->provisioner, NAME_DEFAULT, data, &err));
    json_object_put(data);
    warm_tend(&world->provisioner);
}

static size_t count_warm(struct world *world, bool only_running) {
    size_t count = 0;
    TENANTS_EACH(&world->provisioner, tenant) {
        count += tenant->is_warm && (!only_running || tenant->record.status == INSTANCE_RUNNING);
    }
    return count;
}

static struct tenant *first_warm(struct world *world) {
    TENANTS_EACH(&world->provisioner, tenant) {
        if (tenant->is_warm) {
            return tenant;
        }
    }
    fail_msg("there is no warm instance");
    return NULL;
}

static int64_t rows_of(struct world *world, const char *action) {
    struct error err;
    int64_t total = 0;
    const struct audit_filter filter = {.action = action, .limit = 10};
    json_object_put(audit_list(&world->provisioner, &filter, &total, &err));
    return total;
}

static void test_a_warm_instance_is_handed_over_whole_and_the_pool_refills(void **state) {
    struct world *world = *state;
    struct told told = {0};
    char home[512];
    keep_warm(world, 2);
    assert_int_equal(count_warm(world, true), 2);
    assert_int_equal(map_count(world->provisioner.routes), 0);
    assert_int_equal(rows_of(world, "tenant_started"), 0);
    world_start(world, "ann", &told);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_state(told.tenant, INSTANCE_RUNNING);
    snprintf(home, sizeof home, "%s/ann", world->data_dir);
    assert_string_equal(fake_handover.home, home);
    assert_non_null(world_route(world, "ann"));
    assert_true(told.tenant->record.started_at_ms > 0);
    assert_ptr_equal(tenants_find_instance(&world->provisioner, told.tenant->record.instance_id), told.tenant);
    assert_int_equal(count_warm(world, true), 2);
    assert_int_equal(fake_backend.starts, 3);
    assert_int_equal(world->provisioner.stats.warm_hits, 1);
    assert_int_equal(rows_of(world, "tenant_started"), 1);
    assert_int_equal(rows_of(world, "tenant_created"), 1);
}

static void test_a_successor_finds_it_as_the_users(void **state) {
    struct world *world = *state;
    struct told told = {0};
    char id[33], key[65];
    keep_warm(world, 1);
    world_start(world, "ann", &told);
    strcpy(id, told.tenant->record.instance_id);
    strcpy(key, told.tenant->key);
    world_restart(world);
    assert_state(world_find(world, "ann"), INSTANCE_RUNNING);
    assert_string_equal(world_find(world, "ann")->record.instance_id, id);
    assert_string_equal(world_find(world, "ann")->key, key);
    assert_int_equal(count_warm(world, true), 1);
}

static void test_one_that_is_being_handed_over_when_we_are_killed_is_ended(void **state) {
    struct world *world = *state;
    struct told told = {0}, again = {0};
    char id[33];
    keep_warm(world, 1);
    strcpy(id, first_warm(world)->record.instance_id);
    fake_handover.answer = FAKE_WAIT;
    world_start(world, "ann", &told);
    assert_int_equal(fake_handover.times, 1);
    world_close_provisioner(world);
    fake_handed_over(true); /* frees what waited for it, and touches nothing that is gone */
    world_open_provisioner(world);
    event_base_loop(world->base, EVLOOP_NONBLOCK);
    assert_int_equal(fake_backend.stops, 1);
    assert_string_equal(fake_backend.last_id, id);
    warm_tend(&world->provisioner);
    assert_null(tenants_find_instance(&world->provisioner, id));
    fake_handover.answer = FAKE_SUCCEED;
    world_start(world, "bob", &again);
    assert_string_not_equal(again.tenant->record.instance_id, id);
}

static void test_a_handover_that_fails_ends_the_instance_and_the_user_has_another(void **state) {
    struct world *world = *state;
    struct told told = {0};
    char id[33];
    keep_warm(world, 1);
    strcpy(id, first_warm(world)->record.instance_id);
    fake_handover.answer = FAKE_FAIL;
    world_start(world, "ann", &told);
    assert_int_equal(told.times, 1);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_string_not_equal(told.tenant->record.instance_id, id);
    assert_null(tenants_find_instance(&world->provisioner, id));
    assert_int_equal(world->provisioner.stats.warm_misses, 1);
    for (int i = 1; i < WARM_FAILURES_MAX; i++) {
        char user[] = {(char)('a' + i), '\0'};
        world_start(world, user, &told);
    }
    assert_true(world->provisioner.warm_is_impossible);
    assert_int_equal(count_warm(world, false), 0);
    world_start(world, "zoe", &told);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_int_equal(fake_handover.times, WARM_FAILURES_MAX);
}

static void test_one_that_is_dead_is_not_handed_out(void **state) {
    struct world *world = *state;
    struct told told = {0};
    keep_warm(world, 1);
    fake_backend.is_alive = false;
    world_start(world, "ann", &told);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_int_equal(fake_handover.times, 0);
    fake_backend.is_alive = true;
    assert_int_equal(count_warm(world, true), 1); /* another one */
    assert_int_equal(count_warm(world, false), 1);
}

static void test_one_that_is_silent_is_not_handed_out_and_ended(void **state) {
    struct world *world = *state;
    struct told told = {0};
    keep_warm(world, 1);
    char silent[33];
    strcpy(silent, fake_backend.last_id);
    fake_backend.is_silent = true;
    world_start(world, "ann", &told);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_int_equal(fake_handover.times, 0);
    assert_int_equal(fake_backend.stops, 1);
    assert_null(tenants_find_instance(&world->provisioner, silent));
    assert_int_equal(count_warm(world, false), 1); /* another one */
}

static void test_who_does_not_want_it_any_more_leaves_no_trace(void **state) {
    struct world *world = *state;
    struct told told = {0}, stop = {0}, deletion = {0};
    keep_warm(world, 2);
    fake_handover.answer = FAKE_WAIT;
    world_start(world, "ann", &told);
    world_stop(world, "ann", &stop);
    assert_int_equal(told.err.code, ERROR_CAPACITY);
    fake_handed_over(true);
    assert_null(world_find(world, "ann"));
    world_start(world, "bob", &told);
    world_delete(world, "bob", true, &deletion);
    fake_handed_over(true);
    WORLD_UNTIL(world, deletion.times == 1);
    assert_null(world_find(world, "bob"));
    assert_int_equal(world->provisioner.stats.warm_hits, 0);
    assert_int_equal(count_warm(world, true), 2);
    assert_int_equal(HASH_CNT(by_instance, world->provisioner.tenants_by_instance), 2);
}

static void test_a_home_that_is_put_away_meanwhile_is_in_no_instance(void **state) {
    struct world *world = *state;
    struct told told = {0};
    char id[33];
    char away[640];
    keep_warm(world, 1);
    strcpy(id, first_warm(world)->record.instance_id);
    fake_handover.answer = FAKE_WAIT;
    world_start(world, "ann", &told);
    snprintf(away, sizeof away, "%s.away", fake_handover.home);
    assert_int_equal(rename(fake_handover.home, away), 0);
    fake_handed_over(true);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_string_not_equal(told.tenant->record.instance_id, id);
}

static void test_a_users_limit_holds_for_warm_ones_on_their_way(void **state) {
    struct world *world = *state;
    struct told first = {0}, second = {0};
    world->settings.max_instances_per_user = 1;
    keep_warm(world, 2);
    fake_handover.answer = FAKE_WAIT;
    world_start(world, "ann", &first);
    struct error err;
    struct tenant_name name = {.user_id = "ann", .policy_id = NAME_DEFAULT, .context_id = "chat:1"};
    name_route_key("ann", NAME_DEFAULT, "chat:1", name.route_key);
    starts_want(&world->provisioner, tenants_add(&world->provisioner, &name, &err), NULL, told_done, &second);
    assert_int_equal(second.err.code, ERROR_CAPACITY);
    fake_handed_over(true);
    assert_int_equal(first.err.code, ERROR_NONE);
}

static void test_a_policy_that_fails_is_left_alone_for_a_while(void **state) {
    struct world *world = *state;
    fake_backend.on_start = FAKE_FAIL;
    keep_warm(world, 2);
    int starts = fake_backend.starts;
    for (int i = 0; i < 5; i++) {
        warm_tend(&world->provisioner);
    }
    assert_true(fake_backend.starts <= starts);
    assert_int_equal(count_warm(world, false), 0);
}

static void test_a_pool_that_is_not_wanted_any_more_ends_and_so_does_one_of_another_day(void **state) {
    struct world *world = *state;
    char id[33];
    keep_warm(world, 2);
    strcpy(id, first_warm(world)->record.instance_id);
    keep_warm(world, 1); /* other data: other instances */
    warm_tend(&world->provisioner);
    assert_null(tenants_find_instance(&world->provisioner, id));
    assert_int_equal(count_warm(world, true), 1);
    keep_warm(world, 0);
    assert_int_equal(count_warm(world, false), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, remove_world)
    const struct CMUnitTest tests[] = {
        TEST(test_a_warm_instance_is_handed_over_whole_and_the_pool_refills),
        TEST(test_a_successor_finds_it_as_the_users),
        TEST(test_one_that_is_being_handed_over_when_we_are_killed_is_ended),
        TEST(test_a_handover_that_fails_ends_the_instance_and_the_user_has_another),
        TEST(test_one_that_is_dead_is_not_handed_out),
        TEST(test_one_that_is_silent_is_not_handed_out_and_ended),
        TEST(test_who_does_not_want_it_any_more_leaves_no_trace),
        TEST(test_a_home_that_is_put_away_meanwhile_is_in_no_instance),
        TEST(test_a_users_limit_holds_for_warm_ones_on_their_way),
        TEST(test_a_policy_that_fails_is_left_alone_for_a_while),
        TEST(test_a_pool_that_is_not_wanted_any_more_ends_and_so_does_one_of_another_day),
    };
    return cmocka_run_group_tests_name("warm", tests, NULL, NULL);
}
