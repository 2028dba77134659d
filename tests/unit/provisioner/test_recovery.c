/* A provisioner killed between any two steps: its successor finishes or undoes what was begun. */
#include <fcntl.h>
#include <sys/sendfile.h>

#include "provisioner/adoption.h"
#include "tests/unit/provisioner/world.h"

/* --- copies of the database, taken in the middle of things ----------------------------------------------------------
 */

#define SNAPSHOTS_MAX 16

static struct {
    struct world *world;
    char calls[SNAPSHOTS_MAX][16];
    int count;
} snapshots;

static void copy_file(const char *from, const char *to) {
    int in = open(from, O_RDONLY);
    if (in < 0) {
        return; /* no WAL yet */
    }
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    struct stat status;
    assert_true(out >= 0 && fstat(in, &status) == 0);
    assert_int_equal(sendfile(out, in, NULL, (size_t)status.st_size), status.st_size);
    close(in);
    close(out);
}

/* What a kill -9 at this moment would leave. */
static void take_snapshot(const char *call) {
    char from[TEST_DATABASE_URL_SIZE], to[TEST_DATABASE_URL_SIZE + 32];
    const struct world *world = snapshots.world;
    assert_true(snapshots.count < SNAPSHOTS_MAX);
    strcpy(snapshots.calls[snapshots.count++], call);
    if (test_database_is_postgres()) {
        snprintf(to, sizeof to, "%s_snapshot_%d", world->database_url, snapshots.count - 1);
        test_database_copy(world->database_url, to);
        return;
    }
    snprintf(to, sizeof to, "%s/snapshot-%d", world->folder, snapshots.count - 1);
    mkdir(to, 0700);
    static const char *const files[] = {"terminals.db", "terminals.db-wal", "encryption.key"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(from, sizeof from, "%s/db/%s", world->folder, files[i]);
        snprintf(to, sizeof to, "%s/snapshot-%d/%s", world->folder, snapshots.count - 1, files[i]);
        copy_file(from, to);
    }
}

static struct provisioner successor;
static struct event_base *successor_base;
static char successor_url[TEST_DATABASE_URL_SIZE + 32];
static struct settings successor_settings;

static void open_successor(int snapshot) {
    struct error err = {0};
    struct world *world = snapshots.world;
    successor_settings = world->settings;
    if (test_database_is_postgres()) {
        char taken[sizeof successor_url];
        snprintf(taken, sizeof taken, "%s_snapshot_%d", world->database_url, snapshot);
        snprintf(successor_url, sizeof successor_url, "%s_successor", world->database_url);
        test_database_copy(taken, successor_url);
    } else {
        snprintf(successor_url, sizeof successor_url, "sqlite:///%s/snapshot-%d/terminals.db", world->folder, snapshot);
    }
    successor_settings.database_url = successor_url;
    successor_base = event_base_new();
    fake_backend.adoptions = fake_backend.stops = fake_backend.sweeps = 0;
    if (!provisioner_open(&successor, &successor_settings, &fake_operations, successor_base, NULL, &err)) {
        fail_msg("killed before `%s`: %s", snapshots.calls[snapshot], err.message);
    }
    event_base_loop(successor_base, EVLOOP_NONBLOCK);
}

static void close_successor(void) {
    provisioner_close(&successor);
    event_base_free(successor_base);
}

static struct tenant *successors_tenant(void) {
    char route_key[DIGEST_HEX_SIZE];
    name_route_key("ann", NAME_DEFAULT, NAME_DEFAULT, route_key);
    return tenants_find(&successor, route_key);
}

/* A whole life, with a copy before each thing that happens outside: start, let it run, stop. */
static void live_once(struct world *world) {
    struct told told = {0}, stopped = {0};
    memset(&snapshots, 0, sizeof snapshots);
    snapshots.world = world;
    fake_backend.before_call = take_snapshot;
    take_snapshot("anything");
    world_start(world, "ann", &told);
    take_snapshot("the end");
    world_stop(world, "ann", &stopped);
    take_snapshot("nothing");
    fake_backend.before_call = NULL;
    assert_int_equal(stopped.times, 1);
    /* The world's own provisioner must not disturb its successors: they share the run folder's socket. */
    world_close_provisioner(world);
}

static void revive(struct world *world) {
    world_open_provisioner(world);
}

static void test_the_database_knows_each_step_before_it_is_taken(void **state) {
    struct world *world = *state;
    static const struct {
        const char *before;
        const char *status; /* NULL: no tenant */
        bool has_reference;
    } expected[] = {
        {"anything", NULL, false},    {"start", "provisioning", false}, {"run", "provisioning", true},
        {"the end", "running", true}, {"stop", "stopping", true},       {"nothing", "stopped", false},
    };
    live_once(world);
    assert_int_equal(snapshots.count, sizeof expected / sizeof expected[0]);
    for (int i = 0; i < snapshots.count; i++) {
        assert_string_equal(snapshots.calls[i], expected[i].before);
        fake_backend.on_adopt = FAKE_WAIT;
        open_successor(i);
        struct tenant *tenant = successors_tenant();
        if (expected[i].status == NULL) {
            assert_null(tenant);
        } else {
            assert_string_equal(instance_state_name(tenant->record.status), expected[i].status);
            assert_int_equal(tenant->record.backend_reference != NULL, expected[i].has_reference);
        }
        close_successor();
    }
    revive(world);
}

static void check_successor(int snapshot, enum fake_answer adoption) {
    struct told told = {0};
    fake_backend.on_adopt = adoption;
    open_successor(snapshot);
    assert_int_equal(fake_backend.sweeps, 1);
    struct tenant *tenant = successors_tenant();
    if (tenant != NULL) {
        bool was_alive = strcmp(snapshots.calls[snapshot], "nothing") != 0;
        bool was_stopping = strcmp(snapshots.calls[snapshot], "stop") == 0;
        bool shall_run = was_alive && !was_stopping && adoption == FAKE_SUCCEED;
        assert_int_equal(fake_backend.adoptions, was_alive);
        assert_int_equal(fake_backend.stops, was_stopping && adoption == FAKE_SUCCEED);
        assert_state(tenant, shall_run ? INSTANCE_RUNNING : INSTANCE_STOPPED);
        assert_int_equal(map_count(successor.routes), shall_run);
        assert_true(successor.routes_are_built);
        starts_want(&successor, tenant, NULL, told_done, &told);
        assert_int_equal(told.times, 1);
        assert_int_equal(told.err.code, ERROR_NONE);
        assert_int_equal(map_count(successor.routes), 1);
    }
    close_successor();
}

static void test_a_kill_between_any_two_steps_is_finished_or_undone(void **state) {
    live_once(*state);
    for (int i = 0; i < snapshots.count; i++) {
        char path[128], copy[512];
        if (test_database_is_postgres()) { /* which copies each time */
            check_successor(i, FAKE_SUCCEED);
            check_successor(i, FAKE_FAIL);
            continue;
        }
        /* Each successor writes; the second one of a snapshot is to find what the first one found. */
        snprintf(path, sizeof path, "%s/snapshot-%d", snapshots.world->folder, i);
        snprintf(copy, sizeof copy, "cp -r %s %s.first", path, path);
        assert_int_equal(system(copy), 0);
        check_successor(i, FAKE_SUCCEED);
        snprintf(copy, sizeof copy, "rm -r %s && mv %s.first %s", path, path, path);
        assert_int_equal(system(copy), 0);
        check_successor(i, FAKE_FAIL);
    }
    revive(*state);
}

static void test_a_request_during_adoption_waits_for_its_end(void **state) {
    struct world *world = *state;
    struct told told = {0}, found = {0};
    world_start(world, "ann", &told);
    char id[33];
    strcpy(id, told.tenant->record.instance_id);
    fake_backend.on_adopt = FAKE_WAIT;
    world_restart(world);
    world_start(world, "ann", &found);
    assert_int_equal(found.times, 0);
    fake_ready(id);
    assert_int_equal(found.times, 1);
    assert_string_equal(found.tenant->record.instance_id, id);
    assert_string_equal(fake_backend.last_reference, "pid 1");
    WORLD_UNTIL(world, world_route(world, "ann") != NULL);
}

static void test_a_request_for_an_instance_that_was_not_adopted_starts_a_new_one(void **state) {
    struct world *world = *state;
    struct told told = {0}, found = {0};
    world_start(world, "ann", &told);
    char id[33];
    strcpy(id, told.tenant->record.instance_id);
    fake_backend.on_adopt = FAKE_WAIT;
    world_restart(world);
    world_start(world, "ann", &found);
    fake_failed(id);
    assert_int_equal(found.times, 1);
    assert_int_equal(found.err.code, ERROR_NONE);
    assert_string_not_equal(found.tenant->record.instance_id, id);
}

static void test_a_stop_during_adoption_is_carried_out_after_it(void **state) {
    struct world *world = *state;
    struct told told = {0}, stopped = {0};
    world_start(world, "ann", &told);
    char id[33];
    strcpy(id, told.tenant->record.instance_id);
    fake_backend.on_adopt = FAKE_WAIT;
    world_restart(world);
    world_stop(world, "ann", &stopped);
    assert_int_equal(fake_backend.stops, 0);
    fake_ready(id);
    assert_int_equal(fake_backend.stops, 1);
    assert_int_equal(stopped.times, 1);
}

static void test_an_adoption_that_takes_long_keeps_its_old_route(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world_start(world, "ann", &told);
    fake_backend.on_adopt = FAKE_WAIT;
    world_restart(world);
    assert_false(world->provisioner.routes_are_built);
    WORLD_UNTIL(world, world->provisioner.routes_are_built);
    assert_non_null(world_route(world, "ann"));
    fake_failed(world_tenant(world, "ann")->record.instance_id);
    assert_null(world_route(world, "ann"));
}

static void test_many_adoptions_do_not_come_all_at_once_and_who_is_waited_for_is_next(void **state) {
    struct world *world = *state;
    struct told told = {0}, found = {0};
    char user[32];
    for (int i = 0; i < 200; i++) {
        snprintf(user, sizeof user, "user-%d", i);
        world_start(world, user, &told);
    }
    fake_backend.adoptions = 0;
    fake_backend.on_adopt = FAKE_WAIT;
    world_restart(world);
    assert_int_equal(fake_backend.adoptions, ADOPTIONS_AT_ONCE);
    assert_int_equal(fake_backend.sweeps, 1); /* the first provisioner's */
    world_start(world, "user-199", &found);
    fake_backend.on_adopt = FAKE_SUCCEED;
    fake_ready(world_tenant(world, "user-0")->record.instance_id);
    assert_int_equal(found.times, 0);
    event_base_loop(world->base, EVLOOP_NONBLOCK);
    assert_int_equal(found.times, 1);
    WORLD_UNTIL(world, fake_backend.adoptions == 200);
    assert_int_equal(fake_backend.sweeps, 2);
    assert_int_equal(world->provisioner.adoptions_left, ADOPTIONS_AT_ONCE - 1);
}

static void test_the_time_of_last_access_outlives_us(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world_start(world, "ann", &told);
    int64_t before_ms = told.tenant->record.last_accessed_at_ms;
    told.tenant->last_active_ms = clock_monotonic_ms() - 5000; /* it was started a while ago */
    int64_t asked_ms = clock_monotonic_ms();
    world_start(world, "ann", &told);
    world_restart(world);
    struct tenant *tenant = world_tenant(world, "ann");
    assert_true(tenant->record.last_accessed_at_ms >= before_ms);
    assert_true(tenant->last_active_ms >= asked_ms - 1000); /* from one clock to the other and back */
}

static void test_ten_thousand_stopped_tenants_are_there_again(void **state) {
    struct world *world = *state;
    struct error err;
    char user[32];
    assert_true(store_begin(world->provisioner.store, &err));
    for (int i = 0; i < 10000; i++) {
        snprintf(user, sizeof user, "user-%d", i);
        assert_true(tenant_save(&world->provisioner, world_tenant(world, user), &err));
    }
    assert_true(store_end(world->provisioner.store, true, &err));
    world_close_provisioner(world);
    world_open_provisioner(world);
    assert_int_equal(HASH_CNT(by_route, world->provisioner.tenants_by_route), 10000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_database_knows_each_step_before_it_is_taken, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_kill_between_any_two_steps_is_finished_or_undone, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_request_during_adoption_waits_for_its_end, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_request_for_an_instance_that_was_not_adopted_starts_a_new_one,
                                        world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_stop_during_adoption_is_carried_out_after_it, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_an_adoption_that_takes_long_keeps_its_old_route, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_many_adoptions_do_not_come_all_at_once_and_who_is_waited_for_is_next,
                                        world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_the_time_of_last_access_outlives_us, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_ten_thousand_stopped_tenants_are_there_again, world_make, world_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
