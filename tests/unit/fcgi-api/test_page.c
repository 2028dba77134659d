/* Who gets the admin page, in what form, and when nobody does. */
#include "tests/unit/fcgi-api/world.h"

#include "fcgi-api/page.h"

static char sandbox[] = "allow-scripts allow-popups";
static char off[] = "off";
static char same_origin[] = "allow-scripts allow-same-origin";

static void ask(const struct settings *settings, const char *headers, struct answer *answer) {
    cleanup_world_request struct world_request request;
    world_request_init(&request, headers);
    page_answer(settings, &request.request, answer);
}

static bool is_asked(const char *method, const char *target, const char *headers) {
    cleanup_world_request struct world_request request;
    world_request_init(&request, headers);
    return page_is_asked(&request.request, method, target);
}

static void test_the_page_is_for_who_names_neither_user_nor_token(void **state) {
    (void)state;
    assert_true(is_asked("GET", "/", ""));
    assert_true(is_asked("HEAD", "/?from=somewhere", ""));
    assert_false(is_asked("GET", "/", "HTTP_AUTHORIZATION=Bearer x\n"));
    assert_false(is_asked("GET", "/", "HTTP_X_USER_ID=alice\n"));
    assert_false(is_asked("POST", "/", ""));
    assert_false(is_asked("GET", "/index.html", ""));
    assert_false(is_asked("GET", "", ""));
    assert_false(is_asked(NULL, NULL, ""));
}

static void test_it_is_compressed_for_who_takes_that(void **state) {
    (void)state;
    static const struct {
        const char *headers;
        bool is_compressed;
    } rows[] = {
        {"", false},
        {"HTTP_ACCEPT_ENCODING=gzip\n", true},
        {"HTTP_ACCEPT_ENCODING=br;q=1.0, GZIP;q=0.8, *;q=0\n", true},
        {"HTTP_ACCEPT_ENCODING=identity, gzip;q=0\n", false},
        {"HTTP_ACCEPT_ENCODING=gzipped, x;y=gzip\n", false},
        {"HTTP_ACCEPT_ENCODING=,, ;\n", false},
    };
    const struct settings settings = {.enable_ui = true, .instance_sandbox = sandbox};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cleanup_answer struct answer answer = {0};
        ask(&settings, rows[i].headers, &answer);
        assert_int_equal(answer.status, 200);
        assert_int_equal(strstr(answer.headers.data, "Content-Encoding: gzip\r\n") != NULL, rows[i].is_compressed);
        assert_int_equal(memcmp(answer.body.data, "\x1f\x8b", 2) == 0, rows[i].is_compressed);
        assert_int_equal(strncmp(answer.body.data, "<!DOCTYPE html>", 15) == 0, !rows[i].is_compressed);
    }
}

static void test_who_has_it_is_told_so(void **state) {
    (void)state;
    const struct settings settings = {.enable_ui = true, .instance_sandbox = sandbox};
    cleanup_answer struct answer first = {0};
    ask(&settings, "", &first);
    const char *tag = strstr(first.headers.data, "ETag: ");
    assert_non_null(tag);
    tag += strlen("ETag: ");
    cleanup_free char *headers = NULL;
    assert_true(asprintf(&headers, "HTTP_IF_NONE_MATCH=\"other\", %.*s\n", (int)strcspn(tag, "\r"), tag) > 0);
    cleanup_answer struct answer again = {0};
    ask(&settings, headers, &again);
    assert_int_equal(again.status, 304);
    assert_int_equal(again.body.length, 0);
    assert_non_null(strstr(again.headers.data, "Content-Security-Policy: default-src 'none'"));
    cleanup_answer struct answer changed = {0};
    ask(&settings, "HTTP_IF_NONE_MATCH=\"other\"\n", &changed);
    assert_int_equal(changed.status, 200);
}

static void test_nobody_gets_it_where_it_is_off_or_could_be_imitated(void **state) {
    (void)state;
    const struct settings rows[] = {
        {.enable_ui = false, .instance_sandbox = sandbox},
        {.enable_ui = true, .instance_sandbox = off},
        {.enable_ui = true, .instance_sandbox = same_origin},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cleanup_answer struct answer answer = {0};
        ask(&rows[i], "HTTP_ACCEPT_ENCODING=gzip\n", &answer);
        assert_int_equal(answer.status, 404);
        assert_non_null(strstr(answer.body.data, "{\"detail\":\"The admin page is"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_page_is_for_who_names_neither_user_nor_token),
        cmocka_unit_test(test_it_is_compressed_for_who_takes_that),
        cmocka_unit_test(test_who_has_it_is_told_so),
        cmocka_unit_test(test_nobody_gets_it_where_it_is_off_or_could_be_imitated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
