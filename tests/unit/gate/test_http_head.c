/* Heads: what is taken, what is refused, and what an instance gets of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gate/head_rewrite.h"
#include "gate/http_head.h"

#define SIZE(list) (sizeof(list) / sizeof(list)[0])

static bool parses(struct http_head *head, const char *text) {
    struct error err = {0};
    bool is_good = http_head_parse_request(head, text, strlen(text), &err);
    assert_int_equal(err.code, is_good ? ERROR_NONE : ERROR_INVALID);
    return is_good;
}

static void test_the_end_of_a_head_is_found_where_it_is(void **state) {
    (void)state;
    assert_int_equal(http_head_find_end("a\r\n\r\nbody", 9), 5);
    assert_int_equal(http_head_find_end("a\r\n\r", 4), 0);
    assert_int_equal(http_head_find_end("a\n\n", 3), 0);
    assert_int_equal(http_head_find_end(NULL, 0), 0);
}

static void test_a_request_is_taken_apart(void **state) {
    (void)state;
    struct http_head head;
    assert_true(parses(&head, "POST /a?b=%20 HTTP/1.1\r\nHost: x\r\nA:  b \t\r\nA:\r\nContent-Length: 12\r\n\r\n"));
    assert_true(span_equals(head.method, "POST"));
    assert_true(span_equals(head.target, "/a?b=%20"));
    assert_int_equal(head.header_count, 4);
    assert_int_equal(http_head_count(&head, "a"), 2);
    assert_true(span_equals(http_head_value(&head, "a"), "b"));
    assert_null(http_head_value(&head, "nothing").bytes);
    assert_int_equal(head.body, HTTP_BODY_LENGTH);
    assert_int_equal(head.content_length, 12);

    assert_true(parses(&head, "OPTIONS * HTTP/1.0\r\n\r\n"));
    assert_int_equal(head.body, HTTP_BODY_NONE);
    assert_true(parses(&head, "PUT / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n"));
    assert_int_equal(head.body, HTTP_BODY_CHUNKED);
    assert_true(parses(&head, "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
    assert_int_equal(head.body, HTTP_BODY_NONE);
}

static void test_lists_are_read_over_all_headers_of_a_name(void **state) {
    (void)state;
    struct http_head head;
    assert_true(parses(&head, "GET / HTTP/1.1\r\nConnection: a , Upgrade\r\nConnection: b\r\n\r\n"));
    assert_true(http_head_lists(&head, "connection", "upgrade"));
    assert_true(http_head_lists(&head, "connection", "b"));
    assert_false(http_head_lists(&head, "connection", "up"));
}

static void test_what_is_doubtful_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.2\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET x HTTP/1.1\r\n\r\n",
        "GET * HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET /a#b HTTP/1.1\r\n\r\n",
        "GET /\x80 HTTP/1.1\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nA\r\n\r\n",
        "GET / HTTP/1.1\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nA : b\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\n A: b\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
        "GET / HTTP/1.1\nA: b\n\n",
        "GET / HTTP/1.1\r\nA: \x01\r\n\r\n",
        "GET / HTTP/1.1\r\nA\x80: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 9999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n",
        "GET / HTTP/1.1\r\n\r\nmore\r\n\r\n",
    };
    for (size_t i = 0; i < SIZE(bad); i++) {
        struct http_head head;
        if (parses(&head, bad[i])) {
            fail_msg("taken: %s", bad[i]);
        }
    }
    struct http_head head;
    static const char with_nul[] = "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n";
    assert_false(http_head_parse_request(&head, with_nul, sizeof with_nul - 1, NULL));
}

static void test_too_many_headers_are_refused(void **state) {
    (void)state;
    cleanup_buffer struct buffer text = {0};
    struct http_head head;
    buffer_append_string(&text, "GET / HTTP/1.1\r\n");
    for (int i = 0; i < HTTP_HEAD_MAX_HEADERS; i++) {
        buffer_append_string(&text, "A: b\r\n");
    }
    size_t length = text.length;
    buffer_append_string(&text, "\r\n");
    assert_true(http_head_parse_request(&head, text.data, text.length, NULL));
    text.length = length;
    buffer_append_string(&text, "A: b\r\n\r\n");
    assert_false(http_head_parse_request(&head, text.data, text.length, NULL));
}

static void test_an_answer_is_taken_apart(void **state) {
    (void)state;
    struct http_head head;
    static const char good[] = "HTTP/1.1 101 Any words\r\nUpgrade: websocket\r\n\r\n";
    assert_true(http_head_parse_answer(&head, good, strlen(good), NULL));
    assert_int_equal(head.status, 101);
    static const char *const bad[] = {"HTTP/1.1 1O1 x\r\n\r\n", "HTTP/1.1 1010 x\r\n\r\n", "HTTP/2 101 x\r\n\r\n",
                                      "HTTP/1.1\r\n\r\n", "garbage\r\n\r\n"};
    for (size_t i = 0; i < SIZE(bad); i++) {
        assert_false(http_head_parse_answer(&head, bad[i], strlen(bad[i]), NULL));
    }
}

static void expect_rewritten(const char *from, const char *key, bool keep_upgrade, const char *to) {
    cleanup_buffer struct buffer out = {0};
    struct http_head head;
    assert_true(parses(&head, from));
    assert_true(head_rewrite(&out, &head, key, keep_upgrade));
    assert_string_equal(out.data, to);
}

static void test_an_instance_sees_nothing_of_the_clients_own_business(void **state) {
    (void)state;
    expect_rewritten(
        "GET /a?b=%2F HTTP/1.1\r\nHost: h\r\nauthorization: Bearer t\r\nAuthorization: x\r\nX-USER-ID: u\r\n"
        "Proxy-Authorization: p\r\nX-Terminal-Context-Id: c\r\nx-terminals-route: r\r\nA: 1\r\nA: 2\r\n\r\n",
        "k", false,
        "GET /a?b=%2F HTTP/1.1\r\nHost: h\r\nA: 1\r\nA: 2\r\nAuthorization: Bearer k\r\nConnection: close\r\n"
        "\r\n");
}

static void test_connection_removes_what_it_names_but_not_what_we_rely_on(void **state) {
    (void)state;
    expect_rewritten("POST / HTTP/1.1\r\nHost: h\r\nConnection: close, a, Host\r\nConnection: content-length,, b\r\n"
                     "A: 1\r\nB: 2\r\nC: 3\r\nContent-Length: 1\r\nKeep-Alive: 1\r\nTE: trailers\r\nUpgrade: h2c\r\n"
                     "Proxy-Connection: x\r\n\r\n",
                     "", false, "POST / HTTP/1.1\r\nHost: h\r\nC: 3\r\nContent-Length: 1\r\nConnection: close\r\n\r\n");
}

static void test_an_upgrade_is_kept_where_it_may_be(void **state) {
    (void)state;
    expect_rewritten("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", "k", true,
                     "GET / HTTP/1.1\r\nAuthorization: Bearer k\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_end_of_a_head_is_found_where_it_is),
        cmocka_unit_test(test_a_request_is_taken_apart),
        cmocka_unit_test(test_lists_are_read_over_all_headers_of_a_name),
        cmocka_unit_test(test_what_is_doubtful_is_refused),
        cmocka_unit_test(test_too_many_headers_are_refused),
        cmocka_unit_test(test_an_answer_is_taken_apart),
        cmocka_unit_test(test_an_instance_sees_nothing_of_the_clients_own_business),
        cmocka_unit_test(test_connection_removes_what_it_names_but_not_what_we_rely_on),
        cmocka_unit_test(test_an_upgrade_is_kept_where_it_may_be),
    };
    return cmocka_run_group_tests_name("http head", tests, NULL, NULL);
}
