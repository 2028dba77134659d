/* With the static backend every user reaches the one instance that runs already, and nothing ever ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "provisioner/backend.h"

#define TWO_ADDRESSES "two-addresses.test" /* ::1 and 127.0.0.1, as `localhost` is on many machines */

#define ID  "0123456789abcdef0123456789abcdef"
#define KEY "the-shared-key"

/* In the place of the C library's. */
static int resolutions; /* of TWO_ADDRESSES */

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (strcmp(node, TWO_ADDRESSES) != 0) {
        return real(node, service, hints, found);
    }
    const struct addrinfo numeric = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    resolutions++;
    int result = real("::1", service, &numeric, found);
    return result != 0 ? result : real("127.0.0.1", service, &numeric, &(*found)->ai_next);
}

enum event_kind { CREATED, READY, FAILED, GONE, STOPPED, EVENT_KINDS };

struct world {
    struct settings settings;
    struct event_base *base;
    struct backend *backend;
    pid_t server;
    int events[EVENT_KINDS];
    bool refuse_created;
    struct instance_address address;
    struct error failure;
    int checked;
    int documents;
    char *document;
};

/* Answers /health, /openapi.json (`document`, perhaps announcing `announced` bytes) and 401 without the key. */
static void serve(int listener, const char *document, size_t announced) {
    for (;;) {
        char request[2048] = "";
        char answer[8192];
        int connection = accept(listener, NULL, NULL);
        ssize_t length = read(connection, request, sizeof request - 1);
        request[length > 0 ? length : 0] = '\0';
        bool knows = strstr(request, "Authorization: Bearer " KEY "\r\n") != NULL;
        bool wants_document = strncmp(request, "GET /openapi.json ", 18) == 0;
        snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
                 knows ? "200 OK" : "401 Unauthorized", wants_document ? announced : 2,
                 wants_document ? document : "{}");
        if (write(connection, answer, strlen(answer)) < 0) {
            _exit(1);
        }
        close(connection);
    }
}

static void start_server(struct world *world, const char *document, size_t announced) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    address.sin_port = htons((uint16_t)world->settings.static_port);
    socklen_t length = sizeof address;
    const int yes = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    world->settings.static_port = ntohs(address.sin_port);
    world->server = fork();
    if (world->server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        serve(listener, document, announced);
    }
    close(listener);
}

static void stop_server(struct world *world) {
    kill(world->server, SIGKILL);
    waitpid(world->server, NULL, 0);
}

static bool on_created(void *owner, const char *id, const char *reference, struct error *err) {
    struct world *world = owner;
    assert_string_equal(id, ID);
    assert_non_null(reference);
    world->events[CREATED]++;
    return !world->refuse_created || error_set(err, ERROR_INTERNAL, "no database");
}

static void on_ready(void *owner, const char *id, const struct instance_address *address) {
    struct world *world = owner;
    assert_string_equal(id, ID);
    world->events[READY]++;
    world->address = *address;
}

static void on_failed(void *owner, const char *id, const struct error *err) {
    struct world *world = owner;
    (void)id;
    world->events[FAILED]++;
    world->failure = *err;
}

static void on_gone(void *owner, const char *id, const char *reason) {
    (void)id;
    (void)reason;
    ((struct world *)owner)->events[GONE]++;
}

static void on_stopped(void *owner, const char *id) {
    (void)id;
    ((struct world *)owner)->events[STOPPED]++;
}

static void open_backend(struct world *world) {
    const struct backend_events events = {world,      on_created, on_ready, on_failed, on_gone,
                                          on_stopped, NULL,       NULL,     NULL};
    struct error err;
    world->backend = backend_static.open(&world->settings, world->base, &events, &err);
    if (world->backend == NULL) {
        fail_msg("%s", err.message);
    }
}

static int open_world(void **state) {
    struct world *world = calloc(1, sizeof *world);
    signal(SIGPIPE, SIG_IGN);
    world->settings = (struct settings){.static_host = "localhost", .static_api_key = KEY, .start_timeout_seconds = 1};
    world->checked = -1;
    world->base = event_base_new();
    *state = world;
    return 0;
}

static int close_world(void **state) {
    struct world *world = *state;
    backend_static.close(world->backend);
    event_base_free(world->base);
    free(world->document);
    free(world);
    return 0;
}

static const struct instance_spec spec = {.instance_id = ID, .key = "not used", .home = NULL};

static void run_until(struct world *world, const int *counter, int wanted) {
    int64_t deadline = clock_monotonic_ms() + 5000;
    while (*counter != wanted && clock_monotonic_ms() < deadline) {
        event_base_loop(world->base, EVLOOP_ONCE);
    }
    assert_int_equal(*counter, wanted);
}

static void on_checked(void *argument, bool alive) {
    ((struct world *)argument)->checked = alive;
}

static void on_document(void *argument, const char *document) {
    struct world *world = argument;
    world->documents++;
    free(world->document);
    world->document = document == NULL ? NULL : strdup(document);
}

static void test_everybody_reaches_the_running_instance(void **state) {
    struct world *world = *state;
    start_server(world, "{}", 2);
    open_backend(world);
    backend_static.start(world->backend, &spec);
    run_until(world, &world->events[READY], 1);
    assert_int_equal(world->events[CREATED], 1);
    assert_string_equal(world->address.host, "127.0.0.1");
    assert_int_equal(world->address.port, world->settings.static_port);
    assert_string_equal(world->address.key, KEY);
    backend_static.stop(world->backend, ID);
    assert_int_equal(world->events[STOPPED], 1);
    backend_static.adopt(world->backend, &spec, NULL);
    run_until(world, &world->events[READY], 2);
    stop_server(world);
}

static void test_one_that_does_not_answer_fails_in_time(void **state) {
    struct world *world = *state;
    start_server(world, "{}", 2);
    stop_server(world);
    open_backend(world);
    backend_static.start(world->backend, &spec);
    run_until(world, &world->events[FAILED], 1);
    assert_int_equal(world->failure.code, ERROR_TIMEOUT);
    backend_static.start(world->backend, &spec);
    backend_static.stop(world->backend, ID); /* a start that is abandoned says nothing more */
    assert_int_equal(world->events[STOPPED], 1);
    assert_int_equal(world->events[FAILED] + world->events[READY], 1);
    world->refuse_created = true;
    backend_static.start(world->backend, &spec);
    assert_int_equal(world->events[FAILED], 2);
}

static void test_a_check_notices_that_it_went_away(void **state) {
    struct world *world = *state;
    start_server(world, "{}", 2);
    open_backend(world);
    backend_static.check(world->backend, ID, on_checked, world);
    run_until(world, &world->checked, 1);
    stop_server(world);
    backend_static.check(world->backend, ID, on_checked, world);
    run_until(world, &world->checked, 0);
    assert_int_equal(world->events[GONE], 1);
}

/* Nobody listens on ::1, now or later. */
static void test_it_is_looked_for_where_it_was_while_it_is_down(void **state) {
    struct world *world = *state;
    world->settings.static_host = TWO_ADDRESSES;
    start_server(world, "{}", 2);
    open_backend(world);
    backend_static.start(world->backend, &spec);
    run_until(world, &world->events[READY], 1);
    assert_string_equal(world->address.host, "127.0.0.1");
    stop_server(world);
    resolutions = 0;
    for (int i = 0; i < 3; i++) {
        backend_static.check(world->backend, ID, on_checked, world);
    }
    run_until(world, &world->events[GONE], 3);
    assert_int_equal(resolutions, 1); /* the event loop stands still meanwhile */
    start_server(world, "{}", 2);
    backend_static.start(world->backend, &spec);
    run_until(world, &world->events[READY], 2);
    assert_string_equal(world->address.host, "127.0.0.1");
    stop_server(world);
}

static void test_its_own_document_is_fetched_whole_or_not_at_all(void **state) {
    struct world *world = *state;
    static const char document[] = "{\"openapi\":\"3.1.0\"}";
    start_server(world, document, strlen(document));
    open_backend(world);
    backend_static.openapi(world->backend, on_document, world);
    run_until(world, &world->documents, 1);
    assert_string_equal(world->document, document);
    stop_server(world);
    start_server(world, document, strlen(document) + 1); /* cut short */
    backend_static.openapi(world->backend, on_document, world);
    run_until(world, &world->documents, 2);
    assert_null(world->document);
    stop_server(world);
    backend_static.openapi(world->backend, on_document, world);
    run_until(world, &world->documents, 3);
    assert_null(world->document);
}

static void test_settings_that_cannot_work_are_refused(void **state) {
    struct world *world = *state;
    const struct backend_events events = {.owner = world};
    struct error err;
    world->settings.static_port = 1;
    world->settings.static_api_key = "two\r\nlines";
    assert_null(backend_static.open(&world->settings, world->base, &events, &err));
    assert_null(strstr(err.message, "lines"));
    world->settings.static_api_key = NULL;
    world->settings.static_host = "no.such.host.invalid";
    assert_null(backend_static.open(&world->settings, world->base, &events, &err));
    assert_non_null(strstr(err.message, "no.such.host.invalid"));
    world->settings.static_host = "::1";
    open_backend(world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_everybody_reaches_the_running_instance),
        TEST(test_one_that_does_not_answer_fails_in_time),
        TEST(test_a_check_notices_that_it_went_away),
        TEST(test_it_is_looked_for_where_it_was_while_it_is_down),
        TEST(test_its_own_document_is_fetched_whole_or_not_at_all),
        TEST(test_settings_that_cannot_work_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
