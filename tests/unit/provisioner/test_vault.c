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
    *state = store_open(url, &err);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_box_opens_for_its_tenant_only, make, remove_it),
        cmocka_unit_test_setup_teardown(test_equal_keys_make_different_boxes, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_key_file_is_generated_once_and_private, make, remove_it),
        cmocka_unit_test_setup_teardown(test_another_key_is_refused_and_the_former_one_still_works, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_lost_key_file_is_not_replaced_by_a_new_one, make, remove_it),
        cmocka_unit_test_setup_teardown(test_an_empty_key_file_is_no_key, make, remove_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
