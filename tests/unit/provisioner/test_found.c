/* What the backend finds running becomes the instance of whose it is, unless there is no place for it. */
#include "tests/unit/provisioner/world.h"

#define ID        "0123456789abcdef0123456789abcdef"
#define KEY       "the-key-it-was-started-with"
#define REFERENCE "container 1"

static bool find(const char *user_id, const char *policy_id, struct error *err) {
    const struct instance_spec spec = {
        .instance_id = ID,
        .instance_name = "terminals-x",
        .user_id = user_id,
        .policy_id = policy_id,
        .context_id = NAME_DEFAULT,
        .key = KEY,
        .home = "/nonexistent",
    };
    const struct instance_address address = {.host = "172.18.0.2", .port = 8000, .key = KEY};
    return fake_backend.events.found(fake_backend.events.owner, &spec, REFERENCE, &address, err);
}

static void test_one_nobody_knew_becomes_the_users(void **state) {
    struct world *world = *state;
    struct error err = {0};
    struct told told = {0};
    assert_true(find("alice", NAME_DEFAULT, &err));
    struct tenant *tenant = world_find(world, "alice");
    assert_non_null(tenant);
    assert_int_equal(tenant->record.status, INSTANCE_RUNNING);
    assert_string_equal(tenant->record.instance_id, ID);
    assert_string_equal(world_route(world, "alice"), "172.18.0.2|8000|" KEY "|" ID);
    world_start(world, "alice", &told);
    assert_int_equal(told.times, 1);
    assert_int_equal(told.err.code, ERROR_NONE);
    assert_int_equal(fake_backend.starts, 0); /* it runs already */

    world_restart(world);
    assert_int_equal(fake_backend.adoptions, 1);
    assert_string_equal(fake_backend.last_id, ID);
    assert_string_equal(fake_backend.last_reference, REFERENCE);
    assert_string_equal(world_find(world, "alice")->key, KEY);
}

static void test_a_stopped_tenant_gets_it_back(void **state) {
    struct world *world = *state;
    struct error err = {0};
    struct told told = {0};
    world_start(world, "alice", &told);
    world_stop(world, "alice", &told);
    char id[37];
    strcpy(id, world_find(world, "alice")->record.id);
    assert_true(find("alice", NAME_DEFAULT, &err));
    assert_string_equal(world_find(world, "alice")->record.id, id);
    assert_int_equal(world_find(world, "alice")->record.status, INSTANCE_RUNNING);
    world_stop(world, "alice", &told);
    assert_string_equal(fake_backend.last_id, ID);
    assert_int_equal(world_find(world, "alice")->record.status, INSTANCE_STOPPED);
}

/* Its end was believed while nobody could look at it. */
static void test_one_that_was_stopped_is_not_wanted(void **state) {
    struct world *world = *state;
    struct error err = {0};
    struct told told = {0};
    assert_true(find("alice", NAME_DEFAULT, &err));
    world_stop(world, "alice", &told);
    assert_false(find("alice", NAME_DEFAULT, &err));
    assert_true(backend_nobody_wants(&err));
    assert_int_equal(world_find(world, "alice")->record.status, INSTANCE_STOPPED);

    assert_true(find("bob", NAME_DEFAULT, &err));
    fake_backend.events.gone(fake_backend.events.owner, ID, "it was paused");
    world_set_database_full(world, true);
    assert_false(find("bob", NAME_DEFAULT, &err));
    assert_false(backend_nobody_wants(&err));
    world_set_database_full(world, false);
    assert_true(find("bob", NAME_DEFAULT, &err));

    world_start(world, "carol", &told); /* another instance of hers is found */
    world_stop(world, "carol", &told);
    world_stop(world, "bob", &told);
    world_set_database_full(world, true);
    assert_false(find("carol", NAME_DEFAULT, &err));
    world_set_database_full(world, false);
    assert_true(find("carol", NAME_DEFAULT, &err));
}

static void test_whose_place_is_taken_is_not_wanted(void **state) {
    struct world *world = *state;
    struct error err = {0};
    struct told told = {0};
    world_start(world, "alice", &told);
    char id[33];
    strcpy(id, world_find(world, "alice")->record.instance_id);
    assert_false(find("alice", NAME_DEFAULT, &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
    assert_true(backend_nobody_wants(&err));
    assert_string_equal(world_find(world, "alice")->record.instance_id, id);

    assert_true(find("bob", NAME_DEFAULT, &err));
    err = (struct error){0};
    assert_false(find("carol", NAME_DEFAULT, &err)); /* the same instance again */
    assert_true(backend_nobody_wants(&err));
    assert_null(world_find(world, "carol"));
}

static void test_what_cannot_be_written_down_is_not_ours_and_not_ended(void **state) {
    struct world *world = *state;
    struct error err = {0};
    world_set_database_full(world, true);
    assert_false(find("alice", NAME_DEFAULT, &err));
    assert_false(backend_nobody_wants(&err));
    assert_null(world_find(world, "alice"));
    world_set_database_full(world, false);
    assert_true(find("alice", NAME_DEFAULT, &err));
}

static void test_one_of_no_policy_or_no_user_is_not_wanted(void **state) {
    struct world *world = *state;
    struct error err = {0};
    assert_false(find("alice", "gone", &err));
    assert_string_equal(err.message, "there is no policy `gone`");
    assert_true(backend_nobody_wants(&err));
    const char *const wrong[][2] = {{"", NAME_DEFAULT}, {"a\nb", NAME_DEFAULT}, {"alice", "Not A Policy"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        err = (struct error){0};
        assert_false(find(wrong[i][0], wrong[i][1], &err));
        assert_true(backend_nobody_wants(&err));
    }
    assert_null(world->provisioner.tenants_by_route);
}

static void test_how_far_a_start_has_come_is_told_until_it_ends(void **state) {
    struct world *world = *state;
    struct told told = {0};
    fake_backend.on_start = FAKE_WAIT;
    world_start(world, "alice", &told);
    struct tenant *tenant = world_find(world, "alice");
    fake_backend.events.progress(fake_backend.events.owner, fake_backend.last_id, "pulling image x: 1 of 2 MB");
    struct json_object *json = tenant_to_json(tenant);
    assert_string_equal(json_get_string(json, "progress"), "pulling image x: 1 of 2 MB");
    json_object_put(json);
    assert_true(fake_created(fake_backend.last_id));
    fake_ready(fake_backend.last_id);
    json = tenant_to_json(tenant);
    assert_null(json_get_string(json, "progress"));
    json_object_put(json);
    fake_backend.events.progress(fake_backend.events.owner, "nobody", "x");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_nobody_knew_becomes_the_users, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_stopped_tenant_gets_it_back, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_one_that_was_stopped_is_not_wanted, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_whose_place_is_taken_is_not_wanted, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_written_down_is_not_ours_and_not_ended, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_one_of_no_policy_or_no_user_is_not_wanted, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_how_far_a_start_has_come_is_told_until_it_ends, world_make, world_remove),
    };
    return cmocka_run_group_tests_name("found", tests, NULL, NULL);
}
