/* The line protocol between our processes: half lines, long lines, lines that are no objects; a provisioner that comes
 * late. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/ipc.h"
#include "common/ipc_client.h"
#include "common/unix_listener.h"

static void test_a_message_in_pieces(void **state) {
    (void)state;
    struct buffer input = {0};
    struct json_object *message = NULL;
    const char *text = "{\"id\":1,\"op\":\"ping\"}\n{\"id\":2}\n";
    int taken = 0;
    for (size_t i = 0; i < strlen(text); i++) {
        buffer_append(&input, text + i, 1);
        if (ipc_take_message(&input, 100, &message, NULL) == 1) {
            assert_int_equal(json_get_int(message, "id", 0), ++taken);
            json_object_put(message);
        }
    }
    assert_int_equal(taken, 2);
    assert_int_equal(input.length, 0);
    buffer_free(&input);
}

static void test_what_is_no_message(void **state) {
    (void)state;
    static const char *const bad[] = {"\n",         "[]\n",     "null\n",       "{\"a\":1}x\n", "{\"a\":\"\xff\"}\n",
                                      "{'a': 1}\n", "{\"a\"\n", "{\"a\":1,}\n", "\0{}\n",       "{\"a\":01}\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buffer input = {0};
        struct json_object *message = NULL;
        struct error err = {0};
        buffer_append_string(&input, bad[i]);
        if (bad[i][0] == '\0') {
            buffer_append(&input, "\0{}\n", 4);
        }
        assert_int_equal(ipc_take_message(&input, 100, &message, &err), -1);
        assert_null(message);
        assert_int_equal(err.code, ERROR_INVALID);
        buffer_free(&input);
    }
    struct buffer deep = {0};
    struct json_object *message = NULL;
    buffer_append_string(&deep, "{\"a\":");
    for (int i = 0; i < 10000; i++) {
        buffer_append_string(&deep, "[");
    }
    buffer_append_string(&deep, "\n");
    assert_int_equal(ipc_take_message(&deep, 1 << 20, &message, NULL), -1);
    assert_int_equal(ipc_take_message(&deep, 100, &message, NULL), -1); /* too long, complete or not */
    buffer_free(&deep);
}

struct peer {
    const char *path;
    const char *answer;
    char received[256];
};

/* Binds late, answers one request, and goes. */
static void *serve_one(void *argument) {
    struct peer *peer = argument;
    int listener = unix_listener_bind(peer->path, NULL);
    int fd = accept(listener, NULL, NULL);
    ssize_t got = read(fd, peer->received, sizeof peer->received - 1);
    peer->received[got > 0 ? got : 0] = '\0';
    if (write(fd, peer->answer, strlen(peer->answer)) < 0) {
        peer->received[0] = '\0';
    }
    close(fd);
    close(listener);
    return NULL;
}

static struct json_object *call(struct peer *peer, struct error *err) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/terminals-test-%d.sock", getpid());
    peer->path = path;
    struct ipc_client *client = ipc_client_new(path);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve_one, peer), 0);
    struct json_object *answer = ipc_client_call(client, ipc_request("ping"), 5000, err);
    pthread_join(thread, NULL);
    ipc_client_free(client);
    unlink(path);
    return answer;
}

static void test_a_call_waits_for_the_provisioner(void **state) {
    (void)state;
    struct peer peer = {.answer = "{\"id\":9,\"ok\":true}\n{\"id\":1,\"ok\":true,\"x\":7}\n"};
    struct error err = {0};
    struct json_object *answer = call(&peer, &err);
    assert_non_null(answer);
    assert_int_equal(json_get_int(answer, "x", 0), 7);
    assert_string_equal(peer.received, "{\"op\":\"ping\",\"id\":1}\n");
    json_object_put(answer);
}

/* A peer hangs up on what is no JSON: an instance's last words must not part the gate from the provisioner. */
static void test_bytes_that_are_no_text_break_no_message(void **state) {
    (void)state;
    cleanup_buffer struct buffer line = {0};
    struct json_object *message = NULL;
    struct json_object *read = NULL;
    struct error err = {0};
    error_set(&err, ERROR_BACKEND, "it said \xff\xc3\xa4\xc3");
    assert_string_equal(err.message, "it said ?\xc3\xa4?");
    message = ipc_answer(1);
    json_add_string(message, "error", "\xff x \xe2\x82");
    assert_true(ipc_append_message(&line, message));
    assert_int_equal(ipc_take_message(&line, 1000, &read, &err), 1);
    assert_string_equal(json_get_string(read, "error"), "? x ??");
    json_object_put(message);
    json_object_put(read);
}

static void test_what_users_are_told_of_an_error_comes_along(void **state) {
    (void)state;
    struct error err = {0};
    struct error read = {0};
    error_set(&err, ERROR_CAPACITY, "connect to db.internal");
    assert_string_equal(error_for_clients(&err), "connect to db.internal");
    error_veil(&err, "It is away");
    error_prefix(&err, "save alice");
    struct json_object *answer = ipc_error_answer(1, &err);
    assert_false(ipc_answer_ok(answer, &read));
    json_object_put(answer);
    assert_string_equal(read.message, "save alice: connect to db.internal");
    assert_string_equal(error_for_clients(&read), "It is away");
    error_set(&read, ERROR_INVALID, "another one"); /* has nothing to hide again */
    assert_string_equal(error_for_clients(&read), "another one");
}

static void test_errors_of_a_call(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        enum error_code code;
        const char *message;
    } cases[] = {
        {"{\"id\":1,\"ok\":false,\"code\":\"not_found\",\"detail\":\"no such tenant\"}\n", ERROR_NOT_FOUND,
         "no such tenant"},
        {"{\"id\":1", ERROR_CAPACITY, "terminals-provisioner ended before it answered"},
        {"garbage\n", ERROR_INTERNAL, NULL},
        {"{\"id\":1,\"ok\":false,\"code\":7}\n", ERROR_INTERNAL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct peer peer = {.answer = cases[i].answer};
        struct error err = {0};
        assert_null(call(&peer, &err));
        assert_int_equal(err.code, cases[i].code);
        if (cases[i].message != NULL) {
            assert_string_equal(err.message, cases[i].message);
        }
    }
    struct ipc_client *client = ipc_client_new("/nonexistent/socket");
    struct error err = {0};
    assert_null(ipc_client_call(client, ipc_request("ping"), 1, &err));
    assert_int_equal(err.code, ERROR_CAPACITY);
    ipc_client_free(client);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_in_pieces),
        cmocka_unit_test(test_what_is_no_message),
        cmocka_unit_test(test_a_call_waits_for_the_provisioner),
        cmocka_unit_test(test_errors_of_a_call),
        cmocka_unit_test(test_bytes_that_are_no_text_break_no_message),
        cmocka_unit_test(test_what_users_are_told_of_an_error_comes_along),
    };
    return cmocka_run_group_tests_name("ipc", tests, NULL, NULL);
}
