/* Moving bytes: all of them, in order, no more than allowed, and also when no pipe can be had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate/channel.h"

#define TOTAL_BYTES (1024 * 1024)

struct world {
    struct pipe_pool *pipes;
    struct endpoint source; /* what the channel reads; `writer` is its other end */
    struct endpoint target;
    int writer;
    int reader;
};

/* Endpoints without an event loop: the test says what is ready. */
static struct endpoint endpoint_on(int fd) {
    return (struct endpoint){.fd = fd, .readable = true, .writable = true};
}

static int setup(void **state) {
    struct world *world = calloc(1, sizeof *world);
    int in[2];
    int out[2];
    assert_non_null(world);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, in), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, out), 0);
    world->pipes = pipe_pool_new();
    assert_non_null(world->pipes);
    world->writer = in[0];
    world->source = endpoint_on(in[1]);
    world->target = endpoint_on(out[0]);
    world->reader = out[1];
    *state = world;
    return 0;
}

static int teardown(void **state) {
    struct world *world = *state;
    pipe_pool_free(world->pipes);
    close(world->writer);
    close(world->source.fd);
    close(world->target.fd);
    close(world->reader);
    free(world);
    return 0;
}

/* Pushes TOTAL_BYTES through, writer and reader taking turns, and checks each byte. */
static void push_all_through(struct world *world) {
    static unsigned char bytes[TOTAL_BYTES];
    static unsigned char got[TOTAL_BYTES];
    struct channel channel = {.allowance = CHANNEL_UNLIMITED};
    size_t written = 0;
    size_t read_bytes = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * 31 + i / 256);
    }
    enum channel_result result = CHANNEL_WAITS;
    while (result != CHANNEL_ENDED) {
        if (written < sizeof bytes) {
            ssize_t sent = send(world->writer, bytes + written, sizeof bytes - written, MSG_NOSIGNAL);
            written += sent > 0 ? (size_t)sent : 0;
            if (written == sizeof bytes) {
                shutdown(world->writer, SHUT_WR);
            }
        }
        world->source.readable = world->target.writable = true;
        result = channel_pump(&channel, &world->source, &world->target, world->pipes);
        assert_true(result == CHANNEL_WAITS || result == CHANNEL_HAS_MORE || result == CHANNEL_ENDED);
        ssize_t received = recv(world->reader, got + read_bytes, sizeof got - read_bytes, 0);
        read_bytes += received > 0 ? (size_t)received : 0;
    }
    ssize_t received;
    while ((received = recv(world->reader, got + read_bytes, sizeof got - read_bytes, 0)) > 0) {
        read_bytes += (size_t)received;
    }
    assert_int_equal(read_bytes, sizeof bytes);
    assert_memory_equal(got, bytes, sizeof bytes);
    assert_int_equal(channel.moved, sizeof bytes);
    assert_null(channel.pipe);
    channel_close(&channel, world->pipes);
}

static void test_all_bytes_pass_in_order(void **state) {
    push_all_through(*state);
}

static void test_all_bytes_pass_without_a_pipe(void **state) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    push_all_through(*state);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void test_no_more_than_allowed_passes(void **state) {
    struct world *world = *state;
    struct channel channel = {.allowance = 5};
    char got[32];
    assert_int_equal(send(world->writer, "hello, world", 12, 0), 12);
    assert_int_equal(channel_pump(&channel, &world->source, &world->target, world->pipes), CHANNEL_PAUSED);
    assert_int_equal(recv(world->reader, got, sizeof got, 0), 5);
    channel.allowance = 100;
    assert_int_equal(channel_pump(&channel, &world->source, &world->target, world->pipes), CHANNEL_WAITS);
    assert_int_equal(channel.allowance, 93);
    assert_int_equal(recv(world->reader, got, sizeof got, 0), 7);
    assert_int_equal(recv(world->source.fd, got, sizeof got, 0), -1);
    channel_close(&channel, world->pipes);
}

static void test_a_target_that_has_gone_is_noticed(void **state) {
    struct world *world = *state;
    struct channel channel = {.allowance = CHANNEL_UNLIMITED};
    assert_int_equal(send(world->writer, "x", 1, 0), 1);
    shutdown(world->reader, SHUT_RD);
    close(world->reader);
    world->reader = dup(world->writer);
    assert_int_equal(channel_pump(&channel, &world->source, &world->target, world->pipes), CHANNEL_TARGET_FAILED);
    channel_close(&channel, world->pipes);
}

/* What was lent comes back empty: the next borrower must not find another's bytes. */
static void test_a_pipe_with_bytes_in_it_is_not_lent_again(void **state) {
    struct world *world = *state;
    struct pipe_pair *pipe = pipe_pool_borrow(world->pipes);
    assert_non_null(pipe);
    assert_int_equal(write(pipe->write_fd, "secret", 6), 6);
    pipe_pool_return(world->pipes, pipe, false);
    pipe = pipe_pool_borrow(world->pipes);
    assert_non_null(pipe);
    char byte;
    assert_int_equal(read(pipe->read_fd, &byte, 1), -1);
    pipe_pool_return(world->pipes, pipe, true);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_bytes_pass_in_order),
        TEST(test_all_bytes_pass_without_a_pipe),
        TEST(test_no_more_than_allowed_passes),
        TEST(test_a_target_that_has_gone_is_noticed),
        TEST(test_a_pipe_with_bytes_in_it_is_not_lent_again),
    };
    /* splice(2) has no MSG_NOSIGNAL, so main() ignores SIGPIPE; so does this. */
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
