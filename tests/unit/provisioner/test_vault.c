#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/secret.h"
#include "provisioner/vault.h"
#include "tests/unit/provisioner/temporary_folder.h"

static char folder[64];
static char key_file[128];

static int make(void **state) {
    struct error err = {0};
    char url[128];
    log_configure("test", LOG_ERROR + 1, LOG_TEXT);
    temporary_folder_make(folder);
    snprintf(key_file, sizeof key_file, "%s/encryption.key", folder);
    snprintf(url, sizeof url, "sqlite:///%s/terminals.db", folder);
    *state = store_open(url, NULL, &err);
    return *state == NULL ? -1 : 0;
}

static int remove_it(void **state) {
    store_close(*state);
    temporary_folder_remove(folder);
    return 0;
}

static struct vault *must_open(struct store *store, const char *key) {
    struct error err = {0};
    struct vault *vault = vault_open(store, key, key_file, &err);
    if (vault == NULL) {
        fail_msg("%s", err.message);
    }
    return vault;
}

static void test_a_box_opens_for_its_tenant_only(void **state) {
    struct error err;
    size_t length = 0;
    struct vault *vault = must_open(*state, "secret");
    unsigned char *box = vault_seal(vault, "tenant-1", "instance-key", &length, &err);
    assert_non_null(box);
    assert_null(memmem(box, length, "instance-key", 12));
    char *opened = vault_unseal(vault, "tenant-1", box, length, &err);
    assert_string_equal(opened, "instance-key");
    secret_free(opened);
    assert_null(vault_unseal(vault, "tenant-2", box, length, &err));
    for (size_t i = 0; i < length; i++) {
        box[i] ^= 1;
        assert_null(vault_unseal(vault, "tenant-1", box, length, &err));
        box[i] ^= 1;
    }
    for (size_t i = 0; i < length; i++) {
        assert_null(vault_unseal(vault, "tenant-1", box, i, &err));
    }
    assert_null(vault_unseal(vault, "tenant-1", NULL, 0, &err));
    free(box);
    vault_close(vault);
}

static void test_equal_keys_make_different_boxes(void **state) {
    struct error err;
    size_t length = 0;
    struct vault *vault = must_open(*state, "secret");
    void *one = vault_seal(vault, "t", "k", &length, &err);
    void *two = vault_seal(vault, "t", "k", &length, &err);
    assert_memory_not_equal(one, two, length);
    free(one);
    free(two);
    vault_close(vault);
}

static void test_a_key_file_is_generated_once_and_private(void **state) {
    struct error err;
    struct stat status;
    size_t length = 0;
    struct vault *vault = must_open(*state, NULL);
    void *box = vault_seal(vault, "t", "k", &length, &err);
    vault_close(vault);
    assert_int_equal(stat(key_file, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    vault = must_open(*state, NULL);
    char *opened = vault_unseal(vault, "t", box, length, &err);
    assert_string_equal(opened, "k");
    secret_free(opened);
    free(box);
    vault_close(vault);
}

static void test_another_key_is_refused_and_the_former_one_still_works(void **state) {
    struct error err = {0};
    vault_close(must_open(*state, "secret"));
    assert_null(vault_open(*state, "guess", key_file, &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
    assert_non_null(strstr(err.message, "TERMINALS_ENCRYPTION_KEY is not the encryption key"));
    assert_null(strstr(err.message, "guess"));
    vault_close(must_open(*state, "secret"));
}

static void test_a_lost_key_file_is_not_replaced_by_a_new_one(void **state) {
    struct error err = {0};
    vault_close(must_open(*state, NULL));
    assert_int_equal(unlink(key_file), 0);
    assert_null(vault_open(*state, NULL, key_file, &err));
    assert_non_null(strstr(err.message, "put it back"));
    assert_int_equal(access(key_file, F_OK), -1);
}

static void test_an_empty_key_file_is_no_key(void **state) {
    struct error err = {0};
    FILE *file = fopen(key_file, "w");
    assert_non_null(file);
    fclose(file);
    assert_null(vault_open(*state, NULL, key_file, &err));
    assert_non_null(strstr(err.message, "holds no encryption key"));
}

/* --- another key ----------------------------------------------------------------------------------------------------
 */

static void write_check(struct store *store, const struct vault *vault) {
    struct error err = {0};
    size_t length = 0;
    void *check = vault_check_value(vault, &length, &err);
    assert_non_null(check);
    assert_true(store_replace_keys(store, NULL, 0, VAULT_CHECK_NAME, check, length, &err));
    free(check);
}

static char next_file[160];

/* A vault with a key file, a box of it, and a successor whose file is written. */
static struct vault *begin_change(struct store *store, struct vault **successor) {
    struct error err = {0};
    snprintf(next_file, sizeof next_file, "%s.next", key_file);
    struct vault *vault = must_open(store, NULL);
    *successor = vault_successor(vault, NULL, &err);
    if (*successor == NULL) {
        fail_msg("%s", err.message);
    }
    return vault;
}

static bool opens(const struct vault *vault, const void *box, size_t length) {
    char *opened = vault_unseal(vault, "t", box, length, NULL);
    bool good = opened != NULL && strcmp(opened, "k") == 0;
    secret_free(opened);
    return good;
}

static void test_killed_before_the_database_changed_the_old_key_holds(void **state) {
    struct error err = {0};
    struct vault *successor = NULL;
    size_t length = 0;
    struct vault *vault = begin_change(*state, &successor);
    void *box = vault_seal(vault, "t", "k", &length, &err);
    vault_close(successor);
    vault_close(vault);
    assert_int_equal(access(next_file, F_OK), 0);
    vault = must_open(*state, NULL);
    assert_true(opens(vault, box, length));
    assert_int_equal(access(next_file, F_OK), -1);
    free(box);
    vault_close(vault);
}

static void test_killed_after_the_database_changed_the_new_key_holds(void **state) {
    struct error err = {0};
    struct vault *successor = NULL;
    size_t length = 0;
    struct vault *vault = begin_change(*state, &successor);
    void *box = vault_seal(successor, "t", "k", &length, &err);
    write_check(*state, successor);
    vault_close(successor);
    vault_close(vault);
    for (int start = 0; start < 2; start++) {
        vault = must_open(*state, NULL);
        assert_true(opens(vault, box, length));
        assert_int_equal(access(next_file, F_OK), -1);
        vault_close(vault);
    }
    free(box);
}

static void test_a_change_that_is_complete_leaves_one_file(void **state) {
    struct error err = {0};
    struct vault *successor = NULL;
    size_t length = 0;
    struct vault *vault = begin_change(*state, &successor);
    void *box = vault_seal(successor, "t", "k", &length, &err);
    write_check(*state, successor);
    assert_false(opens(vault, box, length));
    assert_true(vault_succeed(vault, successor, &err));
    assert_true(opens(vault, box, length));
    assert_int_equal(access(next_file, F_OK), -1);
    vault_close(successor);
    vault_close(vault);
    vault = must_open(*state, NULL);
    assert_true(opens(vault, box, length));
    free(box);
    vault_close(vault);
}

static void test_a_rename_that_failed_is_made_up_for_by_the_next_change(void **state) {
    struct error err = {0};
    struct vault *successor = NULL;
    struct vault *vault = begin_change(*state, &successor);
    write_check(*state, successor);
    /* Nothing can be renamed over a folder that is not empty. */
    char inside[200];
    snprintf(inside, sizeof inside, "%s/x", key_file);
    assert_true(unlink(key_file) == 0 && mkdir(key_file, 0700) == 0 && mkdir(inside, 0700) == 0);
    assert_false(vault_succeed(vault, successor, &err));
    vault_close(successor);
    assert_true(rmdir(inside) == 0 && rmdir(key_file) == 0);
    successor = vault_successor(vault, NULL, &err);
    assert_non_null(successor);
    assert_int_equal(access(key_file, F_OK), 0); /* the one that waited */
    vault_abandon(successor);
    vault_close(successor);
    vault_close(vault);
    vault_close(must_open(*state, NULL));
}

static void test_a_key_file_that_somebody_changed_stops_the_change(void **state) {
    struct error err = {0};
    struct vault *vault = must_open(*state, NULL);
    FILE *file = fopen(key_file, "w");
    fputs("another\n", file);
    fclose(file);
    assert_null(vault_successor(vault, NULL, &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
    assert_non_null(strstr(err.message, "put back"));
    vault_close(vault);
}

static void test_a_key_of_the_settings_is_followed_by_a_given_one(void **state) {
    struct error err = {0};
    struct vault *vault = must_open(*state, "old");
    assert_null(vault_successor(vault, NULL, &err));
    assert_non_null(strstr(err.message, "--new-key-file"));
    struct vault *successor = vault_successor(vault, "new", &err);
    assert_non_null(successor);
    write_check(*state, successor);
    assert_true(vault_succeed(vault, successor, &err));
    vault_close(successor);
    vault_close(vault);
    assert_null(vault_open(*state, "old", key_file, &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
    vault_close(must_open(*state, "new"));
    assert_int_equal(access(key_file, F_OK), -1);
}

static void test_a_key_file_takes_no_given_key(void **state) {
    struct error err = {0};
    struct vault *vault = must_open(*state, NULL);
    assert_null(vault_successor(vault, "new", &err));
    assert_int_equal(err.code, ERROR_INVALID);
    vault_close(vault);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_box_opens_for_its_tenant_only, make, remove_it),
        cmocka_unit_test_setup_teardown(test_equal_keys_make_different_boxes, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_key_file_is_generated_once_and_private, make, remove_it),
        cmocka_unit_test_setup_teardown(test_another_key_is_refused_and_the_former_one_still_works, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_lost_key_file_is_not_replaced_by_a_new_one, make, remove_it),
        cmocka_unit_test_setup_teardown(test_an_empty_key_file_is_no_key, make, remove_it),
        cmocka_unit_test_setup_teardown(test_killed_before_the_database_changed_the_old_key_holds, make, remove_it),
        cmocka_unit_test_setup_teardown(test_killed_after_the_database_changed_the_new_key_holds, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_change_that_is_complete_leaves_one_file, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_rename_that_failed_is_made_up_for_by_the_next_change, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_key_file_that_somebody_changed_stops_the_change, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_key_of_the_settings_is_followed_by_a_given_one, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_key_file_takes_no_given_key, make, remove_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
