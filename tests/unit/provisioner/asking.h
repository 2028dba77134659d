/* asking.h - a whole provisioner (world.h), asked over its real socket. */
#ifndef TERMINALS_TESTS_ASKING_H
#define TERMINALS_TESTS_ASKING_H

#include <sys/socket.h>
#include <sys/un.h>

#include "common/ipc.h"
#include "tests/unit/provisioner/world.h"

static int peer = -1;
static struct buffer input;

static inline void asking_connect(struct world *world) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.80s/provisioner.sock", world->run_dir);
    peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
}

static int asking_make(void **state) {
    world_make(state);
    asking_connect(*state);
    return 0;
}

/* A successor takes over, and its peer connects anew. */
static inline void asking_restart(struct world *world) {
    close(peer);
    buffer_free(&input);
    world_restart(world);
    asking_connect(world);
}

static int asking_remove(void **state) {
    close(peer);
    buffer_free(&input);
    return world_remove(state);
}

static void ask(const char *text) {
    assert_int_equal(send(peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    assert_int_equal(send(peer, "\n", 1, MSG_NOSIGNAL), 1);
}

static struct json_object *answer(struct world *world) {
    struct json_object *message = NULL;
    struct error err;
    int64_t until_ms = clock_monotonic_ms() + 10000;
    while (ipc_take_message(&input, IPC_LINE_MAX_BYTES, &message, &err) == 0) {
        assert_true(clock_monotonic_ms() < until_ms);
        event_base_loop(world->base, EVLOOP_NONBLOCK);
        char *room = buffer_reserve(&input, 65536);
        ssize_t length = recv(peer, room, 65536, MSG_DONTWAIT);
        assert_true(length != 0);
        if (length > 0) {
            input.length += (size_t)length;
            input.data[input.length] = '\0';
        }
    }
    assert_non_null(message);
    return message;
}

static struct json_object *call(struct world *world, const char *request) {
    ask(request);
    return answer(world);
}

static void expect(struct world *world, const char *request, const char *code) {
    struct json_object *got = call(world, request);
    const char *got_code = json_get_bool(got, "ok", false) ? "ok" : json_get_string(got, "code");
    if (got_code == NULL || strcmp(got_code, code) != 0) {
        fail_msg("%s -> %s", request, json_text(got, &(size_t){0}));
    }
    json_object_put(got);
}

#endif
