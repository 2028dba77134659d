#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/banner.h"

static void assert_banner(const struct settings *settings, const char *key_file, bool show_key, const char *wanted,
                          const char *unwanted) {
    struct buffer text = {0};
    assert_true(banner_write(&text, settings, key_file, show_key));
    if (strstr(text.data, wanted) == NULL || (unwanted != NULL && strstr(text.data, unwanted) != NULL)) {
        fail_msg("wanted `%s`, not `%s`:\n%s", wanted, unwanted == NULL ? "" : unwanted, text.data);
    }
    buffer_free(&text);
}

static void test_any_address_is_reached_on_the_loopback(void **state) {
    (void)state;
    assert_banner(&(struct settings){.host = "0.0.0.0", .port = 3000, .open = true}, NULL, false,
                  "curl -X POST 'http://127.0.0.1:3000/terminals/execute?wait=5'", "Authorization");
    assert_banner(&(struct settings){.host = "::", .port = 3001, .open = true}, NULL, false,
                  "'http://[::1]:3001/terminals/execute?wait=5'", "Authorization");
    assert_banner(&(struct settings){.host = "terminals.example", .port = 80, .open = true}, NULL, false,
                  "http://terminals.example:80\n", NULL);
}

static void test_a_key_of_ours_is_shown_with_its_file(void **state) {
    (void)state;
    struct settings settings = {.host = "127.0.0.1", .port = 3000, .api_key = "made"};
    assert_banner(&settings, "./data/api.key", false, "-H 'Authorization: Bearer made'", NULL);
    assert_banner(&settings, "./data/api.key", false, "kept in ./data/api.key", NULL);
}

static void test_a_configured_key_goes_to_a_person_only(void **state) {
    (void)state;
    struct settings settings = {.host = "127.0.0.1", .port = 3000, .api_key = "con'figured"};
    assert_banner(&settings, NULL, true, "-H 'Authorization: Bearer con'\\''figured'", NULL);
    assert_banner(&settings, NULL, false, "-H \"Authorization: Bearer $TERMINALS_API_KEY\"", "figured'");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_address_is_reached_on_the_loopback),
        cmocka_unit_test(test_a_key_of_ours_is_shown_with_its_file),
        cmocka_unit_test(test_a_configured_key_goes_to_a_person_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
