/* The log: nobody can forge a line, in text or in JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/json.h"
#include "common/log.h"

static char captured[8192];

/* Logs one message with standard error going into a pipe, and keeps what came out. */
static void capture(const char *request_id, const char *message) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    log_warning(request_id, "%s", message);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t got = read(ends[0], captured, sizeof captured - 1);
    close(ends[0]);
    assert_true(got > 0);
    captured[got] = '\0';
}

static void test_a_line_feed_cannot_forge_a_line(void **state) {
    (void)state;
    log_configure("gate", LOG_INFO, LOG_TEXT);
    capture("r\n1", "user=x\n2026-01-01 ERROR forged");
    assert_ptr_equal(strchr(captured, '\n'), captured + strlen(captured) - 1);
    assert_non_null(strstr(captured, "WARNING gate: user=x\\u000a2026"));
    assert_non_null(strstr(captured, "request=r\\u000a1"));
}

static void test_json_lines_are_json(void **state) {
    (void)state;
    log_configure("gate", LOG_INFO, LOG_JSON);
    capture("id", "quote \" backslash \\ tab \t");
    struct json_object *line = json_parse_object(captured, strlen(captured), NULL);
    assert_non_null(line);
    assert_string_equal(json_get_string(line, "message"), "quote \" backslash \\ tab \t");
    assert_string_equal(json_get_string(line, "level"), "WARNING");
    assert_string_equal(json_get_string(line, "request_id"), "id");
    json_object_put(line);
}

/* A user's id may hold any of these, and what an instance wrote any byte. */
static void test_nobody_commands_the_terminal_that_shows_it(void **state) {
    (void)state;
    log_configure("gate", LOG_INFO, LOG_TEXT);
    capture("r\xc2\x9b"
            "2J",
            "\x1b[2J \xc2\x9b"
            "2J \xc2\x85 \xe2\x80\xa8 \xe2\x80\xae \xe2\x81\xa6 \x9b[31m \xe2\x80 j\xc3\xbcrgen \xf0\x9f\x98\x80 "
            "\xe2\x82\xac");
    assert_non_null(strstr(captured, "\\u001b[2J \\u009b2J \\u0085 \\u2028 \\u202e \\u2066 \\ufffd[31m \\ufffd\\ufffd "
                                     "j\xc3\xbcrgen \xf0\x9f\x98\x80 \xe2\x82\xac request=r\\u009b2J\n"));
    log_configure("gate", LOG_INFO, LOG_JSON);
    capture("id", "\x9b \xc2\x9b \xf0\x9f\x98\x80");
    struct json_object *line = json_parse_object(captured, strlen(captured), NULL);
    assert_non_null(line);
    assert_string_equal(json_get_string(line, "message"), "\xef\xbf\xbd \xc2\x9b \xf0\x9f\x98\x80");
    json_object_put(line);
}

static void test_a_long_message_is_cut_and_the_line_stays_whole(void **state) {
    (void)state;
    char message[6000];
    memset(message, '"', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    log_configure("gate", LOG_INFO, LOG_JSON);
    capture(message, message);
    struct json_object *line = json_parse_object(captured, strlen(captured), NULL);
    assert_non_null(line);
    json_object_put(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_feed_cannot_forge_a_line),
        cmocka_unit_test(test_json_lines_are_json),
        cmocka_unit_test(test_nobody_commands_the_terminal_that_shows_it),
        cmocka_unit_test(test_a_long_message_is_cut_and_the_line_stays_whole),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
