/* Policies and what runs, asked over the socket of a whole provisioner, as terminals-api does. */
#include <sys/stat.h>

#include "provisioner/policies.h"
#include "tests/unit/provisioner/asking.h"

static const struct stored_policy *stored(struct world *world, const char *id) {
    struct error err;
    return policies_find(&world->provisioner, id, &err);
}

static void create(struct world *world, const char *id, const char *data) {
    char text[1024];
    snprintf(text, sizeof text, "{\"id\":1,\"op\":\"policy_create\",\"policy_id\":\"%s\",\"data\":%s}", id, data);
    expect(world, text, "ok");
}

/* The instance of a user on a policy and a context runs. */
static struct tenant *start(struct world *world, const char *user_id, const char *policy_id, const char *context_id) {
    char text[512];
    char route_key[DIGEST_HEX_SIZE];
    snprintf(text, sizeof text,
             "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"%s\",\"policy_id\":\"%s\",\"context_id\":\"%s\"}", user_id,
             policy_id, context_id);
    expect(world, text, "ok");
    assert_true(name_route_key(user_id, policy_id, context_id, route_key));
    struct tenant *tenant = tenants_find(&world->provisioner, route_key);
    assert_non_null(tenant);
    return tenant;
}

static bool is_outdated(const struct tenant *tenant) {
    struct json_object *object = tenant_to_json(tenant);
    bool outdated = json_get_bool(object, "outdated", false);
    json_object_put(object);
    return outdated;
}

static void test_default_is_always_there(void **state) {
    struct world *world = *state;
    assert_int_equal(policies_count(&world->provisioner), 1);
    expect(world, "{\"id\":1,\"op\":\"policy_get\",\"policy_id\":\"default\"}", "ok");
    expect(world, "{\"id\":1,\"op\":\"policy_delete\",\"policy_id\":\"default\"}", "conflict");
    expect(world, "{\"id\":1,\"op\":\"policy_create\",\"policy_id\":\"default\",\"data\":{}}", "conflict");
    expect(world, "{\"id\":1,\"op\":\"policy_update\",\"policy_id\":\"default\",\"data\":{\"idle_timeout_minutes\":5}}",
           "ok");
    asking_restart(world);
    assert_int_equal(stored(world, "default")->policy.idle_timeout_minutes, 5);
    assert_int_equal(policies_idle_timeout_ms(&world->provisioner, "default"), 300000);
}

static void test_policies_come_stay_and_go(void **state) {
    struct world *world = *state;
    create(world, "gpu", "{\"env\":{\"A\":\"1\"},\"team\":\"red\"}");
    expect(world, "{\"id\":1,\"op\":\"policy_create\",\"policy_id\":\"gpu\",\"data\":{}}", "conflict");
    int64_t created_at_ms = stored(world, "gpu")->created_at_ms;
    asking_restart(world);
    assert_int_equal(policies_count(&world->provisioner), 2);
    assert_int_equal(stored(world, "gpu")->created_at_ms, created_at_ms);
    assert_string_equal(json_get_string(stored(world, "gpu")->policy.data, "team"), "red");
    expect(world, "{\"id\":1,\"op\":\"policy_update\",\"policy_id\":\"gpu\",\"data\":{}}", "ok");
    assert_string_equal(stored(world, "gpu")->policy.hash, "");
    expect(world, "{\"id\":1,\"op\":\"policy_delete\",\"policy_id\":\"gpu\"}", "ok");
    expect(world, "{\"id\":1,\"op\":\"policy_delete\",\"policy_id\":\"gpu\"}", "not_found");
    expect(world, "{\"id\":1,\"op\":\"policy_update\",\"policy_id\":\"gpu\",\"data\":{}}", "not_found");
    expect(world, "{\"id\":1,\"op\":\"policy_get\",\"policy_id\":\"gpu\"}", "not_found");
    asking_restart(world);
    assert_int_equal(policies_count(&world->provisioner), 1);
}

static void test_requests_about_policies_are_checked(void **state) {
    static const char *const requests[] = {
        "{\"id\":1,\"op\":\"policy_get\"}",
        "{\"id\":1,\"op\":\"policy_get\",\"policy_id\":\"\"}",
        "{\"id\":1,\"op\":\"policy_get\",\"policy_id\":\"A\"}",
        "{\"id\":1,\"op\":\"policy_create\",\"policy_id\":\"../x\",\"data\":{}}",
        "{\"id\":1,\"op\":\"policy_create\",\"policy_id\":\"x\"}",
        "{\"id\":1,\"op\":\"policy_create\",\"policy_id\":\"x\",\"data\":[]}",
        "{\"id\":1,\"op\":\"policy_create\",\"policy_id\":\"x\",\"data\":{\"image\":7}}",
        "{\"id\":1,\"op\":\"policy_update\",\"policy_id\":\"default\",\"data\":{\"env\":7}}",
        "{\"id\":1,\"op\":\"policy_list\",\"limit\":0}",
        "{\"id\":1,\"op\":\"terminal_list\",\"offset\":-1}",
        "{\"id\":1,\"op\":\"terminal_stop\",\"user_id\":7}",
        "{\"id\":1,\"op\":\"terminal_refresh\",\"policy_id\":\"\"}",
        "{\"id\":1,\"op\":\"terminal_refresh\",\"context_id\":\"x\"}",
        "{\"id\":1,\"op\":\"terminal_refresh\",\"only_idle\":1}",
        "{\"id\":1,\"op\":\"terminal_refresh\",\"reset\":\"no\"}",
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        expect(*state, requests[i], "invalid");
    }
    expect(*state, "{\"id\":1,\"op\":\"terminal_refresh\",\"user_id\":\"\"}", "unprocessable");
}

static void test_an_instance_gets_its_policy(void **state) {
    struct world *world = *state;
    expect(world, "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"ann\",\"policy_id\":\"gpu\"}", "not_found");
    create(world, "gpu", "{\"env\":{\"A\":\"1\"}}");
    struct tenant *gpu = start(world, "ann", "gpu", "default");
    assert_string_equal(fake_backend.last_env, "{\"A\":\"1\"}");
    char home[sizeof fake_backend.last_home];
    strcpy(home, fake_backend.last_home);
    struct tenant *shared = start(world, "ann", "default", "default");
    assert_string_equal(fake_backend.last_env, "");
    assert_string_not_equal(fake_backend.last_home, home);
    assert_string_not_equal(gpu->record.instance_id, shared->record.instance_id);
}

static void test_an_instance_of_another_policy_today_is_outdated(void **state) {
    struct world *world = *state;
    create(world, "gpu", "{\"env\":{\"A\":\"1\",\"B\":\"2\"}}");
    struct tenant *tenant = start(world, "ann", "gpu", "default");
    assert_false(is_outdated(tenant));
    expect(world,
           "{\"id\":1,\"op\":\"policy_update\",\"policy_id\":\"gpu\",\"data\":{\"env\":{\"B\":\"2\",\"A\":\"1\"}}}",
           "ok");
    assert_false(is_outdated(tenant));
    expect(world, "{\"id\":1,\"op\":\"policy_update\",\"policy_id\":\"gpu\",\"data\":{\"env\":{\"A\":\"3\"}}}", "ok");
    assert_true(is_outdated(tenant));
    asking_restart(world);
    tenant = start(world, "ann", "gpu", "default");
    assert_true(is_outdated(tenant));
    expect(world, "{\"id\":1,\"op\":\"terminal_refresh\",\"policy_id\":\"gpu\"}", "ok");
    assert_false(is_outdated(tenant));
    assert_false(is_outdated(start(world, "ann", "gpu", "default")));
}

static void test_a_policy_of_running_instances_stays(void **state) {
    struct world *world = *state;
    create(world, "gpu", "{}");
    start(world, "ann", "gpu", "default");
    start(world, "ben", "gpu", "default");
    struct json_object *got = call(world, "{\"id\":1,\"op\":\"policy_delete\",\"policy_id\":\"gpu\"}");
    assert_string_equal(json_get_string(got, "code"), "conflict");
    assert_non_null(strstr(json_get_string(got, "detail"), "2 instances"));
    json_object_put(got);
    expect(world, "{\"id\":1,\"op\":\"terminal_refresh\"}", "ok");
    expect(world, "{\"id\":1,\"op\":\"policy_delete\",\"policy_id\":\"gpu\"}", "ok");
    /* Its tenants stay, do not start, and can be looked at and deleted. */
    int starts = fake_backend.starts;
    expect(world, "{\"id\":1,\"op\":\"tenant_get\",\"user_id\":\"ann\",\"policy_id\":\"gpu\"}", "ok");
    expect(world, "{\"id\":1,\"op\":\"tenant_start\",\"user_id\":\"ann\",\"policy_id\":\"gpu\"}", "not_found");
    expect(world, "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"ann\",\"policy_id\":\"gpu\"}", "not_found");
    expect(world, "{\"id\":1,\"op\":\"tenant_delete\",\"user_id\":\"ann\",\"policy_id\":\"gpu\"}", "ok");
    assert_int_equal(fake_backend.starts, starts);
    create(world, "gpu", "{}");
    start(world, "ben", "gpu", "default");
}

static void test_what_is_no_longer_allowed_starts_nothing(void **state) {
    struct world *world = *state;
    create(world, "gpu", "{\"image\":\"a/b\",\"cpu_limit\":\"4\"}");
    create(world, "big", "{\"cpu_limit\":\"4\"}");
    start(world, "ann", "default", "default");
    world->settings.allowed_images = (char *)"good/*";
    world->settings.max_cpu = (char *)"2";
    asking_restart(world);
    expect(world, "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"ann\",\"policy_id\":\"gpu\"}", "conflict");
    assert_null(stored(world, "gpu")->policy.image);
    assert_string_equal(json_get_string(stored(world, "gpu")->policy.data, "image"), "a/b");
    start(world, "ann", "big", "default");
    assert_int_equal(stored(world, "big")->policy.cpu_millicores, 2000);
    expect(world, "{\"id\":1,\"op\":\"policy_update\",\"policy_id\":\"gpu\",\"data\":{\"image\":\"good/b\"}}", "ok");
    start(world, "ann", "gpu", "default");
}

static void expect_refresh(struct world *world, const char *filter, int matched, int refreshed, int reset, int active) {
    char text[256];
    snprintf(text, sizeof text, "{\"id\":1,\"op\":\"terminal_refresh\"%s}", filter);
    struct json_object *got = call(world, text);
    struct json_object *result = json_get_object(got, "result");
    if (json_get_int(result, "matched", -1) != matched || json_get_int(result, "refreshed", -1) != refreshed ||
        json_get_int(result, "reset", -1) != reset || json_get_int(result, "skipped_active", -1) != active) {
        fail_msg("%s -> %s", text, json_text(got, &(size_t){0}));
    }
    json_object_put(got);
}

static void test_refresh_stops_what_matches(void **state) {
    struct world *world = *state;
    create(world, "gpu", "{}");
    start(world, "ann", "default", "default");
    start(world, "ann", "default", "chat:1");
    start(world, "ann", "gpu", "default");
    start(world, "ben", "gpu", "default");
    expect_refresh(world, ",\"user_id\":\"cid\"", 0, 0, 0, 0);
    expect_refresh(world, ",\"user_id\":\"ann\",\"context_id\":\"chat:1\"", 1, 1, 0, 0);
    expect_refresh(world, ",\"policy_id\":\"gpu\"", 2, 2, 0, 0);
    expect_refresh(world, "", 1, 1, 0, 0);
    expect_refresh(world, "", 0, 0, 0, 0);
}

static void test_refresh_leaves_alone_who_is_busy(void **state) {
    struct world *world = *state;
    struct tenant *busy = start(world, "ann", "default", "default");
    struct tenant *idle = start(world, "ben", "default", "default");
    fake_haproxy.is_up = true;
    fake_haproxy.count = 1;
    fake_haproxy.routes[0] = (struct route_activity){.in_flight = 1};
    memcpy(fake_haproxy.routes[0].route_key, busy->record.route_key, DIGEST_HEX_SIZE);
    expect_refresh(world, "", 2, 1, 0, 1);
    assert_state(busy, INSTANCE_RUNNING);
    assert_non_null(map_get(world->provisioner.routes, busy->record.route_key));
    assert_state(idle, INSTANCE_STOPPED);
    expect_refresh(world, ",\"only_idle\":false", 1, 1, 0, 0);
    assert_state(busy, INSTANCE_STOPPED);
}

static struct tenant *somebody;

static void request_between(int look) {
    if (look == 2) {
        starts_want(somebody->provisioner, somebody, NULL, told_done, &(struct told){0});
    }
}

static void test_a_request_during_a_refresh_keeps_the_instance(void **state) {
    struct world *world = *state;
    somebody = start(world, "ann", "default", "default");
    fake_haproxy.is_up = true;
    fake_haproxy.looks = 0;
    fake_haproxy.on_look = request_between;
    expect_refresh(world, "", 1, 0, 0, 1);
    assert_state(somebody, INSTANCE_RUNNING);
    assert_non_null(map_get(world->provisioner.routes, somebody->record.route_key));
}

static void test_nobody_is_called_idle_while_haproxy_is_silent(void **state) {
    struct world *world = *state;
    struct tenant *tenant = start(world, "ann", "default", "default");
    fake_haproxy.is_up = fake_haproxy.is_silent = true;
    expect(world, "{\"id\":1,\"op\":\"terminal_refresh\"}", "backend");
    assert_state(tenant, INSTANCE_RUNNING);
    assert_non_null(map_get(world->provisioner.routes, tenant->record.route_key));
}

static bool exists(struct world *world, const char *relative) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", world->data_dir, relative);
    return access(path, F_OK) == 0;
}

static void make_file(struct world *world, const char *relative) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", world->data_dir, relative);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
}

static void test_a_reset_empties_one_folder_and_no_other(void **state) {
    struct world *world = *state;
    create(world, "gpu", "{}");
    start(world, "ann", "default", "default");
    start(world, "ann", "gpu", "default");
    start(world, "ben", "gpu", "default");
    make_file(world, "ann/kept");
    make_file(world, ".policies/ann/gpu/lost");
    make_file(world, ".policies/ben/gpu/kept");
    expect_refresh(world, ",\"user_id\":\"ann\",\"policy_id\":\"gpu\",\"reset\":true", 1, 1, 1, 0);
    assert_true(exists(world, "ann/kept"));
    assert_true(exists(world, ".policies/ben/gpu/kept"));
    assert_false(exists(world, ".policies/ann/gpu/lost"));
    /* Also of one that does not run. */
    expect_refresh(world, ",\"user_id\":\"ben\"", 1, 1, 0, 0);
    assert_true(exists(world, ".policies/ben/gpu/kept"));
    expect_refresh(world, ",\"user_id\":\"ben\",\"reset\":true", 1, 0, 1, 0);
    assert_false(exists(world, ".policies/ben/gpu/kept"));
}

static void test_the_end_in_the_middle_of_a_refresh(void **state) {
    struct world *world = *state;
    struct tenant *tenant = start(world, "ann", "default", "default");
    fake_backend.on_stop = FAKE_WAIT;
    ask("{\"id\":1,\"op\":\"terminal_refresh\",\"only_idle\":false,\"reset\":true}");
    WORLD_UNTIL(world, tenant->record.status == INSTANCE_STOPPING);
    /* Whoever shuts down now leaks nothing and answers nobody twice. */
}

static void test_what_runs_is_listed(void **state) {
    struct world *world = *state;
    create(world, "gpu", "{\"idle_timeout_minutes\":0}");
    struct tenant *ann = start(world, "ann", "default", "chat:1");
    start(world, "ann", "gpu", "default");
    start(world, "ben", "default", "default");
    expect(world, "{\"id\":1,\"op\":\"terminal_stop\",\"user_id\":\"ben\"}", "ok");
    expect(world, "{\"id\":1,\"op\":\"terminal_stop\",\"user_id\":\"ben\"}", "not_found");
    expect(world, "{\"id\":1,\"op\":\"terminal_stop\",\"user_id\":\"nobody\"}", "not_found");
    expect(world, "{\"id\":1,\"op\":\"terminal_stop\"}", "unprocessable");
    fake_haproxy.is_up = true;
    struct json_object *got = call(world, "{\"id\":1,\"op\":\"terminal_list\"}");
    struct json_object *list = json_get_array(got, "terminals");
    assert_int_equal(json_get_int(got, "total", -1), 2);
    struct json_object *first = json_object_array_get_idx(list, 0);
    assert_string_equal(json_get_string(first, "user_id"), "ann");
    assert_string_equal(json_get_string(first, "context_id"), "chat:1");
    assert_string_equal(json_get_string(first, "name"), ann->record.instance_name);
    assert_int_equal(json_get_int(first, "idle_timeout_minutes", -1), 30);
    assert_null(json_get_string(first, "kept_alive_by"));
    assert_non_null(json_get_string(first, "stops_at"));
    struct json_object *second = json_object_array_get_idx(list, 1);
    assert_string_equal(json_get_string(second, "kept_alive_by"), "policy");
    assert_null(json_get_string(second, "stops_at"));
    json_object_put(got);
}

static void test_an_own_idle_timeout_holds(void **state) {
    struct world *world = *state;
    create(world, "never", "{\"idle_timeout_minutes\":0}");
    create(world, "soon", "{\"idle_timeout_minutes\":1}");
    struct tenant *never = start(world, "ann", "never", "default");
    struct tenant *soon = start(world, "ann", "soon", "default");
    struct tenant *shared = start(world, "ann", "default", "default");
    never->last_active_ms -= 100000000;
    soon->last_active_ms -= 61000;
    shared->last_active_ms -= 61000;
    expect(world, "{\"id\":1,\"op\":\"reap\"}", "ok");
    assert_state(never, INSTANCE_RUNNING);
    assert_state(soon, INSTANCE_STOPPED);
    assert_state(shared, INSTANCE_RUNNING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_default_is_always_there, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_policies_come_stay_and_go, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_requests_about_policies_are_checked, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_an_instance_gets_its_policy, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_an_instance_of_another_policy_today_is_outdated, asking_make,
                                        asking_remove),
        cmocka_unit_test_setup_teardown(test_a_policy_of_running_instances_stays, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_what_is_no_longer_allowed_starts_nothing, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_refresh_stops_what_matches, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_refresh_leaves_alone_who_is_busy, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_a_request_during_a_refresh_keeps_the_instance, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_nobody_is_called_idle_while_haproxy_is_silent, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_a_reset_empties_one_folder_and_no_other, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_the_end_in_the_middle_of_a_refresh, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_what_runs_is_listed, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_an_own_idle_timeout_holds, asking_make, asking_remove),
    };
    return cmocka_run_group_tests_name("policies", tests, NULL, NULL);
}
