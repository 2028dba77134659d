/* What the provisioner believes about HAProxy: whether it is there, whether it is the same, and who is active. */
#include "haproxy_world.h"

#include <sys/resource.h>

#include "common/digest.h"
#include "provisioner/haproxy_activity.h"
#include "provisioner/survey.h"

struct runtime_world {
    struct haproxy_world haproxy;
    int restarts;
    int answers;
    int refusals;
    bool activity_done;
    bool activity_ok;
    struct route_activity routes[8];
    size_t route_count;
};

static void on_restart(void *argument) {
    ((struct runtime_world *)argument)->restarts++;
}

static int open_world(void **state) {
    struct runtime_world *world = calloc(1, sizeof *world);
    haproxy_world_open(&world->haproxy);
    assert_true(haproxy_runtime_on_restart(world->haproxy.runtime, on_restart, world));
    haproxy_world_start_haproxy(&world->haproxy);
    haproxy_world_await_up(&world->haproxy);
    *state = world;
    return 0;
}

static int close_world(void **state) {
    struct runtime_world *world = *state;
    haproxy_world_close(&world->haproxy);
    free(world);
    return 0;
}

static void on_answer(void *argument, const char *answer) {
    struct runtime_world *world = argument;
    if (answer == NULL) {
        world->refusals++;
        return;
    }
    world->answers++;
    assert_non_null(strstr(answer, "Uptime_sec"));
}

static bool is_answered(void *argument) {
    const struct runtime_world *world = argument;
    return world->answers + world->refusals >= 20;
}

static bool is_restarted(void *argument) {
    return ((struct runtime_world *)argument)->restarts >= 2;
}

static bool is_down(void *argument) {
    return !haproxy_world_is_up(&((struct runtime_world *)argument)->haproxy);
}

static void on_activity(void *argument, bool ok, const struct route_activity *routes, size_t count) {
    struct runtime_world *world = argument;
    world->activity_done = true;
    world->activity_ok = ok;
    world->route_count = count;
    for (size_t i = 0; i < count && i < 8; i++) {
        world->routes[i] = routes[i];
    }
}

static bool is_activity_done(void *argument) {
    return ((struct runtime_world *)argument)->activity_done;
}

static void ask_activity(struct runtime_world *world) {
    world->activity_done = false;
    haproxy_runtime_activity(world->haproxy.runtime, on_activity, world);
    haproxy_world_await(&world->haproxy, is_activity_done, world);
}

/* A request of a user; the connection stays open, so that it is in flight for HAProxy if `half` of it is missing. */
static int request_as(const struct runtime_world *world, const char *user, bool whole) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[256];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, world->haproxy.http_path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: x\r\nx-user: %s\r\n%s\r\n", whole ? "GET" : "POST", user,
             whole ? "Connection: close\r\n" : "x-hold: 1\r\nContent-Length: 10\r\n");
    assert_int_equal(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
    char answer[512];
    while (whole && read(fd, answer, sizeof answer) > 0) {
    }
    return fd;
}

static void test_commands_are_answered_in_order(void **state) {
    struct runtime_world *world = *state;
    for (int i = 0; i < 20; i++) {
        haproxy_runtime_command(world->haproxy.runtime, "show info", on_answer, world);
    }
    haproxy_world_await(&world->haproxy, is_answered, world);
    assert_int_equal(world->answers, 20);
    assert_int_equal(world->restarts, 1);
}

static void test_a_kill_is_noticed_at_once_and_everybody_is_answered(void **state) {
    struct runtime_world *world = *state;
    for (int i = 0; i < 20; i++) {
        haproxy_runtime_command(world->haproxy.runtime, "show info", on_answer, world);
    }
    haproxy_world_kill_haproxy(&world->haproxy);
    haproxy_world_await(&world->haproxy, is_down, world);
    haproxy_world_await(&world->haproxy, is_answered, world);
    haproxy_runtime_command(world->haproxy.runtime, "show info", on_answer, world); /* while it is away: at once */
    assert_int_equal(world->answers + world->refusals, 21);
    int64_t lost_ms = haproxy_runtime_lost_ms(world->haproxy.runtime);
    assert_true(lost_ms > 0);
    haproxy_world_start_haproxy(&world->haproxy);
    haproxy_world_await(&world->haproxy, is_restarted, world);
    assert_int_equal(haproxy_runtime_lost_ms(world->haproxy.runtime), lost_ms); /* with what it knew of activity */
}

static void test_a_reload_is_noticed(void **state) {
    struct runtime_world *world = *state;
    haproxy_world_reload(&world->haproxy);
    int64_t noticed = haproxy_world_await(&world->haproxy, is_restarted, world);
    print_message("a reload is noticed after %lld ms\n", (long long)noticed);
}

static void test_activity_tells_who_was_active_and_when(void **state) {
    struct runtime_world *world = *state;
    char key[DIGEST_HEX_SIZE];
    ask_activity(world);
    assert_true(world->activity_ok);
    assert_int_equal(world->route_count, 0);
    close(request_as(world, "user-1", true));
    ask_activity(world);
    assert_true(world->activity_ok);
    assert_int_equal(world->route_count, 1);
    assert_true(digest_sha256_hex("user-1", 6, key));
    assert_string_equal(world->routes[0].route_key, key);
    assert_in_range(world->routes[0].idle_ms, 0, 1000);
    for (int i = 0; i < 200 && world->routes[0].in_flight != 0; i++) { /* its connection is being closed */
        ask_activity(world);
    }
    assert_int_equal(world->routes[0].in_flight, 0);
}

static void test_activity_of_an_old_worker_counts(void **state) {
    struct runtime_world *world = *state;
    char key[DIGEST_HEX_SIZE];
    int held = request_as(world, "holder", false);
    struct pollfd readable = {.fd = held, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, 200), 0); /* it is being waited for */
    haproxy_world_reload(&world->haproxy);
    haproxy_world_await(&world->haproxy, is_restarted, world);
    close(request_as(world, "newcomer", true));
    ask_activity(world);
    assert_true(world->activity_ok);
    assert_int_equal(world->route_count, 2);
    assert_true(digest_sha256_hex("newcomer", 8, key));
    assert_string_equal(world->routes[0].route_key, key);
    assert_true(digest_sha256_hex("holder", 6, key));
    assert_string_equal(world->routes[1].route_key, key);
    assert_int_equal(world->routes[1].in_flight, 1);
    close(held);
}

static void test_activity_without_haproxy_is_unknown(void **state) {
    struct runtime_world *world = *state;
    haproxy_world_kill_haproxy(&world->haproxy);
    haproxy_world_await(&world->haproxy, is_down, world);
    ask_activity(world);
    assert_false(world->activity_ok);
}

/* As when a provisioner, or HAProxy, has begun this moment. */
static void test_activity_is_known_before_haproxy_was_asked_anything_else(void **state) {
    struct runtime_world *world = *state;
    struct haproxy_runtime *usual = world->haproxy.runtime;
    world->haproxy.runtime =
        haproxy_runtime_open(world->haproxy.socket_path, world->haproxy.master_path, world->haproxy.base);
    ask_activity(world);
    haproxy_runtime_close(world->haproxy.runtime);
    world->haproxy.runtime = usual;
    assert_true(world->activity_ok);
}

static bool is_gone(void *argument) {
    return haproxy_runtime_is_gone(((struct runtime_world *)argument)->haproxy.runtime);
}

/* What idle cleanup, refresh and quotas ask before they stop anybody. */
static void survey(struct runtime_world *world) {
    struct provisioner provisioner = {.base = world->haproxy.base, .haproxy = world->haproxy.runtime};
    world->activity_done = false;
    survey_activity(&provisioner, on_activity, world);
    haproxy_world_await(&world->haproxy, is_activity_done, world);
}

/* A user whose request it holds must not lose his instance. */
static void test_an_haproxy_that_stands_still_is_not_gone(void **state) {
    struct runtime_world *world = *state;
    kill(haproxy_runtime_pid(world->haproxy.runtime), SIGSTOP);
    haproxy_world_await(&world->haproxy, is_down, world);
    assert_false(is_gone(world));
    survey(world);
    assert_false(world->activity_ok);
    kill(haproxy_runtime_pid(world->haproxy.runtime), SIGCONT);
    haproxy_world_await_up(&world->haproxy);
    assert_int_equal(haproxy_runtime_lost_ms(world->haproxy.runtime), 0); /* it knows what it knew */
    haproxy_world_kill_haproxy(&world->haproxy);
    haproxy_world_await(&world->haproxy, is_gone, world);
    survey(world); /* nothing comes through it any more, and who is idle can be stopped */
    assert_true(world->activity_ok);
    assert_int_equal(world->route_count, 0);
}

static void test_an_haproxy_that_cannot_be_asked_is_not_gone(void **state) {
    struct runtime_world *world = *state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    haproxy_world_await(&world->haproxy, is_down, world);
    bool gone = is_gone(world);
    survey(world);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_false(gone);
    assert_false(world->activity_ok);
    haproxy_world_await_up(&world->haproxy);
    survey(world);
    assert_true(world->activity_ok);
}

static void test_answers_that_are_none_are_refused(void **state) {
    (void)state;
    struct route_activity_list list = {0};
    struct haproxy_workers workers;
    assert_false(haproxy_activity_parse("", &list));
    assert_false(haproxy_activity_parse("Unknown table\n", &list));
    assert_true(haproxy_activity_parse("# table: tenants, type: binary, size:1, used:4\n"
                                       "0x1: key=00 use=0 exp=1 conn_cur=0\n"
                                       "0x1: key=zz\n\n0x1 exp=1\n",
                                       &list));
    assert_int_equal(list.count, 0);
    assert_true(haproxy_activity_parse(
        "# table: tenants, type: binary, size:1, used:1\n"
        "0x1: key=bb82030dbc2bcaba32a90bf2e207a84a856fc5f033b77c480836ab6f77f40f19 use=0 exp=86399000 shard=0 "
        "conn_cur=2 http_req_cnt=1",
        &list));
    assert_int_equal(list.count, 1);
    assert_int_equal(list.routes[0].idle_ms, 1000);
    assert_int_equal(list.routes[0].in_flight, 2);
    assert_true(list.routes[0].route_key[0] == 'B');
    free(list.routes);
    assert_true(haproxy_activity_workers("#<PID>\n10 master\n# workers\n11 worker\n# old workers\n"
                                         "12 worker 1\n13 worker 2\n# programs\n14 x\n",
                                         &workers));
    assert_int_equal(workers.count, 3);
    assert_int_equal(workers.current, 1);
    assert_int_equal(workers.pids[0], 11);
    assert_int_equal(workers.pids[1], 12);
    assert_int_equal(workers.pids[2], 13);
    assert_false(haproxy_activity_workers("", &workers));
    assert_false(haproxy_activity_workers("# old workers\n12 worker\n", &workers));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_commands_are_answered_in_order),
        TEST(test_a_kill_is_noticed_at_once_and_everybody_is_answered),
        TEST(test_a_reload_is_noticed),
        TEST(test_activity_tells_who_was_active_and_when),
        TEST(test_activity_of_an_old_worker_counts),
        TEST(test_activity_without_haproxy_is_unknown),
        TEST(test_activity_is_known_before_haproxy_was_asked_anything_else),
        TEST(test_an_haproxy_that_stands_still_is_not_gone),
        TEST(test_an_haproxy_that_cannot_be_asked_is_not_gone),
        cmocka_unit_test(test_answers_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
