/* Frames, first messages, handshakes and queries of terminals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <stdlib.h>

#include "common/cleanup.h"
#include "common/secret.h"
#include "gate/query.h"
#include "gate/websocket_handshake.h"
#include "gate/websocket_message.h"

#define SIZE(list) (sizeof(list) / sizeof(list)[0])

static const unsigned char mask[WEBSOCKET_MASK_BYTES] = {1, 2, 3, 4};

static void test_frames_of_all_sizes_survive_a_round_trip(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 1000000};
    for (size_t i = 0; i < SIZE(sizes); i++) {
        for (int is_masked = 0; is_masked < 2; is_masked++) {
            cleanup_buffer struct buffer payload = {0};
            cleanup_buffer struct buffer out = {0};
            memset(buffer_reserve(&payload, sizes[i]), 'p', sizes[i]);
            payload.length = sizes[i];
            assert_true(
                websocket_frame_append(&out, WEBSOCKET_BINARY, payload.data, payload.length, is_masked ? mask : NULL));
            struct websocket_frame frame;
            assert_int_equal(websocket_frame_parse(&frame, out.data, out.length), WEBSOCKET_PARSE_DONE);
            for (size_t cut = 0; cut < frame.header_length; cut++) {
                struct websocket_frame partial;
                assert_int_equal(websocket_frame_parse(&partial, out.data, cut), WEBSOCKET_PARSE_MORE);
            }
            assert_true(frame.is_final);
            assert_int_equal(frame.is_masked, is_masked);
            assert_int_equal(frame.opcode, WEBSOCKET_BINARY);
            assert_int_equal(frame.payload_length, sizes[i]);
            assert_int_equal(frame.header_length + frame.payload_length, out.length);
            if (is_masked) {
                websocket_mask(out.data + frame.header_length, sizes[i], frame.mask);
            }
            assert_memory_equal(out.data + frame.header_length, payload.data, sizes[i]);
        }
    }
}

static void test_frames_against_the_protocol_are_seen(void **state) {
    (void)state;
    static const struct {
        unsigned char bytes[14];
        size_t length;
    } bad[] = {
        {{0xc1, 0x80}, 2}, /* a reserved bit */
        {{0x83, 0x80}, 2}, /* unknown opcodes */
        {{0x8b, 0x80}, 2},
        {{0x09, 0x80}, 2},                     /* a fragmented ping */
        {{0x89, 0xfe, 0, 126, 0, 0, 0, 0}, 8}, /* a long one */
        {{0x81, 0xfe, 0, 125, 0, 0, 0, 0}, 8}, /* not the shortest length */
        {{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}, 14},
        {{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 14}, /* the top bit */
    };
    for (size_t i = 0; i < SIZE(bad); i++) {
        struct websocket_frame frame;
        assert_int_equal(websocket_frame_parse(&frame, bad[i].bytes, bad[i].length), WEBSOCKET_PARSE_INVALID);
    }
}

static void test_close_frames(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    assert_true(websocket_close_append(&out, 4001, "no"));
    assert_int_equal(out.length, 6);
    assert_memory_equal(out.data, "\x88\x04\x0f\xa1no", 6);
    out.length = 0;
    assert_true(websocket_close_append(&out, 0, ""));
    assert_memory_equal(out.data, "\x88\x00", 2);
    out.length = 0;
    char reason[200];
    memset(reason, 'r', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    assert_true(websocket_close_append(&out, 1000, reason));
    assert_int_equal(out.length, 2 + 125);
}

/* "te" PING "p" "xt", fragmented. */
static void append_fragmented(struct buffer *out) {
    websocket_frame_append(out, WEBSOCKET_TEXT, "te", 2, mask);
    out->data[0] &= 0x7f;
    websocket_frame_append(out, WEBSOCKET_PING, "p", 1, mask);
    size_t last = out->length;
    websocket_frame_append(out, WEBSOCKET_CONTINUATION, "xt", 2, mask);
    assert_true(last > 0);
}

static void test_a_message_is_put_together_whatever_the_pieces(void **state) {
    (void)state;
    cleanup_buffer struct buffer bytes = {0};
    append_fragmented(&bytes);
    for (size_t piece = 1; piece <= bytes.length; piece++) {
        struct message_reader reader = {0};
        size_t length = 0;
        int pings = 0;
        enum message_event event = MESSAGE_MORE;
        while (event != MESSAGE_TEXT) {
            event = message_reader_next(&reader, bytes.data, length);
            if (event == MESSAGE_PING) {
                pings++;
                assert_int_equal(reader.control_length, 1);
                assert_int_equal(reader.control[0], 'p');
            } else if (event == MESSAGE_MORE) {
                assert_true(length < bytes.length);
                length = length + piece < bytes.length ? length + piece : bytes.length;
            }
        }
        assert_int_equal(pings, 1);
        assert_int_equal(reader.position, bytes.length);
        assert_string_equal(reader.payload.data, "text");
        message_reader_free(&reader);
    }
}

static enum message_event first_event(const void *bytes, size_t length) {
    struct message_reader reader = {0};
    enum message_event event = message_reader_next(&reader, bytes, length);
    message_reader_free(&reader);
    return event;
}

static void test_what_a_first_frame_may_be(void **state) {
    (void)state;
    assert_int_equal(first_event("\x81\x00", 2), MESSAGE_INVALID);         /* unmasked */
    assert_int_equal(first_event("\x80\x80\0\0\0\0", 6), MESSAGE_INVALID); /* a continuation of nothing */
    assert_int_equal(first_event("\x82\x85\0\0\0\0", 6), MESSAGE_BINARY);  /* known by its header */
    assert_int_equal(first_event("\x88\x80\0\0\0\0", 6), MESSAGE_CLOSE);
    assert_int_equal(first_event("\x8a\x80\0\0\0\0", 6), MESSAGE_PONG);
    assert_int_equal(first_event("\x81\x80\0\0\0\0", 6), MESSAGE_TEXT);
    assert_int_equal(first_event("\x81\xff\0\0\0\0\0\1\0\0\0\0\0\0", 14), MESSAGE_MORE); /* 64 KiB are allowed */
    assert_int_equal(first_event("\x81\xff\0\0\0\0\0\1\0\1\0\0\0\0", 14), MESSAGE_TOO_BIG);
    /* A second text message inside the first. */
    assert_int_equal(first_event("\x01\x80\0\0\0\0\x81\x80\0\0\0\0", 12), MESSAGE_INVALID);
}

static enum message_shape shape(const char *text, size_t announced) {
    cleanup_buffer struct buffer bytes = {0};
    cleanup_buffer struct buffer padded = {0};
    struct message_reader reader = {0};
    memset(buffer_reserve(&padded, announced), 'x', announced);
    memcpy(padded.data, text, strlen(text));
    websocket_frame_append(&bytes, WEBSOCKET_TEXT, padded.data, announced, mask);
    size_t there = bytes.length - announced + strlen(text);
    enum message_event event = message_reader_next(&reader, bytes.data, there);
    assert_true(event == MESSAGE_MORE || event == MESSAGE_TOO_BIG);
    return message_reader_shape(&reader, bytes.data, there);
}

static void test_only_what_may_become_an_object_must_be_held(void **state) {
    (void)state;
    assert_int_equal(shape("", 100), MESSAGE_SHAPE_UNKNOWN);
    assert_int_equal(shape(" \t\r\n", 100), MESSAGE_SHAPE_UNKNOWN);
    assert_int_equal(shape(" {", 100), MESSAGE_SHAPE_OBJECT);
    assert_int_equal(shape("l", 100), MESSAGE_SHAPE_OTHER);
    assert_int_equal(shape("l", 1000000), MESSAGE_SHAPE_OTHER);
    assert_int_equal(shape("{", 1000000), MESSAGE_SHAPE_OBJECT);
}

static void test_auth_messages(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum auth_message kind;
    } rows[] = {
        {"{\"type\":\"auth\",\"token\":\"t0ken\"}", AUTH_MESSAGE_VALID},
        {" {\"token\": \"t0ken\", \"more\": 1, \"type\": \"auth\"} ", AUTH_MESSAGE_VALID},
        {"{\"type\":\"auth\"}", AUTH_MESSAGE_BAD_TOKEN},
        {"{\"type\":\"auth\",\"token\":\"\"}", AUTH_MESSAGE_BAD_TOKEN},
        {"{\"type\":\"auth\",\"token\":null}", AUTH_MESSAGE_BAD_TOKEN},
        {"{\"type\":\"auth\",\"token\":[\"a\"]}", AUTH_MESSAGE_BAD_TOKEN},
        {"{\"type\":\"auth\",\"token\":\"a b\"}", AUTH_MESSAGE_BAD_TOKEN},
        {"{\"type\":\"auth\",\"token\":\"a\\r\\nb\"}", AUTH_MESSAGE_BAD_TOKEN},
        {"{\"type\":\"auth\",\"token\":\"\\u00e9\"}", AUTH_MESSAGE_BAD_TOKEN},
        {"{\"type\":\"auth\",\"token\":\"a\\u0000b\"}", AUTH_MESSAGE_BAD_TOKEN},
        {"{\"type\":\"Auth\",\"token\":\"a\"}", AUTH_MESSAGE_OTHER},
        {"{\"type\":1,\"token\":\"a\"}", AUTH_MESSAGE_OTHER},
        {"[{\"type\":\"auth\",\"token\":\"a\"}]", AUTH_MESSAGE_OTHER},
        {"{\"type\":\"auth\",\"token\":\"a\"}x", AUTH_MESSAGE_OTHER},
        {"{\"type\":\"auth\",\"token\":\"a\"", AUTH_MESSAGE_OTHER},
        {"\"auth\"", AUTH_MESSAGE_OTHER},
        {"", AUTH_MESSAGE_OTHER},
    };
    for (size_t i = 0; i < SIZE(rows); i++) {
        cleanup_secret char *token = NULL;
        assert_int_equal(auth_message_parse(rows[i].text, strlen(rows[i].text), &token), rows[i].kind);
        if (rows[i].kind == AUTH_MESSAGE_VALID) {
            assert_string_equal(token, "t0ken");
        } else {
            assert_null(token);
        }
    }
}

#define HEAD(target, more)                                                                                             \
    "GET " target " HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"                  \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" more "\r\n"

static struct http_head parse(const char *text) {
    struct http_head head;
    assert_true(http_head_parse_request(&head, text, strlen(text), NULL));
    return head;
}

static void test_which_paths_are_terminals(void **state) {
    (void)state;
    struct span session;
    struct http_head head = parse(HEAD("/api/terminals/s%201?x=/", ""));
    assert_true(websocket_is_upgrade(&head));
    assert_true(websocket_is_terminal(&head, &session));
    assert_true(span_equals(session, "s%201"));
    head = parse(HEAD("/api/terminals/", ""));
    assert_false(websocket_is_terminal(&head, &session));
    head = parse(HEAD("/api/terminals/a/b", ""));
    assert_false(websocket_is_terminal(&head, &session));
    head = parse(HEAD("/x/api/terminals/a", ""));
    assert_false(websocket_is_terminal(&head, &session));
}

/* The example of RFC 6455 §1.3. */
static void test_our_accept_is_right(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    struct http_head head = parse(HEAD("/api/terminals/a", ""));
    int status = 0;
    assert_true(websocket_check_request(&head, &status, NULL));
    assert_true(websocket_append_accept(&out, &head));
    assert_non_null(strstr(out.data, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
}

struct claim_row {
    const char *text;
    const char *authorization;
    const char *user_id;
    enum error_code code;
};

static void test_who_a_client_says_it_is(void **state) {
    (void)state;
    static const struct claim_row rows[] = {
        {HEAD("/api/terminals/a", ""), NULL, NULL, ERROR_NONE},
        {HEAD("/api/terminals/a?token=t%2B1&user_id=a%40b+c", ""), "Bearer t+1", "a@b c", ERROR_NONE},
        {HEAD("/api/terminals/a?t%6fken=x", ""), "Bearer x", NULL, ERROR_NONE},
        {HEAD("/api/terminals/a?token=x", "Authorization: Bearer y\r\n"), NULL, NULL, ERROR_NONE},
        {HEAD("/api/terminals/a?user_id=u", "X-User-Id: u\r\n"), NULL, NULL, ERROR_NONE},
        {HEAD("/api/terminals/a?user_id=u", "X-User-Id: v\r\n"), NULL, NULL, ERROR_INVALID},
        {HEAD("/api/terminals/a?user_id=u&user_id=u", ""), NULL, "u", ERROR_NONE},
        {HEAD("/api/terminals/a?user_id=u&user_id=v", ""), NULL, NULL, ERROR_INVALID},
        {HEAD("/api/terminals/a?user_id=u%00v", ""), NULL, NULL, ERROR_INVALID},
        {HEAD("/api/terminals/a?user_id", ""), NULL, "", ERROR_NONE},
        {HEAD("/api/terminals/a?user_id=%zz%4", ""), NULL, "%zz%4", ERROR_NONE},
        {HEAD("/api/terminals/a?token=a&token=b", ""), NULL, NULL, ERROR_UNAUTHORIZED},
        {HEAD("/api/terminals/a?context_id=chat:1", "X-Terminal-Context-Id: chat:1\r\n"), NULL, NULL, ERROR_NONE},
        {HEAD("/api/terminals/a?context_id=chat:1", "X-Terminal-Context-Id: chat:2\r\n"), NULL, NULL, ERROR_INVALID},
        {HEAD("/api/terminals/a?context_id=a&context_id=b", ""), NULL, NULL, ERROR_INVALID},
        {HEAD("/api/terminals/a?token=", ""), NULL, NULL, ERROR_UNAUTHORIZED},
        {HEAD("/api/terminals/a?token=a%0d%0ab", ""), NULL, NULL, ERROR_UNAUTHORIZED},
        {HEAD("/api/terminals/a?token=%c3%a9", ""), NULL, NULL, ERROR_UNAUTHORIZED},
    };
    for (size_t i = 0; i < SIZE(rows); i++) {
        struct http_head head = parse(rows[i].text);
        struct websocket_claims claims;
        struct error err = {0};
        assert_int_equal(websocket_read_claims(&claims, &head, &err), rows[i].code == ERROR_NONE);
        assert_int_equal(err.code, rows[i].code);
        assert_int_equal(claims.authorization == NULL, rows[i].authorization == NULL);
        assert_int_equal(claims.user_id == NULL, rows[i].user_id == NULL);
        if (claims.authorization != NULL) {
            assert_string_equal(claims.authorization, rows[i].authorization);
        }
        if (claims.user_id != NULL) {
            assert_string_equal(claims.user_id, rows[i].user_id);
        }
        websocket_claims_free(&claims);
    }
}

static void test_a_browser_says_the_context_in_the_query(void **state) {
    (void)state;
    struct http_head head = parse(HEAD("/api/terminals/a?user_id=u&context_id=chat%3A7", ""));
    struct websocket_claims claims;
    assert_true(websocket_read_claims(&claims, &head, NULL));
    assert_string_equal(claims.user_id, "u");
    assert_string_equal(claims.context_id, "chat:7");
    websocket_claims_free(&claims);
}

static void test_what_an_instance_sees_of_the_target(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *target;
    } rows[] = {
        {HEAD("/api/terminals/a", ""), "/api/terminals/a"},
        {HEAD("/api/terminals/a?", ""), "/api/terminals/a?"},
        {HEAD("/api/terminals/a?token=x", ""), "/api/terminals/a"},
        {HEAD("/api/terminals/a?token=x&user_id=u", ""), "/api/terminals/a"},
        {HEAD("/api/terminals/a?context_id=chat:1&x=1", ""), "/api/terminals/a?x=1"},
        {HEAD("/api/terminals/a?b=%2F&token=x&&c&to%6ben=y", ""), "/api/terminals/a?b=%2F&&c"},
        {HEAD("/api/terminals/a?tokens=x", ""), "/api/terminals/a?tokens=x"},
    };
    for (size_t i = 0; i < SIZE(rows); i++) {
        cleanup_buffer struct buffer out = {0};
        struct http_head head = parse(rows[i].text);
        assert_true(websocket_append_target(&out, &head));
        assert_string_equal(out.data, rows[i].target);
    }
}

static void test_our_own_handshake(void **state) {
    (void)state;
    cleanup_buffer struct buffer out = {0};
    struct http_head head = parse(HEAD("/api/terminals/a?token=x&b=1",
                                       "Origin: o\r\nCookie: c\r\nX-User-Id: u\r\nAuthorization: Bearer x\r\n"
                                       "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
    assert_true(websocket_append_request(&out, &head, "127.0.0.1:1", "dGhlIHNhbXBsZSBub25jZQ=="));
    assert_string_equal(out.data, "GET /api/terminals/a?b=1 HTTP/1.1\r\nHost: h\r\nOrigin: o\r\nCookie: c\r\n"
                                  "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    char key[WEBSOCKET_KEY_SIZE];
    char other[WEBSOCKET_KEY_SIZE];
    assert_true(websocket_random_key(key) && websocket_random_key(other));
    assert_int_equal(strlen(key), 24);
    assert_string_not_equal(key, other);
}

#define ANSWER(accept, more)                                                                                           \
    "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " accept "\r\n" more "\r\n"

static void test_an_instances_answer_is_checked(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool is_good;
    } rows[] = {
        {ANSWER("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", ""), true},
        {ANSWER("s3pPLMBiTxaQ9kYGzzhZRbK+xOO=", ""), false},
        {ANSWER("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Extensions: x\r\n"), false},
        {ANSWER("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Protocol: x\r\n"), false},
        {"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", false},
        {"HTTP/1.1 200 x\r\n\r\n", false},
    };
    for (size_t i = 0; i < SIZE(rows); i++) {
        struct http_head answer;
        assert_true(http_head_parse_answer(&answer, rows[i].text, strlen(rows[i].text), NULL));
        assert_int_equal(websocket_check_answer(&answer, "dGhlIHNhbXBsZSBub25jZQ=="), rows[i].is_good);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_of_all_sizes_survive_a_round_trip),
        cmocka_unit_test(test_frames_against_the_protocol_are_seen),
        cmocka_unit_test(test_close_frames),
        cmocka_unit_test(test_a_message_is_put_together_whatever_the_pieces),
        cmocka_unit_test(test_what_a_first_frame_may_be),
        cmocka_unit_test(test_only_what_may_become_an_object_must_be_held),
        cmocka_unit_test(test_auth_messages),
        cmocka_unit_test(test_which_paths_are_terminals),
        cmocka_unit_test(test_our_accept_is_right),
        cmocka_unit_test(test_who_a_client_says_it_is),
        cmocka_unit_test(test_a_browser_says_the_context_in_the_query),
        cmocka_unit_test(test_what_an_instance_sees_of_the_target),
        cmocka_unit_test(test_our_own_handshake),
        cmocka_unit_test(test_an_instances_answer_is_checked),
    };
    return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
