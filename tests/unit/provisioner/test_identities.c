/* Whose token is whose, for how long, and what a restart makes of it; and the encryption key under all that. */
#include "tests/unit/provisioner/asking.h"

#include "common/cleanup.h"

/* {"op": "identity_add"} of a digest made of one letter, which expires in `ms`. */
static void add_identity(struct world *world, char letter, const char *user_id, int64_t ms, const char *expected) {
    char digest[65], request[512];
    int64_t expires_at_ms = clock_unix_ms() + ms;
    memset(digest, letter, 64);
    digest[64] = '\0';
    snprintf(request, sizeof request,
             "{\"id\":1,\"op\":\"identity_add\",\"digest\":\"%s\",\"user_id\":\"%s\",\"expires_at\":%lld}", digest,
             user_id, (long long)expires_at_ms);
    expect(world, request, expected);
}

static const char *identity(const struct world *world, char letter) {
    char digest[65];
    memset(digest, letter, 64);
    digest[64] = '\0';
    return map_get(world->provisioner.identities, digest);
}

static void test_a_users_token_is_theirs_until_it_expires(void **state) {
    struct world *world = *state;
    add_identity(world, 'A', "ann", 3600000, "ok");
    add_identity(world, 'B', "bob", 1500, "ok");
    add_identity(world, 'C', "cat", -1, "ok"); /* over before it began */
    assert_string_equal(identity(world, 'A'), "ann");
    assert_string_equal(identity(world, 'B'), "bob");
    assert_null(identity(world, 'C'));
    int64_t end_ms = clock_monotonic_ms() + 1500;
    WORLD_UNTIL(world, identity(world, 'B') == NULL);
    assert_true(clock_monotonic_ms() <= end_ms + 250); /* not a moment later, but for a busy machine */
    assert_string_equal(identity(world, 'A'), "ann");
    asking_restart(world);
    assert_string_equal(identity(world, 'A'), "ann");
    /* Told again, what it says holds. */
    add_identity(world, 'A', "ann2", 3600000, "ok");
    assert_string_equal(identity(world, 'A'), "ann2");
    add_identity(world, 'A', "ann2", 0, "ok");
    assert_null(identity(world, 'A'));
}

static void test_nobody_becomes_everybody(void **state) {
    struct world *world = *state;
    char request[256], digest[65];
    memset(digest, 'F', 64);
    digest[64] = '\0';
    add_identity(world, 'A', "*", 3600000, "invalid");
    add_identity(world, 'A', "", 3600000, "unprocessable");
    add_identity(world, 'A', "a\\nb", 3600000, "invalid");
    add_identity(world, 'x', "ann", 3600000, "invalid");
    assert_int_equal(map_count(world->provisioner.identities), 0);
    snprintf(request, sizeof request, "{\"id\":1,\"op\":\"set_api_keys\",\"digests\":[\"%s\"]}", digest);
    expect(world, request, "ok");
    add_identity(world, 'F', "ann", 3600000, "invalid");
    assert_string_equal(identity(world, 'F'), "*");
}

static void test_a_token_that_cannot_be_put_into_the_map_is_nowhere(void **state) {
    struct world *world = *state;
    fake_map_is_full = true;
    add_identity(world, 'A', "ann", 3600000, "capacity");
    fake_map_is_full = false;
    asking_restart(world);
    assert_null(identity(world, 'A'));
}

static void test_a_new_api_forgets_the_users_of_the_old_one(void **state) {
    struct world *world = *state;
    char request[256], digest[65];
    memset(digest, 'F', 64);
    digest[64] = '\0';
    add_identity(world, 'A', "ann", 3600000, "ok");
    snprintf(request, sizeof request, "{\"id\":1,\"op\":\"set_api_keys\",\"digests\":[\"%s\"],\"forget_users\":false}",
             digest);
    expect(world, request, "ok");
    assert_string_equal(identity(world, 'A'), "ann");
    snprintf(request, sizeof request, "{\"id\":1,\"op\":\"set_api_keys\",\"digests\":[\"%s\"],\"forget_users\":true}",
             digest);
    expect(world, request, "ok");
    assert_null(identity(world, 'A'));
    assert_string_equal(identity(world, 'F'), "*");
    asking_restart(world);
    assert_null(identity(world, 'A'));
}

static void test_an_emptied_map_file_starts_from_nothing(void **state) {
    struct world *world = *state;
    char path[160];
    add_identity(world, 'A', "ann", 3600000, "ok");
    snprintf(path, sizeof path, "%s/identities.map", world->run_dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    asking_restart(world);
    assert_null(identity(world, 'A'));
    fclose(file);
    assert_int_equal(unlink(path), 0);
    asking_restart(world);
    assert_null(identity(world, 'A'));
}

static void test_the_encryption_key_changes_while_all_goes_on(void **state) {
    struct world *world = *state;
    expect(world, "{\"id\":1,\"op\":\"resolve\",\"user_id\":\"ann\"}", "ok");
    struct tenant *tenant = world_tenant(world, "ann");
    cleanup_free char *key = strdup(tenant->key);
    cleanup_free void *before = malloc(tenant->record.key_encrypted_length);
    size_t length = tenant->record.key_encrypted_length;
    memcpy(before, tenant->record.key_encrypted, length);
    expect(world, "{\"id\":1,\"op\":\"rotate_key\"}", "ok");
    assert_memory_not_equal(before, tenant->record.key_encrypted, length);
    expect(world, "{\"id\":1,\"op\":\"tenant_get\",\"user_id\":\"ann\"}", "ok");
    asking_restart(world);
    WORLD_UNTIL(world, world_route(world, "ann") != NULL);
    assert_string_equal(world_tenant(world, "ann")->key, key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_users_token_is_theirs_until_it_expires, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_nobody_becomes_everybody, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_a_token_that_cannot_be_put_into_the_map_is_nowhere, asking_make,
                                        asking_remove),
        cmocka_unit_test_setup_teardown(test_a_new_api_forgets_the_users_of_the_old_one, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_an_emptied_map_file_starts_from_nothing, asking_make, asking_remove),
        cmocka_unit_test_setup_teardown(test_the_encryption_key_changes_while_all_goes_on, asking_make, asking_remove),
    };
    return cmocka_run_group_tests_name("identities", tests, NULL, NULL);
}
