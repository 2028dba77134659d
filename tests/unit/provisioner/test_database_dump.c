/* A dump has everything, and one that is not whole changes nothing. */
#include "tests/unit/provisioner/test_database.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "provisioner/database_dump.h"
#include "provisioner/migrations.h"
#include "provisioner/store.h"
#include "tests/unit/provisioner/temporary_folder.h"

static char folder[64];
static char url[TEST_DATABASE_URL_SIZE];
static char other_url[TEST_DATABASE_URL_SIZE];

static int set_up(void **state) {
    char other_folder[96];
    (void)state;
    temporary_folder_make(folder);
    snprintf(other_folder, sizeof other_folder, "%s/other", folder);
    test_database_make(folder, url);
    test_database_make(other_folder, other_url);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    test_database_remove(url);
    test_database_remove(other_url);
    temporary_folder_remove(folder);
    return 0;
}

static void fill(const char *where) {
    struct error err = {0};
    static unsigned char key[] = {0, 1, 0xff, '\''};
    struct store *store = store_open(where, NULL, &err);
    assert_non_null(store);
    struct tenant_record record = {.id = "0b5e4f6a-0000-4000-8000-000000000001",
                                   .user_id = "o'bri\xc3\xa9n\t\\N\"",
                                   .policy_id = "default",
                                   .context_id = "default",
                                   .route_key = "ABCD",
                                   .instance_name = "terminals-1",
                                   .backend_type = "local",
                                   .key_encrypted = key,
                                   .key_encrypted_length = sizeof key,
                                   .status = INSTANCE_STOPPED,
                                   .created_at_ms = INT64_C(4102444800000),
                                   .updated_at_ms = 1,
                                   .last_accessed_at_ms = 1};
    const struct reset_record reset = {.tenant_id = record.id, .due_at_ms = 5};
    const struct audit_record event = {.id = "0b5e4f6a-0000-4000-8000-000000000002",
                                       .action = "tenant_created",
                                       .severity = "info",
                                       .detail = "line\nfeed",
                                       .created_at_ms = 7};
    assert_true(store_save_tenant(store, &record, &err));
    assert_true(store_save_reset(store, &reset, &err));
    assert_true(store_append_audit(store, &event, &err));
    assert_true(store_set_property(store, "empty", "", 0, &err));
    store_close(store);
}

/* The text of a dump, which the caller frees. */
static char *dump(const char *where) {
    struct error err = {0};
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    struct database *database = database_open(where, NULL, DATABASE_SHARED, &err);
    assert_non_null(database);
    bool ok = database_dump(database, out, &err);
    database_close(database);
    fclose(out);
    if (!ok) {
        fail_msg("%s", err.message);
    }
    return text;
}

static bool load(const char *where, const char *text, struct error *err) {
    FILE *in = fmemopen((char *)text, strlen(text), "r");
    struct database *database = database_open(where, NULL, DATABASE_SHARED, err);
    assert_non_null(database);
    bool ok = database_load(database, in, "this-restore", err);
    database_close(database);
    fclose(in);
    return ok;
}

/* Without the name of the restore, which only a loaded one has. */
static void assert_same(const char *one, const char *other) {
    const char *rest = strstr(other, "[\"restore_id\"");
    if (rest == NULL) {
        fail_msg("the restore has not left its name");
        return;
    }
    size_t first = (size_t)(rest - other);
    assert_int_equal(strncmp(one, other, first), 0);
    const char *after = strchr(rest, '\n') + 1;
    assert_int_equal(strncmp(one + first, after, strlen(after) - strlen("{\"rows\":0}\n")), 0);
}

static void test_everything_comes_back(void **state) {
    (void)state;
    struct error err = {0};
    fill(url);
    cleanup_free char *first = dump(url);
    assert_non_null(strstr(first, "o'bri\xc3\xa9n\\t\\\\N\\\""));
    assert_non_null(strstr(first, "0001ff27"));
    if (!load(other_url, first, &err)) {
        fail_msg("%s", err.message);
    }
    cleanup_free char *second = dump(other_url);
    assert_same(first, second);
}

static void test_what_is_there_goes(void **state) {
    (void)state;
    struct error err = {0};
    struct store *empty = store_open(other_url, NULL, &err);
    assert_non_null(empty);
    store_close(empty);
    cleanup_free char *first = dump(other_url);
    fill(url);
    if (!load(url, first, &err)) {
        fail_msg("%s", err.message);
    }
    cleanup_free char *second = dump(url);
    assert_null(strstr(second, "tenant_created"));
    assert_null(strstr(second, "terminals-1"));
}

static char *replaced(const char *text, const char *old, const char *new) {
    const char *found = strstr(text, old);
    char *result = NULL;
    assert_non_null(found);
    if (asprintf(&result, "%.*s%s%s", (int)(found - text), text, new, found + strlen(old)) < 0) {
        abort();
    }
    return result;
}

static void test_what_is_not_whole_or_not_ours_changes_nothing(void **state) {
    (void)state;
    static const struct {
        const char *old;
        const char *new;
        const char *says;
    } cases[] = {
        {"{\"format\":1", "{\"format\":2", "newer"},
        {"\"version\":", "\"version\":9", "version 9"},
        {"{\"rows\":", "{\"rows\":1", "rows and should have"},
        {"{\"rows\":", "", "JSON"},
        {"\"tenants\"", "\"sqlite_master\"", "no table"},
        {"\"user_id\"", "\"user_id = '' --\"", "no column"},
        {"\"due_at\"", "\"due_at\",\"due_at\"", "fits no table"},
        {",5]", ",\"five\"]", "another type"},
        {"0001ff27", "0001ff2g", "hex"},
        {"[\"0b5e4f6a-0000-4000-8000-000000000001\",5]", "[]", "fits no table"},
        {"[\"0b5e4f6a-0000-4000-8000-000000000001\",5]", "[\"0b5e4f6a-0000-4000-8000-00000000000f\",5]", ""},
    };
    fill(url);
    fill(other_url);
    cleanup_free char *good = dump(url);
    cleanup_free char *before = dump(other_url);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = {0};
        cleanup_free char *bad = replaced(good, cases[i].old, cases[i].new);
        if (load(other_url, bad, &err) || (strstr(err.message, cases[i].says) == NULL && cases[i].says[0] != 'J')) {
            fail_msg("case %zu: %s", i, err.message);
        }
        cleanup_free char *after = dump(other_url);
        assert_string_equal(before, after);
    }
    struct error err = {0};
    cleanup_free char *cut = strndup(good, strlen(good) / 2);
    assert_false(load(other_url, cut, &err));
    cleanup_free char *after = dump(other_url);
    assert_string_equal(before, after);
}

static void test_a_database_with_something_in_it_is_loaded_only_by_force(void **state) {
    (void)state;
    struct error err = {0};
    struct database *database = database_open(url, NULL, DATABASE_SHARED, &err);
    assert_true(database_may_load(database, false, &err));
    fill(url);
    assert_false(database_may_load(database, false, &err));
    assert_non_null(strstr(err.message, "--force"));
    assert_true(database_may_load(database, true, &err));
    database_close(database);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everything_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_there_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_not_whole_or_not_ours_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_database_with_something_in_it_is_loaded_only_by_force, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
