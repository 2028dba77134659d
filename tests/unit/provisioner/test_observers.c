/* What the provisioner tells of itself: problems, the last 24 hours, and whether anything changed. */
#include "common/cleanup.h"
#include "provisioner/activity.h"
#include "provisioner/audit.h"
#include "provisioner/policies.h"
#include "provisioner/problems.h"
#include "provisioner/stats_history.h"
#include "tests/unit/provisioner/world.h"

/* --- problems ----------------------------------------------------------------------------------------------------- */

static bool backend_is_away;

static bool is_away(const struct backend *backend, struct error *err) {
    (void)backend;
    return backend_is_away && !error_set(err, ERROR_CAPACITY, "the engine does not answer");
}

static int make(void **state) {
    backend_is_away = false;
    fake_operations.is_away = is_away;
    world_make(state);
    fake_haproxy.is_up = true;
    return 0;
}

/* A copy of the problem of this kind, "severity: detail" and since when, or "" if there is none. */
static void find(struct world *world, const char *what, char found[256], char since[64]) {
    cleanup_json struct json_object *list = problems_json(world->provisioner.problems);
    found[0] = since[0] = '\0';
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *problem = json_object_array_get_idx(list, i);
        if (strcmp(json_get_string(problem, "what"), what) == 0) {
            snprintf(found, 256, "%s: %s", json_get_string(problem, "severity"), json_get_string(problem, "detail"));
            snprintf(since, 64, "%s", json_get_string(problem, "since"));
        }
    }
}

static void expect_problem(struct world *world, const char *what, const char *wanted) {
    char found[256], since[64];
    find(world, what, found, since);
    if (strncmp(found, wanted, strlen(wanted)) != 0 || (wanted[0] == '\0' && found[0] != '\0')) {
        fail_msg("%s: `%s`, wanted `%s`", what, found, wanted);
    }
}

static void test_what_is_away_is_a_problem_until_it_is_back(void **state) {
    struct world *world = *state;
    expect_problem(world, "haproxy", "");
    expect_problem(world, "backend", "");
    fake_haproxy.is_up = false;
    backend_is_away = true;
    expect_problem(world, "haproxy", "error: HAProxy does not answer");
    expect_problem(world, "backend", "error: the engine does not answer");
    fake_haproxy.is_up = true;
    backend_is_away = false;
    expect_problem(world, "haproxy", "");
    expect_problem(world, "backend", "");
}

static void test_a_problem_is_as_old_as_it_was_first_seen(void **state) {
    struct world *world = *state;
    char found[256], first[64], later[64];
    fake_haproxy.is_up = false;
    find(world, "haproxy", found, first);
    int64_t now_ms = clock_unix_ms();
    while (clock_unix_ms() < now_ms + 2) {
    }
    find(world, "haproxy", found, later);
    assert_string_equal(first, later);
    fake_haproxy.is_up = true;
    find(world, "haproxy", found, later);
    fake_haproxy.is_up = false;
    find(world, "haproxy", found, later);
    assert_string_not_equal(first, later);
}

static void test_a_database_that_takes_nothing_is_a_problem_until_it_takes_it(void **state) {
    struct world *world = *state;
    expect_problem(world, "database", "");
    world_set_database_full(world, true);
    audit_append(&world->provisioner, &(struct audit_event){.action = "auth_failed"});
    expect_problem(world, "database", "error: ");
    expect_problem(world, "audit_backlog", "warning: 1 rows of the audit log wait");
    world_set_database_full(world, false);
    activity_flush(&world->provisioner);
    expect_problem(world, "database", "");
    expect_problem(world, "audit_backlog", "");
}

static void test_instances_that_failed_are_counted(void **state) {
    struct world *world = *state;
    struct told told = {0};
    expect_problem(world, "tenants_in_error", "");
    fake_backend.on_start = FAKE_FAIL;
    world_start(world, "ann", &told);
    expect_problem(world, "tenants_in_error", "warning: 1 instance failed");
    world_start(world, "bob", &told);
    expect_problem(world, "tenants_in_error", "warning: 2 instances failed");
    fake_backend.on_start = FAKE_SUCCEED;
    world_start(world, "ann", &told);
    world_start(world, "bob", &told);
    expect_problem(world, "tenants_in_error", "");
}

static void test_without_a_gate_nobody_starts_anything(void **state) {
    expect_problem(*state, "gate", "error: terminals-gate is not connected");
}

/* --- the last 24 hours -------------------------------------------------------------------------------------------- */

static const char *stat_of(int requests) {
    static char text[64];
    snprintf(text, sizeof text, "# pxname,req_tot,\npublic,%d,\n\n", requests);
    return text;
}

static struct json_object *history(struct world *world) {
    struct json_object *object = stats_history_json(world->provisioner.history);
    assert_non_null(object);
    assert_int_equal(json_get_int(object, "interval_seconds", 0), 60);
    return object;
}

static struct json_object *last_sample(struct json_object *of) {
    struct json_object *samples = json_get_array(of, "samples");
    return json_object_array_get_idx(samples, json_object_array_length(samples) - 1);
}

static void test_a_sample_tells_what_happened_since_the_one_before(void **state) {
    struct world *world = *state;
    struct told told = {0};
    fake_haproxy.stat = stat_of(100);
    stats_history_take(world->provisioner.history);
    world_start(world, "ann", &told);
    world_start(world, "bob", &told);
    fake_backend.on_start = FAKE_FAIL;
    world_start(world, "cid", &told);
    fake_haproxy.stat = stat_of(130);
    stats_history_take(world->provisioner.history);
    struct json_object *got = history(world);
    struct json_object *sample = last_sample(got);
    assert_int_equal(json_get_int(sample, "requests", -1), 30);
    assert_int_equal(json_get_int(sample, "cold_starts", -1), 2);
    assert_int_equal(json_get_int(sample, "failures", -1), 1);
    assert_int_equal(json_get_int(json_get_object(sample, "by_status"), "running", -1), 2);
    assert_int_equal(json_get_int(json_get_object(sample, "by_status"), "error", -1), 1);
    assert_true(json_get_int(sample, "p50_ms", -1) >= 0);
    assert_true(json_get_int(sample, "memory_bytes", -1) > 1000000);
    json_object_put(got);
    stats_history_take(world->provisioner.history);
    got = history(world);
    sample = last_sample(got);
    assert_int_equal(json_get_int(sample, "requests", -1), 0);
    assert_int_equal(json_get_int(sample, "cold_starts", -1), 0);
    assert_int_equal(json_get_int(sample, "p50_ms", -1), -1); /* null: there was none */
    json_object_put(got);
}

static void test_requests_are_right_over_another_haproxy_and_unknown_without_one(void **state) {
    struct world *world = *state;
    fake_haproxy.stat = stat_of(100);
    stats_history_take(world->provisioner.history);
    fake_haproxy.stat = stat_of(7); /* it counts from 0 again */
    stats_history_take(world->provisioner.history);
    struct json_object *got = history(world);
    assert_int_equal(json_get_int(last_sample(got), "requests", -1), 7);
    json_object_put(got);
    fake_haproxy.is_up = false;
    stats_history_take(world->provisioner.history);
    got = history(world);
    assert_true(json_object_object_get_ex(last_sample(got), "requests", NULL));
    assert_int_equal(json_get_int(last_sample(got), "requests", -1), -1);
    json_object_put(got);
}

static void test_there_is_a_sample_at_once_and_never_more_than_a_day(void **state) {
    struct world *world = *state;
    struct json_object *got = history(world);
    assert_int_equal(json_object_array_length(json_get_array(got, "samples")), 1);
    json_object_put(got);
    for (int i = 0; i < STATS_HISTORY_SAMPLES_MAX + 10; i++) {
        fake_haproxy.stat = stat_of(i);
        stats_history_take(world->provisioner.history);
    }
    got = history(world);
    struct json_object *samples = json_get_array(got, "samples");
    assert_int_equal(json_object_array_length(samples), STATS_HISTORY_SAMPLES_MAX);
    for (size_t i = 1; i < STATS_HISTORY_SAMPLES_MAX; i++) {
        assert_true(strcmp(json_get_string(json_object_array_get_idx(samples, i - 1), "at"),
                           json_get_string(json_object_array_get_idx(samples, i), "at")) <= 0);
    }
    json_object_put(got);
}

/* --- changes ------------------------------------------------------------------------------------------------------ */

static void test_the_number_of_changes_moves_with_each_and_only_then(void **state) {
    struct world *world = *state;
    struct provisioner *provisioner = &world->provisioner;
    struct told told = {0};
    struct error err;
    int64_t before = provisioner->changes;
    world_start(world, "ann", &told);
    assert_true(provisioner->changes > before);
    before = provisioner->changes;
    activity_touch(world_tenant(world, "ann"), clock_monotonic_ms() + 5); /* used, which changes nothing */
    activity_flush(provisioner);
    cleanup_json struct json_object *asked = tenant_to_json(world_tenant(world, "ann"));
    assert_int_equal(provisioner->changes, before);
    world_stop(world, "ann", &told);
    assert_true(provisioner->changes > before);
    before = provisioner->changes;
    cleanup_json struct json_object *data = json_object_new_object();
    assert_non_null(policies_create(provisioner, "big", data, &err));
    assert_true(provisioner->changes > before);
    before = provisioner->changes;
    assert_non_null(policies_update(provisioner, "big", data, &err)); /* to what it is */
    assert_int_equal(provisioner->changes, before);
    json_add_string(data, "cpu_limit", "2");
    assert_non_null(policies_update(provisioner, "big", data, &err));
    assert_true(provisioner->changes > before);
    before = provisioner->changes;
    assert_true(policies_delete(provisioner, "big", &err));
    assert_true(provisioner->changes > before);
    before = provisioner->changes;
    world_delete(world, "ann", false, &told);
    assert_true(provisioner->changes > before);
}

static void test_a_successor_s_number_of_changes_is_another(void **state) {
    struct world *world = *state;
    int64_t before = world->provisioner.changes;
    while (clock_unix_ms() <= before) {
    }
    world_restart(world);
    assert_true(world->provisioner.changes > before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_away_is_a_problem_until_it_is_back, make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_problem_is_as_old_as_it_was_first_seen, make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_database_that_takes_nothing_is_a_problem_until_it_takes_it, make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_instances_that_failed_are_counted, make, world_remove),
        cmocka_unit_test_setup_teardown(test_without_a_gate_nobody_starts_anything, make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_sample_tells_what_happened_since_the_one_before, make, world_remove),
        cmocka_unit_test_setup_teardown(test_requests_are_right_over_another_haproxy_and_unknown_without_one, make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_there_is_a_sample_at_once_and_never_more_than_a_day, make, world_remove),
        cmocka_unit_test_setup_teardown(test_the_number_of_changes_moves_with_each_and_only_then, make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_successor_s_number_of_changes_is_another, make, world_remove),
    };
    return cmocka_run_group_tests_name("observers", tests, NULL, NULL);
}
