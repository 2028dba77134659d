/* When an endpoint calls back: for all there is to read or write, and not for what is no news. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate/endpoint.h"

struct world {
    struct event_base *base;
    struct endpoint endpoint;
    int peer;
    int calls;
};

static void on_event(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    struct world *world = context;
    endpoint_note(&world->endpoint, what);
    world->calls++;
}

/* How often it calls back for what has happened so far. */
static int calls(struct world *world) {
    world->calls = 0;
    assert_true(event_base_loop(world->base, EVLOOP_NONBLOCK) >= 0);
    return world->calls;
}

static int setup(void **state) {
    struct world *world = calloc(1, sizeof *world);
    int pair[2];
    assert_non_null(world);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    world->base = endpoint_base_new();
    assert_non_null(world->base);
    world->peer = pair[1];
    assert_true(endpoint_open(&world->endpoint, world->base, pair[0], on_event, world));
    *state = world;
    return 0;
}

static int teardown(void **state) {
    struct world *world = *state;
    endpoint_close(&world->endpoint);
    close(world->peer);
    event_base_free(world->base);
    free(world);
    return 0;
}

static void type_and_read(struct world *world) {
    char byte;
    assert_int_equal(endpoint_send(&world->endpoint, "x", 1), 1);
    assert_int_equal(read(world->peer, &byte, 1), 1);
}

static void test_a_new_one_can_be_written_to(void **state) {
    struct world *world = *state;
    assert_false(world->endpoint.writable);
    assert_int_equal(calls(world), 1);
    assert_true(world->endpoint.writable);
    assert_false(world->endpoint.readable);
}

static void test_a_peer_that_reads_wakes_nobody(void **state) {
    struct world *world = *state;
    calls(world);
    type_and_read(world);
    calls(world); /* that it was no news is found out once */
    for (int i = 0; i < 10; i++) {
        type_and_read(world);
        assert_int_equal(calls(world), 0);
        assert_true(world->endpoint.writable);
    }
    assert_int_equal(write(world->peer, "y", 1), 1);
    assert_int_equal(calls(world), 1);
    assert_true(world->endpoint.readable);
}

static void test_a_full_one_calls_when_there_is_room_again(void **state) {
    struct world *world = *state;
    static char bytes[65536];
    calls(world);
    type_and_read(world);
    for (int i = 0; i < 3; i++) {
        calls(world);
        while (endpoint_send(&world->endpoint, bytes, sizeof bytes) > 0) {
        }
        assert_false(world->endpoint.writable);
        assert_int_equal(calls(world), 0);
        while (read(world->peer, bytes, sizeof bytes) > 0) {
        }
        assert_true(calls(world) > 0);
        assert_true(world->endpoint.writable);
    }
}

static void test_the_end_is_seen_whether_writing_matters_or_not(void **state) {
    struct world *world = *state;
    calls(world);
    type_and_read(world);
    calls(world);
    close(world->peer);
    world->peer = dup(0);
    assert_true(calls(world) > 0);
    assert_true(world->endpoint.readable);
    assert_true(endpoint_is_hung_up(&world->endpoint));
}

/* ---- turns ---- */

#define FAR_TOO_OFTEN 100000

struct greedy {
    struct world *world;
    struct endpoint endpoint;
    int calls;
};

/* Wakes itself each time, and once it has begun, something happens elsewhere. */
static void on_greedy(evutil_socket_t fd, short what, void *context) {
    struct greedy *greedy = context;
    (void)fd;
    endpoint_note(&greedy->endpoint, what);
    if (greedy->calls++ == 0) {
        assert_int_equal(write(greedy->world->peer, "x", 1), 1);
    }
    if (greedy->world->calls == 0 && greedy->calls < FAR_TOO_OFTEN) {
        endpoint_wake(&greedy->endpoint);
    }
}

static void test_one_that_wakes_itself_leaves_the_others_their_turn(void **state) {
    struct world *world = *state;
    struct greedy greedy = {.world = world};
    int pair[2];
    calls(world); /* that it can be written to */
    world->calls = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_true(endpoint_open(&greedy.endpoint, world->base, pair[0], on_greedy, &greedy));
    for (int rounds = 0; rounds < 100 && world->calls == 0 && greedy.calls < FAR_TOO_OFTEN; rounds++) {
        assert_true(event_base_loop(world->base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
    }
    endpoint_close(&greedy.endpoint);
    close(pair[1]);
    assert_true(world->calls > 0 && greedy.calls < FAR_TOO_OFTEN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_new_one_can_be_written_to, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_peer_that_reads_wakes_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_one_calls_when_there_is_room_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_is_seen_whether_writing_matters_or_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_that_wakes_itself_leaves_the_others_their_turn, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
