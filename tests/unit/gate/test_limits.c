/* How long the gate waits, with limits of milliseconds: a whole gate in this process, whose peers are away or silent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/unix_listener.h"
#include "gate/connection.h"

#define SHORT_MS 40
#define LONG_MS  60000

#define HEAD "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define TERMINAL                                                                                                       \
    "GET /api/terminals/a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                        \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define WITH_TOKEN "Authorization: Bearer t\r\n"

struct world {
    char folder[64];
    struct settings settings;
    struct event_base *base;
    struct gate *gate;
    int authorizer; /* listening sockets, -1: nobody there */
    int provisioner;
    struct event *on_authorizer;
};

static int listen_in(const struct world *world, const char *file) {
    char path[128];
    struct error err = {0};
    snprintf(path, sizeof path, "%s/%s", world->folder, file);
    int fd = unix_listener_bind(path, &err);
    assert_true(fd >= 0);
    return fd;
}

static struct gate_limits long_limits(void) {
    return (struct gate_limits){.head = LONG_MS,
                                .auth_message = LONG_MS,
                                .authorizer_retry = LONG_MS,
                                .authorizer = LONG_MS,
                                .provisioner_away = LONG_MS,
                                .lookup = LONG_MS,
                                .health = LONG_MS,
                                .linger = SHORT_MS,
                                .stream_end = SHORT_MS,
                                .shutdown = SHORT_MS};
}

static void start(struct world *world, const struct gate_limits *limits) {
    char run_dir[128];
    struct error err = {0};
    snprintf(run_dir, sizeof run_dir, "TERMINALS_RUN_DIR=%s", world->folder);
    const char *environment[] = {run_dir, NULL};
    log_configure("gate", LOG_ERROR, LOG_TEXT);
    assert_true(settings_parse(&world->settings, environment, NULL, NULL, &err));
    world->base = event_base_new();
    assert_non_null(world->base);
    world->gate = gate_new(world->base, &world->settings, limits, &err);
    assert_non_null(world->gate);
}

static int setup(void **state) {
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    strcpy(world->folder, "/tmp/test-limits-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    world->authorizer = world->provisioner = -1;
    *state = world;
    return 0;
}

static void unlink_in(const struct world *world, const char *file) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", world->folder, file);
    unlink(path);
}

static int teardown(void **state) {
    struct world *world = *state;
    gate_free(world->gate);
    if (world->on_authorizer != NULL) {
        event_free(world->on_authorizer);
    }
    event_base_free(world->base);
    settings_free(&world->settings);
    if (world->authorizer >= 0) {
        close(world->authorizer);
    }
    if (world->provisioner >= 0) {
        close(world->provisioner);
    }
    unlink_in(world, "api-auth.sock");
    unlink_in(world, "provisioner.sock");
    assert_int_equal(rmdir(world->folder), 0);
    free(world);
    return 0;
}

struct client {
    int fd;
    struct buffer got;
    struct event_base *base;
};

static void on_client(evutil_socket_t fd, short what, void *context) {
    (void)what;
    struct client *client = context;
    char bytes[4096];
    ssize_t received = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (received > 0) {
        buffer_append(&client->got, bytes, (size_t)received);
    } else {
        event_base_loopbreak(client->base);
    }
}

/* Sends `text` and returns all that came back until the end, which the caller frees. */
static struct buffer talk(struct world *world, const char *text) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct client client = {.fd = fds[0], .base = world->base};
    struct event *event = event_new(world->base, fds[0], EV_READ | EV_PERSIST, on_client, &client);
    struct timeval patience = {.tv_sec = 10};
    assert_non_null(event);
    assert_int_equal(event_add(event, NULL), 0);
    assert_int_equal(send(fds[0], text, strlen(text), 0), strlen(text));
    connection_open(world->gate, fds[1], DOOR_MAIN);
    assert_int_equal(event_base_loopexit(world->base, &patience), 0);
    int64_t started_at = clock_monotonic_ms();
    event_base_dispatch(world->base);
    assert_true(clock_monotonic_ms() - started_at < 9000);
    event_free(event);
    close(fds[0]);
    return client.got;
}

static void expect_answer(struct world *world, const char *text, const char *start_of_answer) {
    cleanup_buffer struct buffer got = talk(world, text);
    assert_non_null(got.data);
    assert_memory_equal(got.data, start_of_answer, strlen(start_of_answer));
    assert_non_null(strstr(got.data, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(got.data, "\r\n\r\n{\"detail\":"));
}

static void expect_close(struct world *world, const char *text, unsigned code) {
    cleanup_buffer struct buffer got = talk(world, text);
    assert_non_null(got.data);
    assert_memory_equal(got.data, "HTTP/1.1 101 ", 13);
    const char *frame = strstr(got.data, "\r\n\r\n");
    assert_non_null(frame);
    assert_int_equal((unsigned char)frame[4], 0x88);
    assert_int_equal((unsigned char)frame[6] << 8 | (unsigned char)frame[7], code);
}

static void test_half_a_head(void **state) {
    struct gate_limits limits = long_limits();
    limits.head = SHORT_MS;
    start(*state, &limits);
    expect_answer(*state, "GET /x HTT", "HTTP/1.1 408 ");
    expect_answer(*state, "", "HTTP/1.1 408 ");
}

static void test_a_late_first_message_is_4001(void **state) {
    struct gate_limits limits = long_limits();
    limits.auth_message = SHORT_MS;
    start(*state, &limits);
    expect_close(*state, TERMINAL "\r\n", 4001);
    expect_close(*state, TERMINAL "\r\n\x81\xa0", 4001);
}

static void test_an_authorizer_that_stays_away_is_503(void **state) {
    struct gate_limits limits = long_limits();
    limits.authorizer_retry = SHORT_MS;
    start(*state, &limits);
    cleanup_buffer struct buffer got = talk(*state, HEAD);
    assert_memory_equal(got.data, "HTTP/1.1 503 ", 13);
    assert_non_null(strstr(got.data, "\r\nRetry-After: 5\r\n"));
    expect_close(*state, TERMINAL WITH_TOKEN "\r\n", 4003);
}

/* It listens and takes no connection: what a process that hangs looks like. */
static void test_an_authorizer_that_is_silent_is_504(void **state) {
    struct world *world = *state;
    struct gate_limits limits = long_limits();
    limits.authorizer = SHORT_MS;
    world->authorizer = listen_in(world, "api-auth.sock");
    start(world, &limits);
    expect_answer(world, HEAD, "HTTP/1.1 504 ");
    expect_close(world, TERMINAL WITH_TOKEN "\r\n", 4003);
}

static const char allowed[] = "Status: 200\r\nVariable-User: u\r\nVariable-Policy: p\r\nVariable-Context: c\r\n\r\n";

/* Takes a connection, waits for the request and allows it. Sockets of this process: the request is there at once. */
static void on_authorizer(evutil_socket_t fd, short what, void *context) {
    (void)what;
    (void)context;
    char request[4096];
    int connection = accept(fd, NULL, NULL);
    assert_true(connection >= 0);
    struct timeval patience = {.tv_sec = 0, .tv_usec = 1000};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    recv(connection, request, sizeof request, 0);
    char answer[8 + sizeof allowed - 1 + 16] = {1, 6, 0, 1, 0, (char)(sizeof allowed - 1)};
    static const char end[16] = {1, 3, 0, 1, 0, 8};
    memcpy(answer + 8, allowed, sizeof allowed - 1);
    memcpy(answer + sizeof answer - sizeof end, end, sizeof end);
    assert_int_equal(send(connection, answer, sizeof answer, MSG_NOSIGNAL), sizeof answer);
    close(connection);
}

static void allow_everybody(struct world *world) {
    world->authorizer = listen_in(world, "api-auth.sock");
    world->on_authorizer = event_new(world->base, world->authorizer, EV_READ | EV_PERSIST, on_authorizer, NULL);
    assert_non_null(world->on_authorizer);
    assert_int_equal(event_add(world->on_authorizer, NULL), 0);
}

static void test_a_provisioner_that_stays_away_is_503(void **state) {
    struct world *world = *state;
    struct gate_limits limits = long_limits();
    limits.provisioner_away = SHORT_MS;
    start(world, &limits);
    allow_everybody(world);
    cleanup_buffer struct buffer got = talk(world, HEAD);
    assert_memory_equal(got.data, "HTTP/1.1 503 ", 13);
    assert_non_null(strstr(got.data, "\r\nRetry-After: 5\r\n"));
    expect_close(world, TERMINAL WITH_TOKEN "\r\n", 4003);
}

/* Its supervisor holds the socket while it is away: one can connect, and nobody is there. */
static void test_a_provisioner_whose_socket_is_only_held_is_503(void **state) {
    struct world *world = *state;
    struct gate_limits limits = long_limits();
    limits.provisioner_away = SHORT_MS;
    world->provisioner = listen_in(world, "provisioner.sock");
    start(world, &limits);
    allow_everybody(world);
    cleanup_buffer struct buffer got = talk(world, HEAD);
    assert_memory_equal(got.data, "HTTP/1.1 503 ", 13);
    assert_non_null(strstr(got.data, "\r\nRetry-After: 5\r\n"));
    expect_close(world, TERMINAL WITH_TOKEN "\r\n", 4003);
}

static void test_a_provisioner_that_does_not_find_out_is_4003(void **state) {
    struct world *world = *state;
    struct gate_limits limits = long_limits();
    limits.lookup = SHORT_MS;
    world->provisioner = listen_in(world, "provisioner.sock");
    start(world, &limits);
    allow_everybody(world);
    expect_close(world, TERMINAL WITH_TOKEN "\r\n", 4003);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_half_a_head),
        TEST(test_a_late_first_message_is_4001),
        TEST(test_an_authorizer_that_stays_away_is_503),
        TEST(test_an_authorizer_that_is_silent_is_504),
        TEST(test_a_provisioner_that_stays_away_is_503),
        TEST(test_a_provisioner_whose_socket_is_only_held_is_503),
        TEST(test_a_provisioner_that_does_not_find_out_is_4003),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
