/* The socket, with peers that misbehave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/buffer.h"
#include "common/ipc.h"
#include "common/log.h"
#include "provisioner/ipc_server.h"
#include "tests/unit/provisioner/temporary_folder.h"

static char folder[64];
static struct event_base *base;
static struct ipc_server *server;
static struct ipc_call *held[20010];
static size_t held_count;
static int handled;
static struct buffer received;

/* `echo` answers at once, `hold` when the test says so, `big` with a lot. */
static void handle(void *argument, struct ipc_call *call, struct json_object *request) {
    (void)argument;
    handled++;
    const char *op = json_get_string(request, "op");
    if (strcmp(op, "hold") == 0) {
        held[held_count++] = call;
        return;
    }
    if (strcmp(op, "count") == 0) {
        ipc_call_report_websockets(call, json_get_int(request, "websockets", 0));
    }
    struct json_object *answer = ipc_call_new_answer(call);
    if (strcmp(op, "big") == 0) {
        static char text[512 * 1024];
        memset(text, 'x', sizeof text - 1);
        json_add_string(answer, "text", text);
    }
    ipc_call_answer(call, answer);
}

static int make(void **state) {
    struct error err;
    (void)state;
    log_configure("test", LOG_ERROR + 1, LOG_TEXT);
    held_count = 0;
    handled = 0;
    temporary_folder_make(folder);
    base = event_base_new();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/sock", folder);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 64) < 0) {
        return -1;
    }
    server = ipc_server_open(listener, base, handle, NULL, &err);
    return server == NULL ? -1 : 0;
}

static int remove_it(void **state) {
    (void)state;
    if (server != NULL) {
        ipc_server_close(server);
    }
    for (size_t i = 0; i < held_count; i++) {
        if (held[i] != NULL) {
            ipc_call_answer(held[i], ipc_call_new_answer(held[i]));
        }
    }
    event_base_free(base);
    buffer_free(&received);
    temporary_folder_remove(folder);
    return 0;
}

static int connect_peer(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/sock", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void turn(void) {
    for (int i = 0; i < 10; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
}

static void send_text(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    turn();
}

/* What the server has sent, as one text. */
static const char *receive(int fd) {
    turn();
    buffer_consume(&received, received.length);
    for (;;) {
        char *room = buffer_reserve(&received, 65536);
        ssize_t length = recv(fd, room, 65536, MSG_DONTWAIT);
        if (length <= 0) {
            break;
        }
        received.length += (size_t)length;
        received.data[received.length] = '\0';
        turn();
    }
    return received.length == 0 ? "" : received.data;
}

static bool is_dropped(int fd) {
    char byte;
    turn();
    ssize_t length;
    while ((length = recv(fd, &byte, 1, MSG_DONTWAIT)) > 0) {
    }
    return length == 0 || errno == ECONNRESET;
}

static void test_half_lines_and_many_lines(void **state) {
    (void)state;
    int fd = connect_peer();
    send_text(fd, "{\"id\": 1, \"op\"");
    assert_string_equal(receive(fd), "");
    send_text(fd, ": \"echo\"}\n{\"id\":2,\"op\":\"echo\"}\n{\"id\":3,");
    assert_string_equal(receive(fd), "{\"id\":1,\"ok\":true}\n{\"id\":2,\"ok\":true}\n");
    send_text(fd, "\"op\":\"echo\"}\n");
    assert_string_equal(receive(fd), "{\"id\":3,\"ok\":true}\n");
    close(fd);
}

static void test_answers_come_in_any_order(void **state) {
    (void)state;
    int fd = connect_peer();
    send_text(fd, "{\"id\":1,\"op\":\"hold\"}\n{\"id\":2,\"op\":\"echo\"}\n");
    assert_string_equal(receive(fd), "{\"id\":2,\"ok\":true}\n");
    ipc_call_answer(held[0], ipc_call_new_answer(held[0]));
    held[0] = NULL;
    assert_string_equal(receive(fd), "{\"id\":1,\"ok\":true}\n");
    close(fd);
}

static void test_nonsense_drops_the_peer_and_no_other(void **state) {
    (void)state;
    static const char *const lines[] = {
        "hello\n",
        "[]\n",
        "\n",
        "{}\n",
        "{\"id\":-1,\"op\":\"echo\"}\n",
        "{\"id\":\"1\",\"op\":\"echo\"}\n",
        "{\"id\":1.5,\"op\":\"echo\"}\n",
        "{\"id\":1,\"op\":\"echo\"} x\n",
        "\xff\xfe\n",
    };
    int good = connect_peer();
    send_text(good, "{\"id\":1,\"op\":\"echo\"}\n");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        int bad = connect_peer();
        send_text(bad, lines[i]);
        if (!is_dropped(bad)) {
            fail_msg("not dropped after %s", lines[i]);
        }
        close(bad);
    }
    assert_int_equal(handled, 1);
    send_text(good, "{\"id\":2,\"op\":\"echo\"}\n");
    assert_string_equal(receive(good), "{\"id\":1,\"ok\":true}\n{\"id\":2,\"ok\":true}\n");
    close(good);
}

static void test_a_line_without_an_end_is_bounded(void **state) {
    (void)state;
    int fd = connect_peer();
    char block[8192];
    memset(block, ' ', sizeof block);
    ssize_t sent = 0;
    size_t total = 0;
    while (total < (size_t)4 * IPC_REQUEST_MAX_BYTES &&
           (sent = send(fd, block, sizeof block, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0) {
        total += (size_t)sent;
        turn();
    }
    assert_true(total < (size_t)2 * IPC_REQUEST_MAX_BYTES);
    assert_true(is_dropped(fd));
    close(fd);
}

static void test_a_peer_that_goes_away_loses_only_its_answers(void **state) {
    (void)state;
    int fd = connect_peer();
    send_text(fd, "{\"id\":1,\"op\":\"hold\"}\n{\"id\":2,\"op\":\"hold\"}\n");
    assert_int_equal(held_count, 2);
    close(fd);
    turn();
    /* The second stays held until after the server is closed. */
    ipc_call_answer(held[0], ipc_call_new_answer(held[0]));
    held[0] = NULL;
    int other = connect_peer();
    send_text(other, "{\"id\":1,\"op\":\"echo\"}\n");
    assert_string_equal(receive(other), "{\"id\":1,\"ok\":true}\n");
    close(other);
}

static void test_a_peer_that_does_not_read_is_not_read_either(void **state) {
    (void)state;
    int fd = connect_peer();
    /* 200 answers of 512 KB: 100 MB, were they all made. */
    for (int i = 0; i < 200; i++) {
        char line[64];
        snprintf(line, sizeof line, "{\"id\":%d,\"op\":\"big\"}\n", i);
        send_text(fd, line);
    }
    assert_true(handled < 10);
    int64_t answers = 0;
    for (int rounds = 0; rounds < 1000 && answers < 200; rounds++) {
        for (const char *text = receive(fd); (text = strchr(text, '\n')) != NULL; text++) {
            answers++;
        }
    }
    assert_int_equal(answers, 200);
    assert_int_equal(handled, 200);
    close(fd);
}

static void test_a_peer_that_asks_without_end_is_told_to_stop(void **state) {
    (void)state;
    int fd = connect_peer();
    for (int i = 0; i < IPC_CALLS_PER_PEER_MAX; i++) {
        char line[64];
        snprintf(line, sizeof line, "{\"id\":%d,\"op\":\"hold\"}\n", i);
        assert_true(send(fd, line, strlen(line), MSG_NOSIGNAL) > 0);
        if (i % 100 == 0) {
            turn();
        }
    }
    turn();
    assert_int_equal(held_count, IPC_CALLS_PER_PEER_MAX);
    send_text(fd, "{\"id\":99999,\"op\":\"hold\"}\n");
    assert_non_null(strstr(receive(fd), "\"code\":\"capacity\""));
    assert_int_equal(held_count, IPC_CALLS_PER_PEER_MAX);
    close(fd);
}

static void test_websockets_are_summed_and_forgotten_with_their_peer(void **state) {
    (void)state;
    int a = connect_peer();
    int b = connect_peer();
    assert_false(ipc_server_has_reporter(server));
    send_text(a, "{\"id\":1,\"op\":\"count\",\"websockets\":3}\n");
    send_text(b, "{\"id\":1,\"op\":\"count\",\"websockets\":4}\n");
    assert_int_equal(ipc_server_websockets(server), 7);
    assert_true(ipc_server_has_reporter(server));
    close(a);
    turn();
    assert_int_equal(ipc_server_websockets(server), 4);
    close(b);
    turn();
    assert_false(ipc_server_has_reporter(server));
}

static void test_too_many_peers_wait_in_the_backlog(void **state) {
    (void)state;
    static int peers[IPC_PEERS_MAX];
    for (int i = 0; i < IPC_PEERS_MAX; i++) {
        peers[i] = connect_peer();
        turn();
    }
    int late = connect_peer();
    send_text(late, "{\"id\":1,\"op\":\"echo\"}\n");
    assert_string_equal(receive(late), "");
    for (int i = 0; i < IPC_PEERS_MAX; i++) {
        close(peers[i]);
    }
    while (receive(late)[0] == '\0') {
        event_base_loop(base, EVLOOP_ONCE);
    }
    close(late);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_half_lines_and_many_lines, make, remove_it),
        cmocka_unit_test_setup_teardown(test_answers_come_in_any_order, make, remove_it),
        cmocka_unit_test_setup_teardown(test_nonsense_drops_the_peer_and_no_other, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_line_without_an_end_is_bounded, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_peer_that_goes_away_loses_only_its_answers, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_peer_that_does_not_read_is_not_read_either, make, remove_it),
        cmocka_unit_test_setup_teardown(test_a_peer_that_asks_without_end_is_told_to_stop, make, remove_it),
        cmocka_unit_test_setup_teardown(test_websockets_are_summed_and_forgotten_with_their_peer, make, remove_it),
        cmocka_unit_test_setup_teardown(test_too_many_peers_wait_in_the_backlog, make, remove_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
