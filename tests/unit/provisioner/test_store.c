/* The database, and what it does when the disk or somebody else does not cooperate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "common/log.h"
#include "provisioner/migrations.h"
#include "provisioner/store_internal.h"
#include "tests/unit/provisioner/temporary_folder.h"
#include "tests/unit/provisioner/test_database.h"

static char folder[64];
static char url[TEST_DATABASE_URL_SIZE];
static char path[128];

static int make(void **state) {
    struct error err = {0};
    log_configure("test", LOG_ERROR + 1, LOG_TEXT);
    temporary_folder_make(folder);
    snprintf(path, sizeof path, "%s/db/terminals.db", folder);
    test_database_make(folder, url);
    struct store *store = store_open(url, NULL, &err);
    if (store == NULL) {
        fail_msg("%s", err.message);
    }
    *state = store;
    return 0;
}

static int remove_it(void **state) {
    store_close(*state);
    test_database_remove(url);
    temporary_folder_remove(folder);
    return 0;
}

static void run_sql(struct store *store, const char *sql) {
    struct error err = {0};
    if (!database_execute(store->database, sql, &err)) {
        fail_msg("%s: %s", sql, err.message);
    }
}

static int64_t count_rows(struct store *store, const char *sql) {
    struct error err = {0};
    struct database_statement *statement = database_prepare(store->database, sql, &err);
    if (statement == NULL || database_step(statement, &err) != 1) {
        fail_msg("%s: %s", sql, err.message);
    }
    int64_t count = database_int(statement, 0);
    database_statement_free(statement);
    return count;
}

static struct tenant_record example(void) {
    return (struct tenant_record){
        .id = "6f1cfd36-4c9b-4f0c-9d63-000000000001",
        .user_id = "ann'; DROP TABLE tenants; --",
        .policy_id = "default",
        .context_id = "chat:1",
        .route_key = "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF",
        .instance_name = "terminals-000000000001",
        .backend_type = "local",
        .status = INSTANCE_PROVISIONING,
        .created_at_ms = 1,
        .updated_at_ms = 2,
        .last_accessed_at_ms = 3,
    };
}

struct seen {
    int rows;
    enum instance_state status;
    char user_id[64];
    char reference[64];
    char host[64];
    char error[64];
    size_t key_length;
    int64_t last_accessed_at_ms;
};

static bool see(void *argument, const struct tenant_record *record, struct error *err) {
    (void)err;
    struct seen *seen = argument;
    seen->rows++;
    seen->status = record->status;
    strcpy(seen->user_id, record->user_id);
    strcpy(seen->reference, record->backend_reference == NULL ? "(null)" : record->backend_reference);
    strcpy(seen->host, record->host);
    strcpy(seen->error, record->error == NULL ? "(null)" : record->error);
    seen->key_length = record->key_encrypted_length;
    seen->last_accessed_at_ms = record->last_accessed_at_ms;
    return true;
}

static struct seen look(struct store *store) {
    struct seen seen = {0};
    struct error err = {0};
    if (!store_each_tenant(store, see, &seen, &err)) {
        fail_msg("%s", err.message);
    }
    return seen;
}

static void test_a_tenant_is_saved_changed_and_deleted(void **state) {
    struct store *store = *state;
    struct error err;
    struct tenant_record record = example();
    assert_true(store_save_tenant(store, &record, &err));
    struct seen seen = look(store);
    assert_int_equal(seen.rows, 1);
    assert_string_equal(seen.user_id, record.user_id);
    assert_string_equal(seen.reference, "(null)");
    assert_string_equal(seen.host, "");
    record.status = INSTANCE_RUNNING;
    record.backend_reference = "pid 7";
    record.key_encrypted = "ab\0cd";
    record.key_encrypted_length = 5;
    strcpy(record.host, "::1");
    record.port = 65535;
    assert_true(store_save_tenant(store, &record, &err));
    seen = look(store);
    assert_int_equal(seen.rows, 1);
    assert_int_equal(seen.status, INSTANCE_RUNNING);
    assert_string_equal(seen.reference, "pid 7");
    assert_string_equal(seen.host, "::1");
    assert_int_equal(seen.key_length, 5);
    const struct tenant_access access = {record.id, 99};
    assert_true(store_save_accesses(store, &access, 1, &err));
    assert_int_equal(look(store).last_accessed_at_ms, 99);
    assert_true(store_delete_tenant(store, record.id, &err));
    assert_int_equal(look(store).rows, 0);
}

static void test_what_was_saved_survives_a_kill(void **state) {
    if (test_database_is_postgres()) {
        return; /* which lets no second one in, and which no kill of ours concerns */
    }
    struct store *store = *state;
    struct error err;
    struct tenant_record record = example();
    assert_true(store_save_tenant(store, &record, &err));
    /* Not closed: the WAL is all there is. */
    struct store *second = store_open(url, NULL, &err);
    assert_non_null(second);
    assert_int_equal(look(second).rows, 1);
    store_close(second);
}

static void test_one_user_cannot_have_two_rows(void **state) {
    struct store *store = *state;
    struct error err;
    struct tenant_record record = example();
    assert_true(store_save_tenant(store, &record, &err));
    record.id[0] = '7';
    record.route_key[0] = 'F';
    assert_false(store_save_tenant(store, &record, &err));
    assert_int_equal(err.code, ERROR_INTERNAL);
    assert_int_equal(look(store).rows, 1);
}

static void test_a_full_disk_is_capacity_and_writes_nothing_by_halves(void **state) {
    struct store *store = *state;
    struct error err = {0};
    run_sql(store, "PRAGMA max_page_count = 1");
    char digests[2000][65];
    const char *list[2000];
    for (int i = 0; i < 2000; i++) {
        snprintf(digests[i], sizeof digests[i], "%064d", i);
        list[i] = digests[i];
    }
    assert_false(store_replace_api_keys(store, list, 2000, &err));
    assert_int_equal(err.code, ERROR_CAPACITY);
    assert_non_null(strstr(err.message, "the disk is full"));
    assert_non_null(strstr(err.message, path));
    assert_int_equal(count_rows(store, "SELECT count(*) FROM identities"), 0);
    /* And it goes on once there is room. */
    run_sql(store, "PRAGMA max_page_count = 100000");
    assert_true(store_replace_api_keys(store, list, 2000, &err));
}

static void test_a_locked_database_is_capacity(void **state) {
    struct store *store = *state;
    struct error err = {0};
    struct tenant_record record = example();
    sqlite3 *other = NULL;
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    run_sql(store, "PRAGMA busy_timeout = 10");
    assert_false(store_save_tenant(store, &record, &err));
    assert_int_equal(err.code, ERROR_CAPACITY);
    assert_non_null(strstr(err.message, "locked"));
    sqlite3_close(other);
    assert_true(store_save_tenant(store, &record, &err));
}

static void test_a_read_only_database_says_so(void **state) {
    struct store *store = *state;
    struct error err = {0};
    struct tenant_record record = example();
    test_database_set_full(store->database, true);
    assert_false(store_save_tenant(store, &record, &err));
    assert_int_equal(err.code, ERROR_INTERNAL);
    assert_non_null(strstr(err.message, "cannot be written"));
}

static void test_a_damaged_database_says_so_and_writes_nothing_by_halves(void **state) {
    struct store *store = *state;
    struct error err = {0};
    struct tenant_record record = example();
    char noise[4096];
    memset(noise, 0xa5, sizeof noise);
    run_sql(store, "PRAGMA wal_checkpoint(TRUNCATE)");
    store_close(store);
    *state = NULL;
    FILE *file = fopen(path, "r+");
    for (long page = 1; page < 60; page++) { /* all but the first page, which says what it is */
        fseek(file, page * (long)sizeof noise, SEEK_SET);
        fwrite(noise, 1, sizeof noise, file);
    }
    fclose(file);
    store = store_open(url, NULL, &err); /* may see it now, or later */
    if (store != NULL) {
        assert_false(store_save_tenant(store, &record, &err));
        store_close(store);
    }
    assert_int_equal(err.code, ERROR_INTERNAL);
    assert_non_null(strstr(err.message, "damaged"));
    assert_non_null(strstr(err.message, path));
}

static void test_a_file_that_is_no_database_is_refused_and_left_alone(void **state) {
    (void)state;
    struct error err = {0};
    char other[128], other_url[160], content[64] = {0};
    snprintf(other, sizeof other, "%s/letter.txt", folder);
    snprintf(other_url, sizeof other_url, "sqlite:///%s", other);
    FILE *file = fopen(other, "w");
    fputs("Dear Ann, this is a letter and no database.\n", file);
    fclose(file);
    assert_null(store_open(other_url, NULL, &err));
    assert_non_null(strstr(err.message, "not an SQLite database"));
    file = fopen(other, "r");
    assert_non_null(fgets(content, sizeof content, file));
    fclose(file);
    assert_string_equal(content, "Dear Ann, this is a letter and no database.\n");
}

static void test_a_newer_database_is_refused(void **state) {
    struct store *store = *state;
    struct error err = {0};
    run_sql(store, "INSERT INTO schema_migrations VALUES (999, 'future')");
    store_close(store);
    *state = NULL;
    assert_null(store_open(url, NULL, &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
    assert_non_null(strstr(err.message, "version 999"));
}

static void test_a_migration_that_fails_leaves_the_former_version(void **state) {
    struct store *store = *state;
    struct error err = {0};
    const struct migration migrations[] = {
        {900, "900_half", "CREATE TABLE half (x INTEGER); INSERT INTO nowhere VALUES (1);"},
    };
    assert_false(migrations_run(store->database, (struct migration_list){migrations, 1}, &err));
    assert_non_null(strstr(err.message, "nowhere"));
    assert_non_null(strstr(err.message, "900_half"));
    assert_false(database_execute(store->database, "SELECT * FROM half", &err));
    assert_true(migrations_run(store->database, migrations_known(store->database), &err));
}

static void test_migrations_are_numbered_in_order(void **state) {
    struct store *store = *state;
    struct migration_list known = migrations_known(store->database);
    assert_true(known.count >= 1);
    assert_int_equal(migrations_newest(migrations_sqlite), migrations_newest(migrations_postgres));
    for (size_t i = 0; i < known.count; i++) {
        assert_true(known.items[i].version > (i == 0 ? 0 : known.items[i - 1].version));
    }
}

static void test_urls_are_read_as_sqlalchemy_does(void **state) {
    (void)state;
    struct error err;
    static const char *const bad[] = {
        "",
        "sqlite",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite://host/x",
        "sqlite:///:memory:",
        "sqlite:////tmp/",
        "sqlite:///x?mode=ro",
        "postgres",
        "postgresql:",
        "postgresql:/x",
        "postgresqlx://localhost/x",
        "mysql+postgresql://localhost/x",
        "postgresql://ann:a%zz@localhost/x",
        "postgresql://ann:secret@localhost:x/y?nonsense=secret",
        "sqlitex:///x",
        "mysql+sqlite:///x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err.code = ERROR_NONE;
        if (store_open(bad[i], NULL, &err) != NULL || err.code != ERROR_INVALID) {
            fail_msg("`%s` was not refused", bad[i]);
        }
        assert_null(strstr(err.message, "secret"));
    }
    char *here = getcwd(NULL, 0);
    assert_int_equal(chdir(folder), 0);
    struct store *store = store_open("sqlite+aiosqlite:///./data/x.db", NULL, &err);
    assert_non_null(store);
    assert_string_equal(store_folder(store), "./data");
    assert_int_equal(access("data/x.db", F_OK), 0);
    store_close(store);
    store = store_open("sqlite:///y.db", NULL, &err);
    assert_non_null(store);
    assert_string_equal(store_folder(store), ".");
    store_close(store);
    assert_int_equal(chdir(here), 0);
    free(here);
}

static bool count_audit(void *argument, const struct audit_record *record, struct error *err) {
    (void)err;
    int64_t *last = argument;
    assert_true(*last == 0 || record->created_at_ms < *last);
    *last = record->created_at_ms;
    return true;
}

static void test_the_audit_log_is_filtered_and_paged(void **state) {
    struct store *store = *state;
    struct error err;
    char id[37];
    for (int i = 1; i <= 10; i++) {
        snprintf(id, sizeof id, "%d", i);
        const struct audit_record record = {
            .id = id,
            .action = i % 2 == 0 ? "tenant_started" : "tenant_stopped",
            .severity = "info",
            .user_id = i <= 5 ? "ann" : NULL,
            .created_at_ms = i * 1000,
        };
        assert_true(store_append_audit(store, &record, &err));
    }
    static const struct {
        struct audit_filter filter;
        int64_t total, last;
    } cases[] = {
        {{.limit = 100}, 10, 1000},
        {{.limit = 2}, 10, 9000},
        {{.limit = 2, .offset = 4}, 10, 5000},
        {{.limit = 100, .action = "tenant_started"}, 5, 2000},
        {{.limit = 100, .action = "tenant_started", .user_id = "ann"}, 2, 2000},
        {{.limit = 100, .since_ms = 8000}, 3, 8000},
        {{.limit = 100, .user_id = "nobody"}, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t total = -1, last = 0;
        assert_true(store_list_audit(store, &cases[i].filter, count_audit, &last, &total, &err));
        assert_int_equal(total, cases[i].total);
        assert_int_equal(last, cases[i].last);
    }
}

/* With as many rows as a busy year has, no way to ask may read or sort them all. */
static void test_each_way_to_ask_the_audit_log_has_its_index(void **state) {
    struct error err;
    struct store *store = *state;
    for (int i = STATEMENT_COUNT_AUDIT; i <= STATEMENT_DELETE_AUDIT; i++) {
        char text[1024];
        if (i == STATEMENT_LAST_AUDIT) {
            continue; /* a look into sqlite_sequence, which has one row a table */
        }
        snprintf(text, sizeof text, "EXPLAIN QUERY PLAN %s", store_statement_text(DATABASE_SQLITE, i));
        struct database_statement *plan = database_prepare(store->database, text, &err);
        assert_non_null(plan);
        while (database_step(plan, &err) == 1) {
            const char *step = database_text(plan, 3);
            if (strstr(step, "SCAN audit_logs") != NULL || strstr(step, "TEMP B-TREE") != NULL) {
                fail_msg("%s: %s", text, step);
            }
        }
        database_statement_free(plan);
    }
}

static int64_t append_audit(struct store *store, const char *id, int64_t created_at_ms) {
    struct error err;
    int64_t last = 0;
    const struct audit_record record = {
        .id = id, .action = "auth_failed", .severity = "info", .created_at_ms = created_at_ms};
    assert_true(store_append_audit(store, &record, &err));
    assert_true(store_last_audit_sequence(store, &last, &err));
    return last;
}

static bool take_sequence(void *argument, const struct audit_record *record, struct error *err) {
    (void)err;
    *(int64_t *)argument = record->sequence;
    return true;
}

static void test_audit_rows_are_numbered_without_gaps_and_for_ever(void **state) {
    struct store *store = *state;
    struct error err;
    int64_t deleted = 0, sequence = 0;
    bool found = false;
    assert_int_equal(append_audit(store, "a", 3000), 1);
    assert_int_equal(append_audit(store, "b", 2000), 2); /* the clock was set back: still the second */
    assert_int_equal(append_audit(store, "a", 9000), 2); /* told twice */
    assert_int_equal(append_audit(store, "c", 5000), 3);
    assert_true(store_next_audit(store, 1, take_sequence, &sequence, &found, &err));
    assert_true(found);
    assert_int_equal(sequence, 2);

    /* The oldest go first, no more than asked for; and a number is never given again. */
    assert_true(store_delete_audit(store, 9999, 1, &deleted, &err));
    assert_int_equal(deleted, 1);
    assert_true(store_next_audit(store, 0, take_sequence, &sequence, &found, &err));
    assert_int_equal(sequence, 1);
    assert_true(store_delete_audit(store, 9999, 100, &deleted, &err));
    assert_int_equal(deleted, 2);
    assert_true(store_next_audit(store, 0, take_sequence, &sequence, &found, &err));
    assert_false(found);
    assert_int_equal(append_audit(store, "d", 6000), 4);
    assert_true(store_delete_audit(store, 6000, 100, &deleted, &err));
    assert_int_equal(deleted, 0);
}

static void test_rows_of_an_older_version_keep_their_order(void **state) {
    (void)state;
    struct error err;
    int64_t total = 0, last = 0;
    char older[128], older_url[160];
    snprintf(older, sizeof older, "%s/older.db", folder);
    snprintf(older_url, sizeof older_url, "sqlite:///%s", older);
    struct database *database = database_open(older_url, NULL, DATABASE_SHARED, &err);
    assert_non_null(database);
    assert_true(migrations_run(database, (struct migration_list){migrations_sqlite.items, 1}, &err));
    assert_true(database_execute(database,
                                 "INSERT INTO audit_logs (id, action, severity, created_at) VALUES "
                                 "('y', 'auth_failed', 'info', 2000), ('x', 'auth_failed', 'info', 1000)",
                                 &err));
    database_close(database);
    struct store *store = store_open(older_url, NULL, &err);
    assert_non_null(store);
    const struct audit_filter filter = {.limit = 10};
    assert_true(store_list_audit(store, &filter, count_audit, &last, &total, &err));
    assert_int_equal(total, 2);
    assert_int_equal(last, 1000);
    bool found = false;
    assert_true(store_next_audit(store, 0, take_sequence, &last, &found, &err));
    assert_int_equal(last, 1);
    store_close(store);
}

static bool count_identity(void *argument, const struct identity_record *record, struct error *err) {
    (void)err;
    (void)record;
    ++*(int *)argument;
    return true;
}

static void test_expired_identities_do_not_come_back(void **state) {
    struct store *store = *state;
    struct error err;
    int count = 0;
    const char *digest = "AA";
    assert_true(store_replace_api_keys(store, &digest, 1, &err));
    run_sql(store, "INSERT INTO identities VALUES ('BB', 'ann', 500), ('CC', 'bob', 1500)");
    assert_true(store_each_identity(store, 1000, count_identity, &count, &err));
    assert_int_equal(count, 2);
    /* Replacing the API keys leaves users' tokens alone. */
    assert_true(store_replace_api_keys(store, NULL, 0, &err));
    count = 0;
    assert_true(store_each_identity(store, 1000, count_identity, &count, &err));
    assert_int_equal(count, 1);
}

/* The policies as one text: `id=data;…`. */
static bool see_policy(void *argument, const struct policy_record *record, struct error *err) {
    (void)err;
    char *text = argument;
    size_t used = strlen(text);
    snprintf(text + used, 256 - used, "%s=%s;", record->id, record->data);
    return true;
}

static void expect_policies(struct store *store, const char *expected) {
    char text[256] = "";
    struct error err = {0};
    assert_true(store_each_policy(store, see_policy, text, &err));
    assert_string_equal(text, expected);
}

static void test_policies_are_kept(void **state) {
    struct error err = {0};
    struct policy_record record = {"gpu", "{\"a\":\"'\"}", INT64_MAX - 1, 1};
    expect_policies(*state, "default={};");
    assert_true(store_save_policy(*state, &record, &err));
    expect_policies(*state, "default={};gpu={\"a\":\"'\"};");
    record.data = "{}";
    assert_true(store_save_policy(*state, &record, &err));
    store_close(*state);
    *state = store_open(url, NULL, &err);
    assert_non_null(*state);
    expect_policies(*state, "default={};gpu={};");
    assert_true(store_delete_policy(*state, "gpu", &err));
    assert_true(store_delete_policy(*state, "gpu", &err));
    expect_policies(*state, "default={};");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_tenant_is_saved_changed_and_deleted, make, remove_it),
        cmocka_unit_test_setup_teardown(test_what_was_saved_survives_a_kill, make, remove_it),
        cmocka_unit_test_setup_teardown(test_one_user_cannot_have_two_rows, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_read_only_database_says_so, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_newer_database_is_refused, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_migration_that_fails_leaves_the_former_version, make, remove_it),
        cmocka_unit_test_setup_teardown(test_migrations_are_numbered_in_order, make, remove_it),
        cmocka_unit_test_setup_teardown(test_policies_are_kept, make, remove_it),
        cmocka_unit_test_setup_teardown(test_the_audit_log_is_filtered_and_paged, make, remove_it),
        cmocka_unit_test_setup_teardown(test_audit_rows_are_numbered_without_gaps_and_for_ever, make, remove_it),
        cmocka_unit_test_setup_teardown(test_expired_identities_do_not_come_back, make, remove_it),
    };
    const struct CMUnitTest tests_of_files[] = {
        cmocka_unit_test_setup_teardown(test_a_full_disk_is_capacity_and_writes_nothing_by_halves, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_locked_database_is_capacity, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_damaged_database_says_so_and_writes_nothing_by_halves, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_no_database_is_refused_and_left_alone, make, remove_it),
        cmocka_unit_test_setup_teardown(test_urls_are_read_as_sqlalchemy_does, make, remove_it),
        cmocka_unit_test_setup_teardown(test_each_way_to_ask_the_audit_log_has_its_index, make, remove_it),
        cmocka_unit_test_setup_teardown(test_rows_of_an_older_version_keep_their_order, make, remove_it),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return test_database_is_postgres() ? failed : failed + cmocka_run_group_tests(tests_of_files, NULL, NULL);
}
