/* Pages of the list of tenants, against the plainest way to make them: sort all, then cut. */
#include "provisioner/tenant_list.h"
#include "tests/unit/provisioner/world.h"

#define MANY 2000

static struct tenant *add(struct world *world, const char *user_id, const char *policy_id, const char *context_id) {
    struct error err;
    struct tenant_name name = {.user_id = user_id, .policy_id = policy_id, .context_id = context_id};
    name_route_key(user_id, policy_id, context_id, name.route_key);
    struct tenant *tenant = tenants_add(&world->provisioner, &name, &err);
    assert_non_null(tenant);
    return tenant;
}

/* Few different values, so that most are equal to many others. */
static void add_many(struct world *world) {
    static const enum instance_state states[] = {INSTANCE_STOPPED, INSTANCE_RUNNING, INSTANCE_ERROR};
    for (unsigned i = 0; i < MANY; i++) {
        char user[32], policy[32];
        snprintf(user, sizeof user, "user-%u", (i * 7919U) % 500U);
        snprintf(policy, sizeof policy, "policy-%u", i / 500U);
        struct tenant *tenant = add(world, user, policy, NAME_DEFAULT);
        tenant->record.status = states[i % 3];
        tenant->record.created_at_ms = 1000 + i;
        tenant->record.last_accessed_at_ms = (i * 104729U) % 97U;
    }
}

static struct json_object *page(struct world *world, const struct tenant_filter *filter, int64_t *total) {
    struct json_object *list = tenant_list_page(&world->provisioner, filter, total);
    assert_non_null(list);
    return list;
}

static const char *field(struct json_object *list, size_t index, const char *name) {
    return json_get_string(json_object_array_get_idx(list, index), name);
}

static void expect_users(struct world *world, const struct tenant_filter *filter, const char *wanted) {
    char got[256] = "";
    int64_t total = 0;
    struct json_object *list = page(world, filter, &total);
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i == 0 ? "" : " ", field(list, i, "user_id"));
    }
    assert_string_equal(got, wanted);
    json_object_put(list);
}

static void test_pages_of_every_order_fit_together(void **state) {
    struct world *world = *state;
    int64_t total = 0;
    add_many(world);
    for (enum tenant_sort sort = TENANT_SORT_NONE; sort <= TENANT_SORT_ACCESSED; sort++) {
        for (int descending = 0; descending <= 1; descending++) {
            struct tenant_filter all = {.any_status = true, .sort = sort, .is_descending = descending, .limit = MANY};
            struct json_object *whole = page(world, &all, &total);
            assert_int_equal(total, MANY);
            assert_int_equal(json_object_array_length(whole), MANY);
            for (int64_t offset = 0; offset < MANY; offset += 333) {
                struct tenant_filter some = all;
                some.offset = offset;
                some.limit = 50;
                struct json_object *part = page(world, &some, &total);
                assert_int_equal(total, MANY);
                assert_int_equal(json_object_array_length(part), offset + 50 <= MANY ? 50 : MANY - offset);
                for (size_t i = 0; i < json_object_array_length(part); i++) {
                    assert_string_equal(field(part, i, "id"), field(whole, (size_t)offset + i, "id"));
                }
                json_object_put(part);
            }
            json_object_put(whole);
        }
    }
}

static void test_sorting_is_by_the_field_and_equal_ones_stay_in_order_of_creation(void **state) {
    static const struct {
        enum tenant_sort sort;
        const char *field;
    } orders[] = {{TENANT_SORT_USER, "user_id"},
                  {TENANT_SORT_POLICY, "policy_id"},
                  {TENANT_SORT_STATUS, "status"},
                  {TENANT_SORT_CREATED, "created_at"},
                  {TENANT_SORT_ACCESSED, "last_accessed_at"}};
    struct world *world = *state;
    int64_t total = 0;
    add_many(world);
    for (size_t order = 0; order < sizeof orders / sizeof orders[0]; order++) {
        for (int descending = 0; descending <= 1; descending++) {
            struct tenant_filter filter = {
                .any_status = true, .sort = orders[order].sort, .is_descending = descending, .limit = MANY};
            struct json_object *list = page(world, &filter, &total);
            for (size_t i = 1; i < MANY; i++) {
                int way = strcmp(field(list, i - 1, orders[order].field), field(list, i, orders[order].field));
                assert_true(descending ? way >= 0 : way <= 0);
                assert_true(way != 0 || strcmp(field(list, i - 1, "created_at"), field(list, i, "created_at")) < 0);
            }
            json_object_put(list);
        }
    }
}

static void test_search_looks_into_all_three_names_in_any_case(void **state) {
    struct world *world = *state;
    add(world, "Anna@example.org", NAME_DEFAULT, NAME_DEFAULT);
    add(world, "bob", "gpu-anna", NAME_DEFAULT);
    add(world, "carl", NAME_DEFAULT, "chat:ANNABELLE");
    add(world, "dora", NAME_DEFAULT, NAME_DEFAULT);
    struct tenant_filter filter = {.any_status = true, .text = "anna", .limit = 10};
    expect_users(world, &filter, "Anna@example.org bob carl");
    filter.text = "EXAMPLE.org";
    expect_users(world, &filter, "Anna@example.org");
    filter.text = "%"; /* nothing is a wildcard */
    expect_users(world, &filter, "");
    filter.text = "";
    filter.sort = TENANT_SORT_USER;
    filter.is_descending = true;
    expect_users(world, &filter, "dora carl bob Anna@example.org");
    filter.policy_id = "gpu-anna";
    expect_users(world, &filter, "bob");
}

static void test_a_page_behind_the_end_is_empty_and_knows_the_total(void **state) {
    struct world *world = *state;
    int64_t total = 0;
    add(world, "ann", NAME_DEFAULT, NAME_DEFAULT);
    add(world, "bob", NAME_DEFAULT, NAME_DEFAULT);
    struct tenant_filter filter = {.any_status = true, .sort = TENANT_SORT_USER, .limit = 10, .offset = INT64_MAX};
    struct json_object *list = page(world, &filter, &total);
    assert_int_equal(json_object_array_length(list), 0);
    assert_int_equal(total, 2);
    json_object_put(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_pages_of_every_order_fit_together, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_sorting_is_by_the_field_and_equal_ones_stay_in_order_of_creation,
                                        world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_search_looks_into_all_three_names_in_any_case, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_page_behind_the_end_is_empty_and_knows_the_total, world_make,
                                        world_remove),
    };
    return cmocka_run_group_tests_name("tenant_list", tests, NULL, NULL);
}
