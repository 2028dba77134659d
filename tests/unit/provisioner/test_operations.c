/* The operations, asked over the real socket of a whole provisioner. */
#include "tests/unit/provisioner/asking.h"

static void test_fields_of_the_wrong_type_are_refused(void **state) {
    static const char *const requests[] = {
        "{\"id\":1}",
        "{\"id\":1,\"op\":7}",
        "{\"id\":1,\"op\":\"drop\"}",
        "{\"id\":1,\"op\":\"ping\\u0000\"}",
        "{\"id\":1,\"op\":\"resolve\",\"user_id\":7}",
        "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"a\\u0000b\"}",
        "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"a\\nb\"}",
        "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"a\",\"policy_id\":\"../x\"}",
        "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"a\",\"context_id\":\"x\"}",
        "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"a\",\"actor\":[]}",
        "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"a\",\"actor\":{\"ip\":7}}",
        "{\"id\":1,\"op\":\"recover\",\"route_key\":\"x\"}",
        "{\"id\":1,\"op\":\"recover\"}",
        "{\"id\":1,\"op\":\"activity\"}",
        "{\"id\":1,\"op\":\"activity\",\"routes\":[\"x\"]}",
        "{\"id\":1,\"op\":\"activity\",\"routes\":[7]}",
        "{\"id\":1,\"op\":\"activity\",\"routes\":[],\"shells\":[],\"websockets\":-1}",
        "{\"id\":1,\"op\":\"activity\",\"routes\":[],\"shells\":[],\"websockets\":\"many\"}",
        "{\"id\":1,\"op\":\"audit\"}",
        "{\"id\":1,\"op\":\"audit\",\"action\":7}",
        "{\"id\":1,\"op\":\"audit\",\"action\":\"x\",\"status_code\":1e300}",
        "{\"id\":1,\"op\":\"set_api_keys\",\"digests\":\"x\"}",
        "{\"id\":1,\"op\":\"set_api_keys\",\"digests\":[\"zz\"]}",
        "{\"id\":1,\"op\":\"tenant_list\",\"limit\":0}",
        "{\"id\":1,\"op\":\"tenant_list\",\"limit\":1001}",
        "{\"id\":1,\"op\":\"tenant_list\",\"offset\":-1}",
        "{\"id\":1,\"op\":\"tenant_list\",\"status\":\"Running\"}",
        "{\"id\":1,\"op\":\"tenant_delete\",\"user_id\":\"a\",\"purge\":\"yes\"}",
        "{\"id\":1,\"op\":\"audit_list\",\"since\":\"yesterday\"}",
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        expect(*state, requests[i], "invalid");
    }
    assert_int_equal(fake_backend.starts, 0);
}

static void test_who_is_missing_and_what_is_unknown(void **state) {
    expect(*state, "{\"id\":1,\"op\":\"resolve\"}", "unprocessable");
    expect(*state, "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"\"}", "unprocessable");
    expect(*state, "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"a\",\"policy_id\":\"gpu\"}", "not_found");
    expect(*state, "{\"id\":1,\"op\":\"lookup\",\"user_id\":\"a\"}", "not_found");
    expect(*state, "{\"id\":1,\"op\":\"tenant_get\",\"user_id\":\"a\"}", "not_found");
    expect(*state, "{\"id\":1,\"op\":\"tenant_stop\",\"user_id\":\"a\"}", "not_found");
    expect(*state, "{\"id\":1,\"op\":\"tenant_start\",\"user_id\":\"a\"}", "not_found");
    expect(*state, "{\"id\":1,\"op\":\"tenant_delete\",\"user_id\":\"a\"}", "not_found");
    expect(*state, "{\"id\":1,\"op\":\"openapi\",\"policy_id\":\"gpu\"}", "not_found");
    assert_int_equal(fake_backend.starts, 0);
}

static void test_resolve_and_lookup_give_the_way_to_the_instance(void **state) {
    struct world *world = *state;
    struct json_object *got = call(world, "{\"id\":5,\"op\":\"resolve\",\"user_id\":\"ann\",\"policy_id\":null}");
    const struct tenant *tenant = world_tenant(world, "ann");
    assert_int_equal(json_get_int(got, "id", -1), 5);
    assert_string_equal(json_get_string(got, "address"), "127.0.0.1");
    assert_int_equal(json_get_int(got, "port", -1), 9000);
    assert_string_equal(json_get_string(got, "key"), tenant->key);
    assert_string_equal(json_get_string(got, "instance_id"), tenant->record.instance_id);
    assert_string_equal(json_get_string(got, "route_key"), tenant->record.route_key);
    json_object_put(got);
    expect(world, "{\"id\":6,\"op\":\"lookup\",\"user_id\":\"ann\"}", "ok");
    assert_int_equal(fake_backend.starts, 1);
}

static void recover(struct world *world, char got_id[33]) {
    char request[256];
    snprintf(request, sizeof request, "{\"id\":1,\"op\":\"recover\",\"route_key\":\"%s\"}",
             world_tenant(world, "ann")->record.route_key);
    struct json_object *got = call(world, request);
    assert_true(json_get_bool(got, "ok", false));
    strcpy(got_id, json_get_string(got, "instance_id"));
    json_object_put(got);
}

static void test_recover_starts_anew_only_what_is_gone(void **state) {
    struct world *world = *state;
    char first[33], got[33];
    expect(world, "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"ann\"}", "ok");
    strcpy(first, world_tenant(world, "ann")->record.instance_id);
    fake_backend.is_alive = true;
    recover(world, got);
    assert_string_equal(got, first);
    assert_int_equal(fake_backend.checks, 1);
    fake_backend.is_silent = true; /* nobody loses what runs in it for that */
    recover(world, got);
    assert_string_equal(got, first);
    fake_backend.is_silent = false;
    fake_backend.is_alive = false;
    recover(world, got);
    assert_string_not_equal(got, first);
    /* A second request that met the old instance gets the new one. */
    char second[33];
    strcpy(second, got);
    fake_backend.is_alive = true;
    recover(world, got);
    assert_string_equal(got, second);
    assert_int_equal(fake_backend.starts, 2);
}

static void test_a_tenant_s_life_over_the_socket(void **state) {
    struct world *world = *state;
    struct json_object *got = call(world, "{\"id\":1,\"op\":\"tenant_create\",\"user_id\":\"ann\"}");
    assert_true(json_get_bool(got, "created", false));
    assert_string_equal(json_get_string(json_get_object(got, "tenant"), "status"), "running");
    json_object_put(got);
    got = call(world, "{\"id\":1,\"op\":\"tenant_stop\",\"user_id\":\"ann\"}");
    assert_string_equal(json_get_string(json_get_object(got, "tenant"), "status"), "stopped");
    json_object_put(got);
    expect(world, "{\"id\":1,\"op\":\"lookup\",\"user_id\":\"ann\"}", "not_found");
    got = call(world, "{\"id\":1,\"op\":\"tenant_create\",\"user_id\":\"ann\"}");
    assert_false(json_get_bool(got, "created", true));
    json_object_put(got);
    expect(world, "{\"id\":1,\"op\":\"tenant_delete\",\"user_id\":\"ann\",\"purge\":true}", "ok");
    expect(world, "{\"id\":1,\"op\":\"tenant_get\",\"user_id\":\"ann\"}", "not_found");
    got = call(world, "{\"id\":1,\"op\":\"audit_list\"}");
    static const char *const actions[] = {"tenant_deleted", "tenant_started", "tenant_stopped", "tenant_started",
                                          "tenant_created"};
    struct json_object *rows = json_get_array(got, "audit_logs");
    assert_int_equal(json_get_int(got, "total", -1), 5);
    /* Those of one millisecond come in any order. */
    for (size_t i = 0; i < 5; i++) {
        bool found = false;
        for (size_t j = 0; j < json_object_array_length(rows); j++) {
            const char *action = json_get_string(json_object_array_get_idx(rows, j), "action");
            found = found || strcmp(action, actions[i]) == 0;
        }
        assert_true(found);
    }
    json_object_put(got);
}

static void test_the_list_is_filtered_and_paged(void **state) {
    struct world *world = *state;
    char request[128];
    for (int i = 0; i < 5; i++) {
        snprintf(request, sizeof request, "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"u%d\"}", i);
        expect(world, request, "ok");
    }
    expect(world, "{\"id\":1,\"op\":\"tenant_stop\",\"user_id\":\"u3\"}", "ok");
    static const struct {
        const char *request;
        int total;
        const char *users;
    } cases[] = {
        {"{\"id\":1,\"op\":\"tenant_list\"}", 5, "u0u1u2u3u4"},
        {"{\"id\":1,\"op\":\"tenant_list\",\"limit\":2,\"offset\":1}", 5, "u1u2"},
        {"{\"id\":1,\"op\":\"tenant_list\",\"status\":\"stopped\"}", 1, "u3"},
        {"{\"id\":1,\"op\":\"tenant_list\",\"status\":\"running\",\"limit\":1,\"offset\":3}", 4, "u4"},
        {"{\"id\":1,\"op\":\"tenant_list\",\"user_id\":\"u2\"}", 1, "u2"},
        {"{\"id\":1,\"op\":\"tenant_list\",\"policy_id\":\"gpu\"}", 0, ""},
        {"{\"id\":1,\"op\":\"tenant_list\",\"offset\":9223372036854775807}", 5, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_object *got = call(world, cases[i].request);
        struct json_object *list = json_get_array(got, "tenants");
        char users[64] = "";
        for (size_t j = 0; j < json_object_array_length(list); j++) {
            strcat(users, json_get_string(json_object_array_get_idx(list, j), "user_id"));
        }
        assert_string_equal(users, cases[i].users);
        assert_int_equal(json_get_int(got, "total", -1), cases[i].total);
        json_object_put(got);
    }
}

static void test_api_keys_are_replaced_and_remembered(void **state) {
    struct world *world = *state;
    char a[65], b[65], request[256];
    memset(a, 'A', 64);
    memset(b, 'B', 64);
    a[64] = b[64] = '\0';
    snprintf(request, sizeof request, "{\"id\":1,\"op\":\"set_api_keys\",\"digests\":[\"%s\",\"%s\"]}", a, a);
    expect(world, request, "ok");
    assert_string_equal(map_get(world->provisioner.identities, a), "*");
    snprintf(request, sizeof request, "{\"id\":1,\"op\":\"set_api_keys\",\"digests\":[\"%s\"]}", b);
    expect(world, request, "ok");
    assert_null(map_get(world->provisioner.identities, a));
    assert_string_equal(map_get(world->provisioner.identities, b), "*");
    world_restart(world);
    assert_int_equal(map_count(world->provisioner.identities), 1);
    assert_string_equal(map_get(world->provisioner.identities, b), "*");
}

static void test_what_the_gate_reports_is_activity(void **state) {
    struct world *world = *state;
    char request[256];
    expect(world, "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"ann\"}", "ok");
    struct tenant *tenant = world_tenant(world, "ann");
    tenant->last_active_ms = clock_monotonic_ms() - 9999999;
    snprintf(request, sizeof request,
             "{\"id\":1,\"op\":\"activity\",\"routes\":[\"%s\"],\"shells\":[],\"websockets\":2}",
             tenant->record.route_key);
    expect(world, request, "ok");
    assert_true(clock_monotonic_ms() - tenant->last_active_ms < 5000);
    fake_haproxy.is_up = true;
    fake_haproxy.stat = "# pxname,svname,req_tot,\npublic,FRONTEND,12,\n";
    struct json_object *got = call(world, "{\"id\":1,\"op\":\"stats\"}");
    struct json_object *stats = json_get_object(got, "stats");
    assert_int_equal(json_get_int(stats, "active_ws_connections", -1), 2);
    assert_int_equal(json_get_int(stats, "requests", -1), 12);
    assert_int_equal(json_get_int(json_get_object(stats, "tenants"), "running", -1), 1);
    json_object_put(got);
}

static void test_the_rest_answers(void **state) {
    struct world *world = *state;
    expect(world, "{\"id\":1,\"op\":\"ping\"}", "ok");
    expect(world, "{\"id\":1,\"op\":\"status\"}", "ok");
    expect(world, "{\"id\":1,\"op\":\"config\"}", "ok");
    expect(world, "{\"id\":1,\"op\":\"reap\"}", "ok");
    expect(world, "{\"id\":1,\"op\":\"audit\",\"action\":\"auth_failed\",\"status_code\":401}", "ok");
    struct json_object *got = call(world, "{\"id\":1,\"op\":\"openapi\"}");
    assert_string_equal(json_get_string(json_get_object(got, "document"), "openapi"), "3.1.0");
    json_object_put(got);
}

static void test_long_texts_are_cut_between_characters(void **state) {
    struct world *world = *state;
    static char request[20000];
    strcpy(request, "{\"id\":1,\"op\":\"audit\",\"action\":\"auth_failed\",\"detail\":\"x");
    for (int i = 0; i < 2000; i++) {
        strcat(request, "\xc3\xa9");
    }
    strcat(request, "\"}");
    expect(world, request, "ok");
    struct json_object *got = call(world, "{\"id\":1,\"op\":\"audit_list\"}");
    const char *detail = json_get_string(json_object_array_get_idx(json_get_array(got, "audit_logs"), 0), "detail");
    assert_int_equal(strlen(detail), 1023);
    json_object_put(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fields_of_the_wrong_type_are_refused, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_who_is_missing_and_what_is_unknown, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_resolve_and_lookup_give_the_way_to_the_instance, asking_make,
                                        asking_remove),
        cmocka_unit_test_setup_teardown(test_recover_starts_anew_only_what_is_gone, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_a_tenant_s_life_over_the_socket, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_the_list_is_filtered_and_paged, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_api_keys_are_replaced_and_remembered, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_what_the_gate_reports_is_activity, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_the_rest_answers, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_long_texts_are_cut_between_characters, asking_make, asking_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
