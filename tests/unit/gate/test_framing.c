/* Bodies and answers, cut anywhere: where a body ends, and where the real answer starts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gate/answer_scan.h"
#include "gate/body_framing.h"

#define SIZE(list) (sizeof(list) / sizeof(list)[0])

static struct body_framing scan(const char *text, size_t piece, size_t *taken) {
    static const struct http_head chunked = {.body = HTTP_BODY_CHUNKED};
    struct body_framing framing;
    body_framing_start(&framing, &chunked);
    size_t length = strlen(text);
    *taken = 0;
    while (*taken < length && !body_framing_is_done(&framing) && !body_framing_is_invalid(&framing)) {
        size_t step = length - *taken < piece ? length - *taken : piece;
        *taken += body_framing_scan(&framing, text + *taken, step);
    }
    return framing;
}

static void test_a_chunked_body_ends_where_it_ends(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t length;
        uint64_t data;
    } good[] = {
        {"0\r\n\r\n", 5, 0},
        {"0\r\n\r\nmore", 5, 0},
        {"5\r\nhello\r\n0\r\n\r\nGET /", 15, 5},
        {"05;a=\"b\"\r\nhello\r\n0;c\r\nTrailer: x\r\nB: y\r\n\r\n", 42, 5},
        {"A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n", 37, 20},
    };
    for (size_t i = 0; i < SIZE(good); i++) {
        for (size_t piece = 1; piece < 50; piece++) {
            size_t taken = 0;
            struct body_framing framing = scan(good[i].text, piece, &taken);
            assert_true(body_framing_is_done(&framing));
            assert_int_equal(taken, good[i].length);
            assert_int_equal(framing.data_size, good[i].data);
        }
    }
}

static void test_broken_chunks_are_seen(void **state) {
    (void)state;
    static const char *const bad[] = {"\r\n",        "x\r\n",    ";\r\n",    "-1\r\n",  "1\n",
                                      "1\r\nab",     "1\r\na\n", "0\r\n\rx", "0\r\n\n", "1000000000000000\r\n",
                                      "0x1\r\na\r\n"};
    for (size_t i = 0; i < SIZE(bad); i++) {
        for (size_t piece = 1; piece < 4; piece++) {
            size_t taken = 0;
            struct body_framing framing = scan(bad[i], piece, &taken);
            if (!body_framing_is_invalid(&framing)) {
                fail_msg("taken: %s", bad[i]);
            }
            assert_false(body_framing_is_done(&framing));
        }
    }
}

static void test_lines_between_chunks_are_bounded(void **state) {
    (void)state;
    static char text[20000];
    static const char *const starts[] = {"1;", "0\r\nA: "};
    for (size_t i = 0; i < SIZE(starts); i++) {
        memset(text, 'x', sizeof text - 1);
        memcpy(text, starts[i], strlen(starts[i]));
        size_t taken = 0;
        struct body_framing framing = scan(text, 1000, &taken);
        assert_true(body_framing_is_invalid(&framing));
        assert_true(taken < 9000);
    }
}

static void test_no_body_and_a_length(void **state) {
    (void)state;
    struct body_framing framing;
    const struct http_head none = {.body = HTTP_BODY_NONE};
    body_framing_start(&framing, &none);
    assert_true(body_framing_is_done(&framing));
    const struct http_head length = {.body = HTTP_BODY_LENGTH, .content_length = 5};
    body_framing_start(&framing, &length);
    assert_false(body_framing_is_done(&framing));
    assert_int_equal(framing.left, 5);
}

static void test_interim_answers_are_not_the_answer(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int status;
        size_t taken;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\n\r\nbody", 200, 12},
        {"HTTP/1.0 404 x", 404, 12},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", 200, 37},
        {"HTTP/1.1 103 H\r\nLink: a\r\n\r\r\n\r\nHTTP/1.1 500 x", 500, 42},
        {"HTTP/1.1 101 Switching\r\n", 101, 12},
        {"HTTP/1.1 100 Continue\r\n\r\n", 0, 25},
        {"HTTP/1.1 10", 0, 11},
        {"garbage", -1, 1},
        {"HTTP/1.1 2x0", -1, 11},
    };
    for (size_t i = 0; i < SIZE(rows); i++) {
        for (size_t piece = 1; piece < 50; piece++) {
            struct answer_scan scan = {0};
            size_t length = strlen(rows[i].text);
            size_t taken = 0;
            while (taken < length && scan.status == 0) {
                size_t step = length - taken < piece ? length - taken : piece;
                taken += answer_scan_feed(&scan, rows[i].text + taken, step);
            }
            assert_int_equal(scan.status, rows[i].status);
            assert_int_equal(taken, rows[i].taken);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_chunked_body_ends_where_it_ends),  cmocka_unit_test(test_broken_chunks_are_seen),
        cmocka_unit_test(test_lines_between_chunks_are_bounded),   cmocka_unit_test(test_no_body_and_a_length),
        cmocka_unit_test(test_interim_answers_are_not_the_answer),
    };
    return cmocka_run_group_tests_name("framing", tests, NULL, NULL);
}
