#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/api_key.h"
#include "common/secret.h"

static char folder[64];
static char path[128];

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/test_api_key.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/data/api.key", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command); /* NOLINT: a path of our own */
}

static void write_file(const char *text) {
    char parent[96];
    snprintf(parent, sizeof parent, "%s/data", folder);
    mkdir(parent, 0700);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_a_key_is_made_once_and_kept_for_its_owner(void **state) {
    (void)state;
    struct error err = {0};
    struct stat status;
    char *first = api_key_load_or_create(path, &err);
    char *second = api_key_load_or_create(path, &err);
    assert_non_null(first);
    assert_int_equal(strlen(first), 64);
    assert_string_equal(first, second);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_nlink, 1);
    secret_free(first);
    secret_free(second);
}

static void test_a_file_that_holds_no_key_is_an_error_that_does_not_quote_it(void **state) {
    (void)state;
    static const char *const contents[] = {"", "short\n",
                                           "ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ\n",
                                           "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0\n"};
    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        struct error err = {0};
        write_file(contents[i]);
        assert_null(api_key_load_or_create(path, &err));
        assert_non_null(strstr(err.message, path));
        assert_null(strstr(err.message, "short"));
    }
}

static void test_a_key_without_a_line_feed_is_read(void **state) {
    (void)state;
    struct error err = {0};
    write_file("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    char *key = api_key_load_or_create(path, &err);
    assert_string_equal(key, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    secret_free(key);
}

static void test_a_folder_that_cannot_be_made_is_named(void **state) {
    (void)state;
    struct error err = {0};
    assert_null(api_key_load_or_create("/proc/nowhere/api.key", &err));
    assert_non_null(strstr(err.message, "/proc/nowhere"));
}

static void test_the_key_is_beside_the_database(void **state) {
    (void)state;
    static const struct {
        const char *url;
        const char *expected;
    } cases[] = {
        {"sqlite:///./data/terminals.db", "./data/api.key"},
        {"sqlite:////var/lib/terminals.db", "/var/lib/api.key"},
        {"sqlite+aiosqlite:///terminals.db", "api.key"},
        {"postgresql://host/db", "/homes/api.key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings settings = {.database_url = (char *)cases[i].url, .data_dir = "/homes"};
        char *found = api_key_path(&settings);
        assert_string_equal(found, cases[i].expected);
        free(found);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_key_is_made_once_and_kept_for_its_owner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_holds_no_key_is_an_error_that_does_not_quote_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_key_without_a_line_feed_is_read, set_up, tear_down),
        cmocka_unit_test(test_a_folder_that_cannot_be_made_is_named),
        cmocka_unit_test(test_the_key_is_beside_the_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
