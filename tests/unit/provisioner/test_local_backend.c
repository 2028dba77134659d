/* A local instance must live as long as it is wanted and not a moment longer, and see nothing of anybody else. */
#define FIRST_PORT 19400 /* of a hundred, which are this program's: those of the others run beside it */
#include "tests/unit/provisioner/local_world.h"

static void test_an_instance_starts_answers_and_stops(void **state) {
    struct world *world = *state;
    start_and_await(world);
    assert_string_equal(world->address.host, "127.0.0.1");
    assert_string_equal(world->address.key, KEY);
    assert_in_range(world->address.port, FIRST_PORT, FIRST_PORT + 99);
    assert_true(processes(world) > 0);
    stop_and_await(world);
    assert_int_equal(world->events[GONE] + world->events[FAILED], 0);
    backend_local.stop(world->backend, ID); /* nothing to stop is stopped */
    await_event(world, STOPPED);
}

static void test_its_environment_holds_nothing_of_ours(void **state) {
    struct world *world = *state;
    setenv("TERMINALS_SECRET_OF_OURS", "x", 1);
    write_home(world, "before",
               "tr '\\0' '\\n' < /proc/$PPID/environ; echo; ls /proc/self/fd; pwd; umask; ulimit -c\n");
    start_and_await(world);
    char *report = read_home(world, "report");
    assert_null(strstr(report, "SECRET_OF_OURS"));
    assert_non_null(strstr(report, "OPEN_TERMINAL_API_KEY=" KEY "\n"));
    assert_non_null(strstr(report, "LANG=C.UTF-8\n"));
    assert_non_null(strstr(report, is_sandboxed(world) ? "HOME=/home/user\n" : world->home));
    assert_non_null(strstr(report, "\n0\n1\n2\n3\n/")); /* 3 is ls's own look at the folder */
    assert_non_null(strstr(report, "\n0022\n0\n"));
    if (is_sandboxed(world)) {
        assert_null(strstr(report, LOCAL_MARK));
    }
    free(report);
}

static void test_no_key_shows_in_ps(void **state) {
    struct world *world = *state;
    struct local_reference reference;
    char path[64];
    char arguments[8192];
    start_and_await(world);
    assert_true(local_reference_parse(world->reference, &reference));
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)reference.pid);
    int fd = open(path, O_RDONLY);
    ssize_t length = read(fd, arguments, sizeof arguments);
    close(fd);
    assert_true(length > 0);
    assert_null(memmem(arguments, (size_t)length, KEY, strlen(KEY)));
}

static void test_the_sandbox_shows_its_own_home_and_nothing_of_others(void **state) {
    struct world *world = *state;
    char script[2048];
    snprintf(script, sizeof script,
             "echo id=$(id -u):$(id -g):$(id -un)\n"
             "echo processes=$(ls /proc | grep -c '^[0-9]')\n"
             "ls %s >/dev/null 2>&1 && echo SEES-DATA\n"
             "cat /etc/shadow >/dev/null 2>&1 && echo SEES-SHADOW\n"
             "ls /root /work /var/lib /srv /etc/ssh /etc/ssl/private >/dev/null 2>&1 && echo SEES-SYSTEM\n"
             "for f in /x /etc/x /usr/x /home/x /run/x /dev/x /var/x; do touch $f 2>/dev/null && echo WRITES $f; done\n"
             "touch /tmp/x /var/tmp/y /dev/shm/z /home/user/mine || echo CANNOT-WRITE\n"
             /* Opened, never written to: should the sandbox fail here, the machine must not notice. */
             "for f in $(find /proc -maxdepth 4 -type f -not -path '/proc/[0-9]*' 2>/dev/null) /proc/self/comm; do "
             "(: >> $f) 2>/dev/null && echo OPENS $f; done\n"
             "unshare -Ur true 2>/dev/null && echo MAKES-NAMESPACES\n"
             "mount -t tmpfs none /mnt 2>/dev/null && echo MOUNTS\n"
             "kill -0 %d 2>/dev/null && echo SIGNALS-US\n"
             "grep -q '^CapEff:.0000000000000000$' /proc/self/status || echo HAS-CAPABILITIES\n"
             "grep -q '^NoNewPrivs:.1$' /proc/self/status || echo CAN-GAIN\n"
             "ls /sys/kernel 2>/dev/null | grep -q . && echo SEES-SYS\n"
             "python3 -c 'print(\"python\")'; getent hosts localhost >/dev/null || echo NO-RESOLVER\n"
             "test -e /dev/null -a -c /dev/urandom || echo NO-DEVICES\n",
             world->folder, (int)getpid());
    write_home(world, "before", script);
    start_and_await(world);
    char *report = read_home(world, "report");
    print_message("%s", report);
    assert_non_null(strstr(report, "id=1000:1000:user\n"));
    assert_non_null(strstr(report, "python\n"));
    for (char *at = report; *at != '\0'; at++) {
        if ((at == report || at[-1] == '\n') && at[0] >= 'A' && at[0] <= 'Z') {
            fail_msg("the sandbox leaks:\n%s", report);
        }
    }
    free(report);
}

static void test_a_sandbox_that_cannot_be_run_says_why(void **state) {
    struct world *world = *state;
    free(world->backend->sandbox.program);
    world->backend->sandbox.program = strdup("/nonexistent/bwrap");
    start(world);
    await_event(world, FAILED);
    assert_non_null(strstr(world->failure.message, "/nonexistent/bwrap"));
    assert_int_equal(processes(world), 0);
}

/* As on a full disk: whoever asked for a sandbox where there can be one is not left without. */
static void test_a_sandbox_that_may_work_is_not_done_without(void **state) {
    struct world *world = *state;
    const struct backend_events events = {0};
    struct error err;
    struct settings settings = world->settings;
    char path[256];
    settings.local_sandbox = SANDBOX_AUTO;
    settings.run_dir = world->home;
    snprintf(path, sizeof path, "%s/sandbox", world->home);
    write_home(world, "sandbox", "no folder");
    assert_null(backend_local.open(&settings, world->base, &events, &err));
    assert_int_equal(err.code, ERROR_INTERNAL);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(unlink(path), 0);

    const char *path_variable = getenv("PATH");
    cleanup_free char *programs = strdup(path_variable != NULL ? path_variable : "/usr/bin:/bin");
    assert_non_null(programs);
    assert_int_equal(setenv("PATH", "/nonexistent", 1), 0);
    struct backend *backend = backend_local.open(&settings, world->base, &events, &err);
    assert_int_equal(setenv("PATH", programs, 1), 0);
    assert_non_null(backend);
    assert_false(backend->sandboxed);
    backend_local.close(backend);
}

static void test_an_instance_that_ends_at_once_says_why(void **state) {
    struct world *world = *state;
    write_home(world, "exit", "");
    start(world);
    await_event(world, FAILED);
    assert_int_equal(world->failure.code, ERROR_BACKEND);
    assert_non_null(strstr(world->failure.message, "exit status 7"));
    assert_non_null(strstr(world->failure.message, "nothing works"));
    assert_int_equal(processes(world), 0);
    assert_int_equal(world->events[READY] + world->events[GONE] + world->events[STOPPED], 0);
}

static void test_a_missing_home_is_a_failure(void **state) {
    struct world *world = *state;
    struct instance_spec spec = spec_of(world, ID);
    spec.home = "/nonexistent/home";
    backend_local.start(world->backend, &spec);
    await_event(world, FAILED);
    assert_non_null(strstr(world->failure.message, "/nonexistent/home"));
}

static void test_nothing_runs_that_could_not_be_written_down(void **state) {
    struct world *world = *state;
    write_home(world, "before", "echo ran\n");
    world->refuse_created = true;
    start(world);
    await_event(world, FAILED);
    assert_non_null(strstr(world->failure.message, "read-only"));
    assert_int_equal(processes(world), 0);
    char path[160];
    snprintf(path, sizeof path, "%s/report", world->home);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_an_instance_that_never_answers_times_out_and_is_ended(void **state) {
    struct world *world = *state;
    world->backend->start_timeout_ms = 300;
    write_home(world, "deaf", "");
    start(world);
    await_event(world, FAILED);
    assert_int_equal(world->failure.code, ERROR_TIMEOUT);
    assert_int_equal(processes(world), 0);
}

static void kill_and_await_gone(struct world *world, pid_t pid) {
    int64_t started = clock_monotonic_ms();
    kill(pid, SIGKILL);
    await_event(world, GONE);
    print_message("noticed after %lld ms: %s\n", (long long)(clock_monotonic_ms() - started), world->reason);
    await_processes(world, 0);
}

static void test_a_killed_instance_is_noticed_and_leaves_nothing(void **state) {
    struct world *world = *state;
    write_home(world, "before", "setsid sleep 1000 >/dev/null 2>&1 &\n");
    start_and_await(world);
    kill_and_await_gone(world, instance_pid(world));
    assert_true(world->reason[0] != '\0');
}

static bool is_dead(struct world *world, int pid) {
    (void)world;
    return kill(pid, 0) != 0;
}

static void test_a_killed_bwrap_takes_all_of_its_sandbox_along(void **state) {
    struct world *world = *state;
    struct local_reference reference;
    pid_t init;
    start_and_await(world);
    assert_true(local_reference_parse(world->reference, &reference));
    pid_t inside = instance_pid(world);
    kill_and_await_gone(world, reference.pid);
    assert_true(await(world, is_dead, inside, 5000)); /* `gone` is told before all of it is cleared away */
    start_and_await(world);
    assert_true(local_reference_parse(world->reference, &reference));
    assert_int_equal(process_children(reference.pid, &init, 1), 1);
    kill_and_await_gone(world, init);
}

static void test_a_stop_is_polite_then_forceful_and_leaves_nothing(void **state) {
    struct world *world = *state;
    write_home(world, "before", "setsid sleep 1000 >/dev/null 2>&1 &\n");
    start_and_await(world);
    int64_t started = clock_monotonic_ms();
    stop_and_await(world);
    assert_true(clock_monotonic_ms() - started < 2500); /* nobody had to be killed, which is 3 s away */
    write_home(world, "ignore-term", "");
    start_and_await(world);
    started = clock_monotonic_ms();
    stop_and_await(world);
    assert_true(clock_monotonic_ms() - started >= 2500);
    assert_int_equal(world->events[GONE], 0);
}

/* Each with something that outlives it and that only its mark betrays. */
static void test_many_stopped_at_once_leave_nothing(void **state) {
    enum { COUNT = 6 };
    struct world *world = *state;
    char ids[COUNT][sizeof ID];
    for (int i = 0; i < COUNT; i++) {
        snprintf(ids[i], sizeof ids[i], "%032x", (unsigned)i + 1);
        snprintf(world->home, sizeof world->home, "%s/home-%d", world->folder, i);
        assert_int_equal(mkdir(world->home, 0700), 0);
        write_home(world, "before", "setsid sleep 1000 >/dev/null 2>&1 &\n");
        const struct instance_spec spec = spec_of(world, ids[i]);
        backend_local.start(world->backend, &spec);
    }
    for (int i = 0; i < COUNT; i++) {
        await_event(world, READY);
    }
    for (int i = 0; i < COUNT; i++) {
        backend_local.stop(world->backend, ids[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        await_event(world, STOPPED);
    }
    assert_int_equal(processes(world), 0);
    assert_int_equal(world->events[FAILED] + world->events[GONE], 0);
}

static void test_a_start_can_be_abandoned(void **state) {
    struct world *world = *state;
    write_home(world, "deaf", "");
    start(world);
    stop_and_await(world);
    assert_int_equal(world->events[FAILED] + world->events[READY] + world->events[GONE], 0);
}

static void test_an_instance_can_be_started_again_at_once(void **state) {
    struct world *world = *state;
    for (int i = 0; i < 5; i++) {
        start_and_await(world);
        kill(instance_pid(world), SIGKILL);
        await_event(world, GONE);
    }
    start_and_await(world);
    stop_and_await(world);
    assert_int_equal(world->events[FAILED], 0);
}

static void test_a_check_tells_the_living_from_the_dead(void **state) {
    struct world *world = *state;
    assert_int_equal(check(world), 0); /* nobody knows it */
    start_and_await(world);
    assert_int_equal(check(world), 1);
    write_home(world, "closed", ""); /* from its next request on nobody listens */
    assert_int_equal(check(world), 0);
    await_event(world, GONE);
    await_processes(world, 0);
}

static void test_a_taken_port_is_not_used(void **state) {
    struct world *world = *state;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(FIRST_PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    const int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    start_and_await(world);
    assert_int_not_equal(world->address.port, FIRST_PORT);
    close(fd);
}

/* Another tenant takes the port between our look and the instance's bind(), and answers in its place. */
static void test_a_stolen_port_does_not_get_the_requests(void **state) {
    struct world *world = *state;
    write_home(world, "before", "while ! test -e go; do sleep 0.01; done\n");
    start(world);
    await_event(world, CREATED);
    struct local_reference reference;
    assert_true(local_reference_parse(world->reference, &reference));
    pid_t thief = fork();
    if (thief == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(play_instance(reference.port));
    }
    await_event(world, CREATED); /* the second try */
    write_home(world, "go", "");
    await_event(world, READY);
    assert_int_not_equal(world->address.port, reference.port);
    kill(thief, SIGKILL);
    waitpid(thief, NULL, 0);
}

static void test_an_instance_outlives_the_provisioner_and_is_adopted(void **state) {
    struct world *world = *state;
    start_and_await(world);
    pid_t pid = instance_pid(world);
    uint16_t port = world->address.port;
    restart_backend(world);
    const struct instance_spec spec = spec_of(world, ID);
    backend_local.adopt(world->backend, &spec, world->reference);
    await_event(world, READY);
    assert_int_equal(world->address.port, port);
    assert_int_equal(instance_pid(world), pid);
    backend_local.sweep(world->backend);
    assert_int_equal(check(world), 1);
    const struct instance_spec other = spec_of(world, OTHER); /* which gets another port */
    backend_local.start(world->backend, &other);
    await_event(world, READY);
    assert_int_not_equal(world->address.port, port);
    backend_local.stop(world->backend, OTHER);
    await_event(world, STOPPED);
    kill_and_await_gone(world, pid);
}

static void test_adoption_of_what_is_gone_clears_up(void **state) {
    struct world *world = *state;
    write_home(world, "before", "setsid sleep 1000 >/dev/null 2>&1 &\n");
    const struct instance_spec spec = spec_of(world, ID);
    backend_local.adopt(world->backend, &spec, NULL);
    await_event(world, FAILED);
    backend_local.adopt(world->backend, &spec, "nonsense");
    await_event(world, FAILED);
    start_and_await(world);
    struct local_reference reference;
    assert_true(local_reference_parse(world->reference, &reference));
    close_backend(world);
    kill(reference.pid, SIGKILL); /* while nobody watches */
    waitpid(reference.pid, NULL, 0);
    open_backend(world);
    assert_true(processes(world) > 0);
    backend_local.adopt(world->backend, &spec, world->reference);
    await_event(world, FAILED);
    assert_int_equal(processes(world), 0);
}

static void test_the_sweep_ends_what_nobody_owns(void **state) {
    struct world *world = *state;
    write_home(world, "before", "setsid sleep 1000 >/dev/null 2>&1 &\n");
    start_and_await(world);
    restart_backend(world);
    assert_true(processes(world) > 0);
    backend_local.sweep(world->backend);
    await_processes(world, 0);
}

static bool die_instead(void *owner, const char *id, const char *reference, struct error *err) {
    (void)owner;
    (void)id;
    (void)reference;
    kill(getpid(), SIGKILL);
    return error_set(err, ERROR_INTERNAL, "not killed");
}

/* kill -9 of the provisioner between `created` and the start: the held process must go by itself. */
static void test_a_provisioner_killed_in_a_start_leaves_no_orphan(void **state) {
    struct world *world = *state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    write_home(world, "before", "echo ran\n");
    pid_t provisioner = fork();
    if (provisioner == 0) {
        close(ends[0]);
        world->backend->events.created = die_instead;
        start(world);
        _exit(0);
    }
    close(ends[1]); /* the held process has closed its copy, or never ran; the provisioner's goes with it */
    int status;
    assert_int_equal(waitpid(provisioner, &status, 0), provisioner);
    assert_true(WIFSIGNALED(status));
    struct pollfd closed = {.fd = ends[0], .events = POLLIN};
    assert_int_equal(poll(&closed, 1, 5000), 1);
    close(ends[0]);
    await_processes(world, 0);
    char path[160];
    snprintf(path, sizeof path, "%s/report", world->home);
    assert_int_equal(access(path, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

static int run_every_test(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_an_instance_starts_answers_and_stops),
        TEST(test_its_environment_holds_nothing_of_ours),
        TEST(test_no_key_shows_in_ps),
        TEST(test_an_instance_that_ends_at_once_says_why),
        TEST(test_a_missing_home_is_a_failure),
        TEST(test_nothing_runs_that_could_not_be_written_down),
        TEST(test_an_instance_that_never_answers_times_out_and_is_ended),
        TEST(test_a_killed_instance_is_noticed_and_leaves_nothing),
        TEST(test_a_stop_is_polite_then_forceful_and_leaves_nothing),
        TEST(test_many_stopped_at_once_leave_nothing),
        TEST(test_a_start_can_be_abandoned),
        TEST(test_an_instance_can_be_started_again_at_once),
        TEST(test_a_check_tells_the_living_from_the_dead),
        TEST(test_a_taken_port_is_not_used),
        TEST(test_a_stolen_port_does_not_get_the_requests),
        TEST(test_an_instance_outlives_the_provisioner_and_is_adopted),
        TEST(test_adoption_of_what_is_gone_clears_up),
        TEST(test_the_sweep_ends_what_nobody_owns),
        TEST(test_a_provisioner_killed_in_a_start_leaves_no_orphan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

static int run_tests_of_the_sandbox(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_the_sandbox_shows_its_own_home_and_nothing_of_others),
        TEST(test_a_killed_bwrap_takes_all_of_its_sandbox_along),
        TEST(test_a_sandbox_that_cannot_be_run_says_why),
        TEST(test_a_sandbox_that_may_work_is_not_done_without),
    };
    return run_every_test() + cmocka_run_group_tests(tests, NULL, NULL);
}

static int run_tests_of_a_program_that_waits(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_an_instance_starts_answers_and_stops),
        TEST(test_an_instance_that_ends_at_once_says_why),
        TEST(test_nothing_runs_that_could_not_be_written_down),
        TEST(test_a_start_can_be_abandoned),
        TEST(test_an_instance_outlives_the_provisioner_and_is_adopted),
        TEST(test_a_provisioner_killed_in_a_start_leaves_no_orphan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* `test run --wait-fd FD --host … --port N`, as open-terminal. */
static int play_waiting_instance(int wait_fd, int port) {
    char word;
    return read(wait_fd, &word, 1) == 1 && close(wait_fd) == 0 ? play_instance(port) : 0;
}

int main(int argc, char **argv) {
    if (argc == 6 && strcmp(argv[1], "run") == 0) {
        return play_instance(atoi(argv[5]));
    }
    if (argc == 8 && strcmp(argv[2], "--wait-fd") == 0) {
        return play_waiting_instance(atoi(argv[3]), atoi(argv[7]));
    }
    int failures = 0;
    sandbox_of_tests = SANDBOX_NONE;
    failures += run_every_test();
    program_waits = true;
    failures += run_tests_of_a_program_that_waits();
    program_waits = false;
    sandbox_of_tests = SANDBOX_BWRAP;
    failures += run_tests_of_the_sandbox();
    if (getuid() == 0) {
        printf("as nobody:\n");
        fflush(stdout);
        static char copy[64];
        copy_own_program(copy);
        own_program = copy;
        failures += run_as_nobody(run_tests_of_the_sandbox);
        unlink(copy);
    }
    return failures != 0;
}
