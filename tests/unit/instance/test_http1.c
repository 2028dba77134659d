#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "instance/http1.h"

struct fields {
    size_t count;
    char last[64];
};

static void note(void *state, const char *name, const char *value) {
    struct fields *fields = state;
    fields->count++;
    strncpy(fields->last, name, sizeof fields->last - 1);
    (void)value;
}

static bool parse(const char *text, bool is_head, struct http1_head *head, struct fields *fields) {
    char copy[512];
    strcpy(copy, text);
    *fields = (struct fields){0};
    size_t length = http1_find_head_end(copy, strlen(copy));
    return length > 0 && http1_parse_head(copy, length, is_head, head, note, fields);
}

static void test_framing_is_recognized(void **state) {
    (void)state;
    struct http1_head head;
    struct fields fields;
    assert_true(parse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b \r\n\r\n", false, &head, &fields));
    assert_int_equal(head.status, 200);
    assert_int_equal(head.framing, HTTP1_LENGTH);
    assert_int_equal(head.length, 5);
    assert_int_equal(fields.count, 1);
    assert_string_equal(fields.last, "X-A");
    assert_true(
        parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 5\r\n\r\n", false, &head, &fields));
    assert_int_equal(head.framing, HTTP1_CHUNKED);
    assert_true(parse("HTTP/1.0 404\r\n\r\n", false, &head, &fields));
    assert_int_equal(head.framing, HTTP1_UNTIL_CLOSE);
    assert_true(parse("HTTP/1.1 204 No\r\n\r\n", false, &head, &fields));
    assert_int_equal(head.framing, HTTP1_LENGTH);
    assert_int_equal(head.length, 0);
    assert_true(parse("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", true, &head, &fields));
    assert_int_equal(head.length, 7);
}

static void test_hop_by_hop_fields_stay_here(void **state) {
    (void)state;
    struct http1_head head;
    struct fields fields;
    assert_true(parse("HTTP/1.1 200 OK\r\nconnection: x\r\nKeep-Alive: 5\r\nUpgrade: a\r\nDate: now\r\nTE: a\r\n\r\n",
                      false, &head, &fields));
    assert_int_equal(fields.count, 0);
}

static void test_nonsense_is_no_head(void **state) {
    (void)state;
    struct http1_head head;
    struct fields fields;
    const char *const heads[] = {"garbage\r\n\r\n",
                                 "HTTP/1.1 999 x\r\n\r\n",
                                 "HTTP/2 200 x\r\n\r\n",
                                 "HTTP/1.1 2x0 x\r\n\r\n",
                                 "\r\n\r\n",
                                 "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
                                 "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
                                 "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                                 "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
                                 "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n",
                                 "HTTP/1.1 200 OK\r\n"};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        assert_false(parse(heads[i], false, &head, &fields));
    }
}

/* Feeds `text` in pieces of `step` bytes and returns whether it was fine, with the content in `out`. */
static bool read_all(struct http1_body *body, const char *text, size_t step, char *out, size_t *out_length) {
    *out_length = 0;
    size_t length = strlen(text);
    for (size_t at = 0; at < length && !body->is_complete;) {
        size_t piece = length - at < step ? length - at : step;
        size_t used = 0;
        ptrdiff_t content = http1_read_body(body, text + at, piece, &used, out + *out_length, step);
        if (content < 0) {
            return false;
        }
        *out_length += (size_t)content;
        at += used;
    }
    return true;
}

static void test_chunks_are_put_together_however_they_come(void **state) {
    (void)state;
    for (size_t step = 1; step < 40; step++) {
        struct http1_body body = {.framing = HTTP1_CHUNKED};
        char out[64];
        size_t length;
        assert_true(
            read_all(&body, "5\r\nhello\r\nA;x=y\r\n, world...\r\n0\r\nTrailer: x\r\n\r\nHTTP", step, out, &length));
        assert_true(body.is_complete);
        assert_int_equal(length, 15);
        assert_memory_equal(out, "hello, world...", 15);
    }
}

static void test_broken_chunks_are_noticed(void **state) {
    (void)state;
    const char *const bodies[] = {"x\r\n", "-1\r\n", "3\r\nabcd\r\n", "ffffffffffffffffff\r\n"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct http1_body body = {.framing = HTTP1_CHUNKED};
        char out[64];
        size_t length;
        assert_false(read_all(&body, bodies[i], 8, out, &length));
    }
}

static void test_a_length_ends_the_body(void **state) {
    (void)state;
    struct http1_body body = {.framing = HTTP1_LENGTH, .left = 3};
    char out[8];
    size_t used;
    assert_int_equal(http1_read_body(&body, "abcdef", 6, &used, out, sizeof out), 3);
    assert_int_equal(used, 3);
    assert_true(body.is_complete);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_framing_is_recognized),
        cmocka_unit_test(test_hop_by_hop_fields_stay_here),
        cmocka_unit_test(test_nonsense_is_no_head),
        cmocka_unit_test(test_chunks_are_put_together_however_they_come),
        cmocka_unit_test(test_broken_chunks_are_noticed),
        cmocka_unit_test(test_a_length_ends_the_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
