/* Asking the authorizer: FastCGI out, FastCGI in, and what the answer means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gate/authorizer_answer.h"
#include "gate/close_code.h"
#include "gate/fcgi_codec.h"

#define SIZE(list) (sizeof(list) / sizeof(list)[0])

static void test_a_request_is_what_the_specification_says(void **state) {
    (void)state;
    cleanup_buffer struct buffer params = {0};
    cleanup_buffer struct buffer out = {0};
    assert_true(fcgi_append_param(&params, "A", "bc", 2));
    assert_true(fcgi_append_request(&out, &params));
    static const unsigned char expected[] = {
        1, 1, 0, 1, 0, 8, 0, 0, 0, 2, 0,   0,   0,   0, 0, 0, /* BEGIN_REQUEST, authorizer, no keep-conn */
        1, 4, 0, 1, 0, 5, 0, 0, 1, 2, 'A', 'b', 'c',          /* PARAMS */
        1, 4, 0, 1, 0, 0, 0, 0,                               /* their end */
    };
    assert_int_equal(out.length, sizeof expected);
    assert_memory_equal(out.data, expected, sizeof expected);
}

static void test_long_values_are_encoded_and_cut_into_records(void **state) {
    (void)state;
    cleanup_buffer struct buffer value = {0};
    cleanup_buffer struct buffer params = {0};
    cleanup_buffer struct buffer out = {0};
    memset(buffer_reserve(&value, 70000), 'x', 70000);
    value.length = 70000;
    assert_true(fcgi_append_param(&params, "N", value.data, 127));
    assert_int_equal(params.length, 2 + 1 + 127);
    assert_true(fcgi_append_param(&params, "N", value.data, 128));
    assert_int_equal(params.length, 130 + 5 + 1 + 128);
    assert_int_equal((unsigned char)params.data[131], 0x80);
    assert_true(fcgi_append_param(&params, "N", value.data, value.length));
    assert_true(fcgi_append_request(&out, &params));

    size_t at = 16;
    size_t content = 0;
    size_t length = 0;
    do {
        const unsigned char *header = (const unsigned char *)out.data + at;
        length = (size_t)header[4] << 8 | header[5];
        assert_int_equal(header[1], 4);
        content += length;
        at += 8 + length + header[6];
    } while (length > 0);
    assert_int_equal(at, out.length);
    assert_int_equal(content, params.length);
}

/* STDOUT "Status: 200", STDERR "oops", an empty STDOUT with padding, END_REQUEST. */
static const unsigned char whole[] = {
    1, 6, 0, 1, 0, 11, 0, 0,   'S', 't', 'a', 't', 'u', 's', ':', ' ', '2', '0', '0', 1,
    7, 0, 1, 0, 4, 0,  0, 'o', 'o', 'p', 's', 1,   6,   0,   1,   0,   0,   3,   0,   9,
    9, 9, 1, 3, 0, 1,  0, 8,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
};

static void test_an_answer_may_come_in_any_pieces(void **state) {
    (void)state;
    for (size_t piece = 1; piece <= sizeof whole; piece++) {
        struct fcgi_decoder decoder = {0};
        for (size_t at = 0; at < sizeof whole; at += piece) {
            size_t length = sizeof whole - at < piece ? sizeof whole - at : piece;
            assert_false(decoder.ended);
            assert_true(fcgi_decoder_feed(&decoder, whole + at, length, NULL));
        }
        assert_true(decoder.ended);
        assert_string_equal(decoder.output.data, "Status: 200");
        assert_string_equal(decoder.errors.data, "oops");
        fcgi_decoder_free(&decoder);
    }
}

static void test_what_is_no_answer_to_us_is_refused(void **state) {
    (void)state;
    static const struct {
        unsigned char bytes[20];
        size_t length;
        enum error_code code;
    } bad[] = {
        {{2, 6, 0, 1, 0, 0, 0, 0}, 8, ERROR_BACKEND},
        {{1, 6, 0, 2, 0, 0, 0, 0}, 8, ERROR_BACKEND},
        {{1, 6, 1, 1, 0, 0, 0, 0}, 8, ERROR_BACKEND},
        {{1, 9, 0, 1, 0, 0, 0, 0}, 8, ERROR_BACKEND},
        {{1, 3, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 15, ERROR_BACKEND},
        {{1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0}, 16, ERROR_BACKEND},
        {{1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0}, 16, ERROR_CAPACITY},
        {{1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'x'}, 17, ERROR_BACKEND},
        {{'H', 'T', 'T', 'P', '/', '1', '.', '1'}, 8, ERROR_BACKEND},
    };
    for (size_t i = 0; i < SIZE(bad); i++) {
        struct fcgi_decoder decoder = {0};
        struct error err = {0};
        assert_false(fcgi_decoder_feed(&decoder, bad[i].bytes, bad[i].length, &err));
        assert_int_equal(err.code, bad[i].code);
        fcgi_decoder_free(&decoder);
    }
}

static void test_an_answer_is_bounded(void **state) {
    (void)state;
    struct fcgi_decoder decoder = {0};
    static unsigned char record[8 + 0xffff] = {1, 6, 0, 1, 0xff, 0xff, 0, 0};
    bool is_taken = true;
    int records = 0;
    while (is_taken) {
        is_taken = fcgi_decoder_feed(&decoder, record, sizeof record, NULL);
        assert_true(++records <= FCGI_OUTPUT_MAX_BYTES / 0xffff + 1);
    }
    fcgi_decoder_free(&decoder);

    record[1] = 7;
    for (int i = 0; i < 100; i++) {
        assert_true(fcgi_decoder_feed(&decoder, record, sizeof record, NULL));
    }
    assert_true(decoder.errors.length <= 0xffff);
    fcgi_decoder_free(&decoder);
}

static bool parse(struct authorizer_answer *answer, const char *text) {
    struct error err = {0};
    bool is_good = authorizer_answer_parse(answer, text, strlen(text), &err);
    assert_int_equal(err.code, is_good ? ERROR_NONE : ERROR_BACKEND);
    return is_good;
}

static void test_allowed(void **state) {
    (void)state;
    struct authorizer_answer answer;
    assert_true(parse(&answer,
                      "Status: 200 OK\r\nVariable-User:  a b \r\nvariable-policy: p\r\nVariable-Context: c:d\r\n"
                      "X-Other: y\r\n\r\n"));
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.user, " a b "); /* one space is the separator, the others are the user's */
    assert_string_equal(answer.policy, "p");
    assert_string_equal(answer.context, "c:d");
    authorizer_answer_free(&answer);
}

static void test_refused(void **state) {
    (void)state;
    struct authorizer_answer answer;
    assert_true(parse(&answer, "Status: 401\nWWW-Authenticate: Bearer\nRetry-After: 5\n\n{\"detail\": \"x\"}"));
    assert_int_equal(answer.status, 401);
    assert_string_equal(answer.www_authenticate, "Bearer");
    assert_string_equal(answer.retry_after, "5");
    assert_string_equal(answer.body, "{\"detail\": \"x\"}");
    assert_int_equal(answer.body_length, strlen(answer.body));
    authorizer_answer_free(&answer);
}

static void test_garbage_allows_nobody(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "\r\n",
        "Status: 200\r\n\r\n",
        "Status: 200\r\nVariable-User: u\r\nVariable-Policy: p\r\n\r\n",
        "Status: 200\r\nVariable-User: \r\nVariable-Policy: p\r\nVariable-Context: c\r\n\r\n",
        "Status: 200\r\nVariable-User: u\r\nVariable-Policy: p\r\nVariable-Context: c\r\n",
        "Status: 200\r\nVariable-User: u\r\nVariable-User: u\r\nVariable-Policy: p\r\nVariable-Context: c\r\n\r\n",
        "Status: 200\r\nVariable-User: \xff\r\nVariable-Policy: p\r\nVariable-Context: c\r\n\r\n",
        "Status: 200\r\nVariable-User: u\rv\r\nVariable-Policy: p\r\nVariable-Context: c\r\n\r\n",
        "Variable-User: u\r\nVariable-Policy: p\r\nVariable-Context: c\r\n\r\n",
        "Status: 201\r\nVariable-User: u\r\nVariable-Policy: p\r\nVariable-Context: c\r\n\r\n",
        "Status: 2000\r\n\r\n",
        "Status: 302\r\n\r\n",
        "Status: 403\r\nStatus: 200\r\n\r\n",
        "Status: 600\r\n\r\n",
        "Status: x\r\n\r\n",
        "no header\r\n\r\n",
    };
    for (size_t i = 0; i < SIZE(bad); i++) {
        struct authorizer_answer answer;
        if (parse(&answer, bad[i])) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}

static void test_close_codes(void **state) {
    (void)state;
    assert_int_equal(close_code_from_authorizer_status(401), 4001);
    assert_int_equal(close_code_from_authorizer_status(422), 4002);
    assert_int_equal(close_code_from_authorizer_status(400), 4003);
    assert_int_equal(close_code_from_authorizer_status(403), 4003);
    assert_int_equal(close_code_from_authorizer_status(429), 4003);
    assert_int_equal(close_code_from_authorizer_status(503), 4003);
    assert_int_equal(close_code_from_error(ERROR_NOT_FOUND), 4004);
    assert_int_equal(close_code_from_error(ERROR_UNAUTHORIZED), 4001);
    assert_int_equal(close_code_from_error(ERROR_BACKEND), 4003);
    assert_int_equal(close_code_from_error(ERROR_CAPACITY), 4003);
    assert_int_equal(close_code_from_instance_status(403), 4004);
    assert_int_equal(close_code_from_instance_status(404), 4004);
    assert_int_equal(close_code_from_instance_status(101), 4003);
    assert_int_equal(close_code_from_instance_status(500), 4003);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_is_what_the_specification_says),
        cmocka_unit_test(test_long_values_are_encoded_and_cut_into_records),
        cmocka_unit_test(test_an_answer_may_come_in_any_pieces),
        cmocka_unit_test(test_what_is_no_answer_to_us_is_refused),
        cmocka_unit_test(test_an_answer_is_bounded),
        cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_garbage_allows_nobody),
        cmocka_unit_test(test_close_codes),
    };
    return cmocka_run_group_tests_name("authorizer", tests, NULL, NULL);
}
