/* Who a request is for: no two users may ever share a route, a folder or a name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/names.h"

static void test_user_ids(void **state) {
    (void)state;
    struct error err = {0};
    char long_id[NAME_USER_ID_MAX_BYTES + 2];
    memset(long_id, 'a', sizeof long_id);
    long_id[NAME_USER_ID_MAX_BYTES] = '\0';

    assert_true(name_check_user_id("user-123", &err));
    assert_true(name_check_user_id("a@b.example", &err));
    assert_true(name_check_user_id("../x y#,\xc3\xa9%00", &err));
    assert_true(name_check_user_id(long_id, &err));
    long_id[NAME_USER_ID_MAX_BYTES] = 'a';
    long_id[NAME_USER_ID_MAX_BYTES + 1] = '\0';
    assert_false(name_check_user_id(long_id, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    assert_false(name_check_user_id("", &err));
    assert_int_equal(err.code, ERROR_UNPROCESSABLE);
    assert_false(name_check_user_id(NULL, &err));
    assert_false(name_check_user_id("x\ny", &err));
    assert_false(name_check_user_id("x\x7f", &err));
}

static void test_policy_ids(void **state) {
    (void)state;
    static const char *const good[] = {"default", "gpu-large", "a", "0"};
    static const char *const bad[] = {"", "-a", "a-", "A", "a.b", "..", "a/b", "..%2f", "a b", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(name_check_policy_id(good[i], NULL));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(name_check_policy_id(bad[i], NULL));
    }
    assert_false(name_check_policy_id(NULL, NULL));
}

static void test_context_ids(void **state) {
    (void)state;
    char context[NAME_CONTEXT_MAX_BYTES + 2] = "chat:";
    memset(context + 5, 'x', NAME_CONTEXT_MAX_BYTES - 5);
    context[NAME_CONTEXT_MAX_BYTES] = '\0';
    assert_true(name_check_context_id(context, NULL));
    context[NAME_CONTEXT_MAX_BYTES] = 'x';
    context[NAME_CONTEXT_MAX_BYTES + 1] = '\0';
    assert_false(name_check_context_id(context, NULL));

    assert_true(name_check_context_id("default", NULL));
    assert_true(name_check_context_id("automation:7", NULL));
    assert_false(name_check_context_id("chat:", NULL));
    assert_false(name_check_context_id("Chat:1", NULL));
    assert_false(name_check_context_id("chat:a\nb", NULL));
    assert_false(name_check_context_id("", NULL));
    assert_false(name_check_context_id(NULL, NULL));
    assert_string_equal(name_or_default(""), "default");
    assert_string_equal(name_or_default("chat:1"), "chat:1");
}

static void test_route_key_is_what_haproxy_computes(void **state) {
    (void)state;
    char key[DIGEST_HEX_SIZE];
    assert_true(name_route_key("user-123", "default", "default", key));
    /* printf 'default\ndefault\nuser-123' | sha256sum, in upper case */
    assert_string_equal(key, "BEBAAD7854D177E68533F626F18EEAD4DA29802D93EF52F52470569D11D70091");
}

static void test_folders(void **state) {
    (void)state;
    char folder[NAME_FOLDER_SIZE];
    char hashed[NAME_FOLDER_SIZE];
    char again[NAME_FOLDER_SIZE];
    static const char *const plain[] = {"user-123", "a", "A", "a@b.example", "a..b", "_", "-"};
    static const char *const odd[] = {"..", ".", ".a", "a/b", "../a", "a b", "\xc3\xa9", "a|b", "a\\b", "%2e%2e"};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        assert_true(name_user_folder(plain[i], folder));
        assert_string_equal(folder, plain[i]);
    }
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        assert_true(name_user_folder(odd[i], folder));
        assert_int_equal(strncmp(folder, "u-", 2), 0);
        assert_int_equal(strlen(folder), 66);
        assert_null(strchr(folder, '/'));
    }
    /* Somebody who calls himself what another's hashed folder is called gets one of his own. */
    assert_true(name_user_folder("a/b", hashed));
    assert_true(name_user_folder(hashed, again));
    assert_string_not_equal(hashed, again);

    assert_true(name_home_folder("u", "default", "default", folder));
    assert_string_equal(folder, "u");
    assert_true(name_home_folder("u", "gpu", "default", folder));
    assert_string_equal(folder, ".policies/u/gpu");
    assert_true(name_home_folder("u", "default", "chat:1", folder));
    assert_int_equal(strncmp(folder, ".contexts/u/", 12), 0);
    assert_int_equal(strlen(folder), 24);
    assert_true(name_home_folder("u", "gpu", "chat:1", again));
    assert_string_not_equal(folder, again);
}

static void test_instance_names(void **state) {
    (void)state;
    char name[NAME_FOLDER_SIZE];
    assert_true(name_instance("user-123", "default", "default", name));
    assert_string_equal(name, "terminals-fcdec6df4d44");
    assert_true(name_instance("user-123", "gpu", "chat:1", name));
    assert_int_equal(strncmp(name, "terminals-fcdec6df4d44-gpu-", 27), 0);
    assert_int_equal(strlen(name), 27 + 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user_ids),    cmocka_unit_test(test_policy_ids),
        cmocka_unit_test(test_context_ids), cmocka_unit_test(test_route_key_is_what_haproxy_computes),
        cmocka_unit_test(test_folders),     cmocka_unit_test(test_instance_names),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
