/* Nobody has more instances than allowed, and nobody loses one that is in use. */
#include "provisioner/activity.h"
#include "provisioner/audit.h"
#include "provisioner/quota.h"
#include "tests/unit/provisioner/world.h"

static struct tenant *context_of(struct world *world, const char *user_id, const char *context_id) {
    struct error err;
    struct tenant_name name = {.user_id = user_id, .policy_id = NAME_DEFAULT, .context_id = context_id};
    name_route_key(user_id, NAME_DEFAULT, context_id, name.route_key);
    struct tenant *tenant = tenants_find(&world->provisioner, name.route_key);
    return tenant != NULL ? tenant : tenants_add(&world->provisioner, &name, &err);
}

static void start_context(struct world *world, const char *user_id, const char *context_id, struct told *told) {
    starts_want(&world->provisioner, context_of(world, user_id, context_id), NULL, told_done, told);
}

static struct tenant *idle_context(struct world *world, const char *user_id, const char *context_id,
                                   int64_t idle_seconds) {
    struct told told = {0};
    start_context(world, user_id, context_id, &told);
    assert_int_equal(told.err.code, ERROR_NONE);
    told.tenant->last_active_ms = clock_monotonic_ms() - idle_seconds * 1000;
    return told.tenant;
}

static void is_busy(const struct tenant *tenant) {
    fake_haproxy.is_up = true;
    struct route_activity *route = &fake_haproxy.routes[fake_haproxy.count++];
    strcpy(route->route_key, tenant->record.route_key);
    route->in_flight = 1;
}

static size_t live(const struct world *world) {
    return HASH_CNT(by_instance, world->provisioner.tenants_by_instance);
}

static void test_the_longest_idle_instance_of_the_same_user_makes_room(void **state) {
    struct world *world = *state;
    struct told told = {0};
    struct error err;
    int64_t total = 0;
    world->settings.max_instances_per_user = 2;
    struct tenant *other = idle_context(world, "bob", "default", 5000);
    struct tenant *recent = idle_context(world, "ann", "default", 10);
    struct tenant *oldest = idle_context(world, "ann", "chat:1", 20);
    start_context(world, "ann", "chat:2", &told);
    WORLD_UNTIL(world, told.times == 1);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_state(told.tenant, INSTANCE_RUNNING);
    assert_state(oldest, INSTANCE_STOPPED);
    assert_state(recent, INSTANCE_RUNNING);
    assert_state(other, INSTANCE_RUNNING);
    const struct audit_filter filter = {.action = "quota_cleanup", .limit = 10};
    json_object_put(audit_list(&world->provisioner, &filter, &total, &err));
    assert_int_equal(total, 1);
}

static void test_who_has_only_busy_instances_is_told_so_and_keeps_them(void **state) {
    struct world *world = *state;
    struct told told = {0}, again = {0};
    world->settings.max_instances_per_user = 1;
    struct tenant *busy = idle_context(world, "ann", "default", 100);
    is_busy(busy);
    start_context(world, "ann", "chat:1", &told);
    WORLD_UNTIL(world, told.times == 1);
    assert_int_equal(told.err.code, ERROR_CAPACITY);
    assert_non_null(strstr(told.err.message, "1 instances"));
    assert_state(busy, INSTANCE_RUNNING);
    assert_non_null(world_route(world, "ann"));
    fake_haproxy.count = 0; /* the request has ended */
    start_context(world, "ann", "chat:1", &again);
    WORLD_UNTIL(world, again.times == 1);
    assert_int_equal(again.err.code, ERROR_NONE);
    assert_state(busy, INSTANCE_STOPPED);
}

static void test_a_shell_in_which_somebody_worked_a_moment_ago_stays(void **state) {
    struct world *world = *state;
    struct told told = {0}, later = {0};
    world->settings.max_instances_per_user = 1;
    struct tenant *shell = idle_context(world, "ann", "default", 100);
    shell->shell_active_ms = clock_monotonic_ms() - QUOTA_SHELL_QUIET_MS + 30000;
    start_context(world, "ann", "chat:1", &told);
    WORLD_UNTIL(world, told.times == 1);
    assert_int_equal(told.err.code, ERROR_CAPACITY);
    shell->shell_active_ms = clock_monotonic_ms() - QUOTA_SHELL_QUIET_MS - 1;
    start_context(world, "ann", "chat:1", &later);
    WORLD_UNTIL(world, later.times == 1);
    assert_int_equal(later.err.code, ERROR_NONE);
}

static void test_nobody_makes_room_for_somebody_else(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world->settings.max_instances = 1;
    struct tenant *ann = idle_context(world, "ann", "default", 5000);
    world_start(world, "bob", &told);
    assert_int_equal(told.times, 1);
    assert_int_equal(told.err.code, ERROR_CAPACITY);
    assert_state(ann, INSTANCE_RUNNING);
    assert_null(world_find(world, "bob")); /* nothing is left of what never was */
}

static void test_fifty_starts_at_once_stay_within_the_limit(void **state) {
    struct world *world = *state;
    static struct told told[50];
    memset(told, 0, sizeof told);
    char user[16];
    int refused = 0;
    world->settings.max_instances = 7;
    world->settings.start_concurrency = 3;
    fake_backend.on_start = FAKE_WAIT;
    for (int i = 0; i < 50; i++) {
        snprintf(user, sizeof user, "u%d", i);
        world_start(world, user, &told[i]);
        assert_true(live(world) <= 7);
    }
    for (int i = 0; i < 50; i++) {
        refused += told[i].err.code == ERROR_CAPACITY;
    }
    assert_int_equal(refused, 43);
    for (int i = 0; i < 7; i++) {
        snprintf(user, sizeof user, "u%d", i);
        assert_true(fake_created(world_tenant(world, user)->record.instance_id));
        fake_ready(world_tenant(world, user)->record.instance_id);
        assert_int_equal(told[i].err.code, ERROR_NONE);
    }
}

/* Each idle instance makes room for one. */
static void test_contexts_at_once_never_exceed_the_users_limit(void **state) {
    struct world *world = *state;
    static struct told told[50];
    memset(told, 0, sizeof told);
    char context[24];
    int served = 0;
    size_t most = 0;
    world->settings.max_instances_per_user = 3;
    struct tenant *busy = idle_context(world, "ann", "default", 100);
    is_busy(busy);
    idle_context(world, "ann", "chat:a", 100);
    idle_context(world, "ann", "chat:b", 50);
    fake_backend.on_stop = FAKE_WAIT; /* they leave one after the other, and slowly */
    for (int i = 0; i < 50; i++) {
        snprintf(context, sizeof context, "chat:%d", i);
        start_context(world, "ann", context, &told[i]);
        most = live(world) > most ? live(world) : most;
    }
    const char *const leaving[] = {"chat:a", "chat:b"};
    for (int i = 0; i < 2; i++) {
        struct tenant *tenant = context_of(world, "ann", leaving[i]);
        WORLD_UNTIL(world, tenant->record.status == INSTANCE_STOPPING);
        fake_backend.events.stopped(fake_backend.events.owner, tenant->record.instance_id);
        most = live(world) > most ? live(world) : most;
    }
    for (int i = 0; i < 50; i++) {
        assert_int_equal(told[i].times, 1);
        served += told[i].err.code == ERROR_NONE;
    }
    assert_int_equal(served, 2);
    assert_int_equal(most, 3);
    assert_state(busy, INSTANCE_RUNNING);
}

static struct world *the_world;

static void come_back(int look) {
    if (look == 3) { /* quota's own look, the refresh's first, and now its last */
        struct told told = {0};
        start_context(the_world, "ann", "chat:1", &told);
        assert_int_equal(told.err.code, ERROR_NONE);
    }
}

static void test_who_comes_back_to_the_instance_that_is_leaving_keeps_it(void **state) {
    struct world *world = *state;
    struct told told = {0};
    the_world = world;
    world->settings.max_instances_per_user = 2;
    struct tenant *oldest = idle_context(world, "ann", "chat:1", 20);
    struct tenant *recent = idle_context(world, "ann", "default", 10);
    fake_haproxy.on_look = come_back;
    start_context(world, "ann", "chat:2", &told);
    WORLD_UNTIL(world, told.times == 1);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_state(oldest, INSTANCE_RUNNING);
    assert_state(recent, INSTANCE_STOPPED);
}

static void test_a_start_waits_for_an_instance_that_is_stopping_anyway(void **state) {
    struct world *world = *state;
    struct told told = {0}, stop = {0};
    world->settings.max_instances_per_user = 1;
    idle_context(world, "ann", "default", 20);
    fake_backend.on_stop = FAKE_WAIT;
    world_stop(world, "ann", &stop);
    start_context(world, "ann", "chat:1", &told);
    assert_int_equal(told.times, 0);
    fake_backend.events.stopped(fake_backend.events.owner, world_tenant(world, "ann")->record.instance_id);
    WORLD_UNTIL(world, told.times == 1);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_int_equal(live(world), 1);
}

static void test_a_start_that_nobody_wants_any_more_is_not_begun(void **state) {
    struct world *world = *state;
    struct told told = {0}, stop = {0}, deletion = {0};
    world->settings.max_instances_per_user = 1;
    struct tenant *oldest = idle_context(world, "ann", "default", 20);
    fake_backend.on_stop = FAKE_WAIT;
    start_context(world, "ann", "chat:1", &told);
    start_context(world, "ann", "chat:2", &told);
    WORLD_UNTIL(world, oldest->record.status == INSTANCE_STOPPING);
    stops_want(&world->provisioner, context_of(world, "ann", "chat:1"), NULL, NULL, told_done, &stop);
    stops_want_deletion(&world->provisioner, context_of(world, "ann", "chat:2"), true, NULL, told_done, &deletion);
    fake_backend.events.stopped(fake_backend.events.owner, oldest->record.instance_id);
    WORLD_UNTIL(world, stop.times == 1 && deletion.times == 1);
    assert_int_equal(told.times, 2);
    assert_int_equal(fake_backend.starts, 1);
    assert_int_equal(live(world), 0);
}

static void test_adopted_instances_count(void **state) {
    struct world *world = *state;
    struct told told = {0};
    idle_context(world, "ann", "default", 20);
    idle_context(world, "bob", "default", 20);
    fake_backend.on_adopt = FAKE_WAIT;
    world->settings.max_instances = 2;
    world_restart(world);
    world_start(world, "carl", &told);
    assert_int_equal(told.times, 1);
    assert_int_equal(told.err.code, ERROR_CAPACITY);
}

static void test_shutting_down_tells_who_waits_for_room(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world->settings.max_instances_per_user = 1;
    struct tenant *oldest = idle_context(world, "ann", "default", 20);
    fake_backend.on_stop = FAKE_WAIT;
    start_context(world, "ann", "chat:1", &told);
    WORLD_UNTIL(world, oldest->record.status == INSTANCE_STOPPING);
    world_close_provisioner(world);
    assert_int_equal(told.times, 1);
    assert_int_equal(told.err.code, ERROR_CAPACITY);
    world_open_provisioner(world);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_remove)
    const struct CMUnitTest tests[] = {
        TEST(test_the_longest_idle_instance_of_the_same_user_makes_room),
        TEST(test_who_has_only_busy_instances_is_told_so_and_keeps_them),
        TEST(test_a_shell_in_which_somebody_worked_a_moment_ago_stays),
        TEST(test_nobody_makes_room_for_somebody_else),
        TEST(test_fifty_starts_at_once_stay_within_the_limit),
        TEST(test_contexts_at_once_never_exceed_the_users_limit),
        TEST(test_who_comes_back_to_the_instance_that_is_leaving_keeps_it),
        TEST(test_a_start_waits_for_an_instance_that_is_stopping_anyway),
        TEST(test_a_start_that_nobody_wants_any_more_is_not_begun),
        TEST(test_adopted_instances_count),
        TEST(test_shutting_down_tells_who_waits_for_room),
    };
    return cmocka_run_group_tests_name("quota", tests, NULL, NULL);
}
