/* Which settings about authentication go together, and what is said when they do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/auth_settings.h"
#include "common/settings.h"

static void test_contradictions_and_bad_values_are_named(void **state) {
    (void)state;
    static const struct {
        const char *const environment[4];
        const char *message; /* NULL: fine */
    } cases[] = {
        {{"TERMINALS_OPEN=true", NULL}, NULL},
        {{"TERMINALS_API_KEY=a,b,c", NULL}, NULL},
        {{"TERMINALS_OPEN_WEBUI_URL=https://chat.example.com", "TERMINALS_API_KEY=k", NULL}, NULL},
        {{"TERMINALS_JWT_SECRET=s", NULL}, NULL},
        {{"TERMINALS_JWT_SECRET=s", "TERMINALS_API_KEY=k", NULL}, NULL},
        {{"TERMINALS_OPEN=true", "TERMINALS_OPEN_WEBUI_URL=", "TERMINALS_JWT_SECRET=", NULL}, NULL},
        {{"TERMINALS_OPEN=true", "TERMINALS_API_KEY=k", NULL}, "contradicts TERMINALS_API_KEY"},
        {{"TERMINALS_OPEN=true", "TERMINALS_OPEN_WEBUI_URL=http://x", NULL}, "contradicts TERMINALS_OPEN_WEBUI_URL"},
        {{"TERMINALS_OPEN=true", "TERMINALS_JWT_SECRET=s", NULL}, "contradicts TERMINALS_JWT_SECRET"},
        {{"TERMINALS_JWT_SECRET=s", "TERMINALS_OPEN_WEBUI_URL=http://x", NULL}, "set one of them"},
        {{"TERMINALS_API_KEY=a,,b", NULL}, "a comma with no key"},
        {{"TERMINALS_API_KEY=a,", NULL}, "a comma with no key"},
        {{"TERMINALS_API_KEY=a, b", NULL}, "printable ASCII"},
        {{"TERMINALS_OPEN_WEBUI_URL=chat.example.com", NULL}, "expected `https://host[:port]`"},
        {{"TERMINALS_OPEN_WEBUI_URL=ftp://chat.example.com", NULL}, "expected `https://host[:port]`"},
        {{"TERMINALS_OPEN_WEBUI_URL=file:///etc/passwd", NULL}, "expected `https://host[:port]`"},
        {{"TERMINALS_OPEN_WEBUI_URL=https://", NULL}, "expected `https://host[:port]`"},
        {{"TERMINALS_OPEN_WEBUI_URL=https:///x", NULL}, "expected `https://host[:port]`"},
        {{"TERMINALS_OPEN_WEBUI_URL=https://user:password@host", NULL}, "without a user name"},
        {{"TERMINALS_OPEN_WEBUI_URL=https://host/?x", NULL}, "query or fragment"},
        {{"TERMINALS_OPEN_WEBUI_URL=https://host/#x", NULL}, "query or fragment"},
        {{"TERMINALS_TOKEN_CACHE_TTL=-1", NULL}, "TERMINALS_TOKEN_CACHE_TTL"},
        {{"TERMINALS_TOKEN_CACHE_TTL=86401", NULL}, "TERMINALS_TOKEN_CACHE_TTL"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings settings;
        struct error err = {0};
        bool good = settings_parse(&settings, cases[i].environment, NULL, NULL, &err);
        if (good != (cases[i].message == NULL) || (!good && strstr(err.message, cases[i].message) == NULL)) {
            fail_msg("%s: %s", cases[i].environment[0], err.message);
        }
        assert_null(strstr(err.message, "password"));
        if (good) {
            settings_free(&settings);
        }
    }
}

static void test_the_url_loses_its_last_slash(void **state) {
    (void)state;
    struct settings settings;
    struct error err = {0};
    const char *const environment[] = {"TERMINALS_OPEN_WEBUI_URL=https://host:8443/chat//", NULL};
    assert_true(settings_parse(&settings, environment, NULL, NULL, &err));
    assert_string_equal(settings.open_webui_url, "https://host:8443/chat");
    settings_free(&settings);
}

static void test_every_secret_can_come_from_a_file(void **state) {
    (void)state;
    char path[] = "/tmp/test_auth_settings.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "the-secret\n", 11) == 11 && close(fd) == 0);
    static const char *const names[] = {"API_KEY", "JWT_SECRET", "ENCRYPTION_KEY", "STATIC_API_KEY"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char assignment[128];
        struct settings settings;
        struct error err = {0};
        snprintf(assignment, sizeof assignment, "TERMINALS_%s_FILE=%s", names[i], path);
        const char *const environment[] = {assignment, NULL};
        assert_true(settings_parse(&settings, environment, NULL, NULL, &err));
        const char *const values[] = {settings.api_key, settings.jwt_secret, settings.encryption_key,
                                      settings.static_api_key};
        assert_string_equal(values[i], "the-secret");
        settings_free(&settings);
    }
    unlink(path);
}

static bool join(void *argument, const char *key, size_t length) {
    strcat(argument, "<");
    strncat(argument, key, length);
    strcat(argument, ">");
    return true;
}

static void test_keys_are_taken_apart_at_commas(void **state) {
    (void)state;
    char joined[64] = "";
    assert_true(auth_settings_each_key("a,bc,d", join, joined));
    assert_true(auth_settings_each_key(NULL, join, joined));
    assert_string_equal(joined, "<a><bc><d>");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contradictions_and_bad_values_are_named),
        cmocka_unit_test(test_the_url_loses_its_last_slash),
        cmocka_unit_test(test_every_secret_can_come_from_a_file),
        cmocka_unit_test(test_keys_are_taken_apart_at_commas),
    };
    return cmocka_run_group_tests_name("auth_settings", tests, NULL, NULL);
}
