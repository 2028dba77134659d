/* The world of the tests of the docker backend: a backend whose events are counted, and an engine that says 204 to all
 * it is asked but for pulls, which it leaves without an answer. */
#ifndef TERMINALS_TESTS_DOCKER_WORLD_H
#define TERMINALS_TESTS_DOCKER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <sys/un.h>

#include "provisioner/backends/docker_instance.h"
#include "tests/unit/provisioner/temporary_folder.h"

#define ID  "0123456789abcdef0123456789abcdef"
#define KEY "key-of-the-instance"

struct docker_world {
    struct event_base *base;
    char folder[64];
    char host[96];
    struct settings settings;
    struct backend *backend;
    struct evconnlistener *listener;
    struct bufferevent *connections[64];
    size_t connected;
    int pulls; /* that the engine was asked for */
    int failed, gone, stopped;
};

static void count_failed(void *owner, const char *instance_id, const struct error *err) {
    struct docker_world *world = owner;
    (void)instance_id;
    (void)err;
    world->failed++;
}

static void count_gone(void *owner, const char *instance_id, const char *reason) {
    struct docker_world *world = owner;
    (void)instance_id;
    (void)reason;
    world->gone++;
}

static void count_stopped(void *owner, const char *instance_id) {
    struct docker_world *world = owner;
    (void)instance_id;
    world->stopped++;
}

static void on_request(struct bufferevent *connection, void *argument) {
    struct docker_world *world = argument;
    struct evbuffer *input = bufferevent_get_input(connection);
    struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
    if (end.pos < 0) {
        return;
    }
    struct evbuffer_ptr pull = evbuffer_search(input, "/images/create", 14, NULL);
    evbuffer_drain(input, evbuffer_get_length(input));
    if (pull.pos >= 0) {
        world->pulls++;
    } else {
        evbuffer_add_printf(bufferevent_get_output(connection), "HTTP/1.1 204 No Content\r\n\r\n");
    }
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int length,
                          void *argument) {
    struct docker_world *world = argument;
    (void)listener;
    (void)address;
    (void)length;
    assert_true(world->connected < sizeof world->connections / sizeof world->connections[0]);
    struct bufferevent *connection = bufferevent_socket_new(world->base, fd, BEV_OPT_CLOSE_ON_FREE);
    assert_non_null(connection);
    world->connections[world->connected++] = connection;
    bufferevent_setcb(connection, on_request, NULL, NULL, world);
    bufferevent_enable(connection, EV_READ | EV_WRITE);
}

static void on_time_over(evutil_socket_t fd, short what, void *argument) {
    bool *is_over = argument;
    (void)fd;
    (void)what;
    *is_over = true;
}

/* Runs the loop until *count is `wanted`. */
static inline void await(struct docker_world *world, const int *count, int wanted) {
    const struct timeval patience = {.tv_sec = 60};
    bool is_over = false;
    struct event *timer = evtimer_new(world->base, on_time_over, &is_over);
    evtimer_add(timer, &patience);
    while (*count != wanted && !is_over) {
        event_base_loop(world->base, EVLOOP_ONCE);
    }
    event_free(timer);
    assert_int_equal(*count, wanted);
}

static int open_world(void **state) {
    struct docker_world *world = calloc(1, sizeof *world);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct error err = {0};
    assert_non_null(world);
    temporary_folder_make(world->folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/docker.sock", world->folder);
    snprintf(world->host, sizeof world->host, "unix://%s/docker.sock", world->folder);
    world->base = event_base_new();
    world->listener = evconnlistener_new_bind(world->base, on_connection, world, LEV_OPT_CLOSE_ON_FREE, -1,
                                              (struct sockaddr *)&address, sizeof address);
    assert_non_null(world->listener);
    world->settings.docker_host = world->host;
    world->settings.docker_network = "x";
    world->settings.data_dir = world->folder;
    const struct backend_events events = {
        .owner = world, .failed = count_failed, .gone = count_gone, .stopped = count_stopped};
    world->backend = backend_docker.open(&world->settings, world->base, &events, &err);
    assert_non_null(world->backend);
    *state = world;
    return 0;
}

static int close_world(void **state) {
    struct docker_world *world = *state;
    backend_docker.close(world->backend);
    for (size_t i = 0; i < world->connected; i++) {
        bufferevent_free(world->connections[i]);
    }
    evconnlistener_free(world->listener);
    event_base_free(world->base);
    temporary_folder_remove(world->folder);
    free(world);
    return 0;
}

#endif
