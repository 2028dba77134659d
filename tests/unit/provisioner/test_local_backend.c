/* A local instance must live as long as it is wanted and not a moment longer, and see nothing of anybody else. This
 * test program plays the instance itself, so that it needs no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "provisioner/backends/local_command.h"
#include "provisioner/backends/local_instance.h"

#define ID    "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"
#define KEY   "key-of-the-instance"

/* --- the instance ------------------------------------------------------------------------------------------------- */

static void on_term(int number) {
    (void)number;
    if (access("ignore-term", F_OK) != 0) {
        _exit(0);
    }
}

/* `test run --host … --port N`: runs ./before, then answers every request with 200. */
static int play_instance(int port) {
    signal(SIGTERM, on_term);
    if (access("before", F_OK) == 0 && system("sh ./before > report.new 2>&1; mv report.new report") != 0) {
        return 3;
    }
    if (access("exit", F_OK) == 0) {
        fprintf(stderr, "nothing works\n");
        return 7;
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 16) != 0) {
        return 4;
    }
    for (;;) {
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}";
        char request[1024];
        int connection = accept(listener, NULL, NULL);
        if (connection >= 0) {
            if (read(connection, request, sizeof request) > 0 && access("deaf", F_OK) != 0) {
                send(connection, answer, sizeof answer - 1, MSG_NOSIGNAL);
            }
            close(connection);
        }
    }
}

/* --- the world ---------------------------------------------------------------------------------------------------- */

enum event_kind { CREATED, READY, FAILED, GONE, STOPPED, EVENT_KINDS };

struct world {
    char folder[64];
    char run_dir[96];
    char home[96];
    struct settings settings;
    struct event_base *base;
    struct backend *backend;
    int events[EVENT_KINDS];
    bool refuse_created;
    char reference[256];
    struct instance_address address;
    struct error failure;
    char reason[256];
    int checked; /* -1: not yet */
};

static bool on_created(void *owner, const char *id, const char *reference, struct error *err) {
    struct world *world = owner;
    (void)id;
    world->events[CREATED]++;
    snprintf(world->reference, sizeof world->reference, "%s", reference);
    return !world->refuse_created || error_set(err, ERROR_INTERNAL, "the database is read-only");
}

static void on_ready(void *owner, const char *id, const struct instance_address *address) {
    struct world *world = owner;
    (void)id;
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
    struct world *world = owner;
    (void)id;
    world->events[GONE]++;
    snprintf(world->reason, sizeof world->reason, "%s", reason);
}

static void on_stopped(void *owner, const char *id) {
    struct world *world = owner;
    (void)id;
    world->events[STOPPED]++;
}

static void open_backend(struct world *world) {
    const struct backend_events events = {world, on_created, on_ready, on_failed, on_gone, on_stopped, NULL, NULL};
    struct error err;
    world->base = event_base_new();
    world->backend = backend_local.open(&world->settings, world->base, &events, &err);
    if (world->backend == NULL) {
        fail_msg("%s", err.message);
    }
    memset(world->events, 0, sizeof world->events);
}

/* The provisioner dies, its instances do not. */
static void close_backend(struct world *world) {
    backend_local.close(world->backend);
    event_base_free(world->base);
    world->backend = NULL;
}

static void on_tick(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    (void)argument;
}

static bool await(struct world *world, bool (*holds)(struct world *world, int argument), int argument, int timeout_ms) {
    const struct timeval tick = {0, 2000};
    struct event *timer = event_new(world->base, -1, EV_PERSIST, on_tick, NULL);
    event_add(timer, &tick);
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    bool held;
    while (!(held = holds(world, argument)) && clock_monotonic_ms() < deadline) {
        event_base_loop(world->base, EVLOOP_ONCE);
    }
    event_free(timer);
    return held;
}

static bool was_raised(struct world *world, int kind) {
    return world->events[kind] > 0;
}

static void await_event(struct world *world, enum event_kind kind) {
    static const char *const names[] = {"created", "ready", "failed", "gone", "stopped"};
    if (!await(world, was_raised, kind, 15000)) {
        fail_msg("`%s` was not raised; failure: %s; gone: %s", names[kind], world->failure.message, world->reason);
    }
    world->events[kind]--;
}

static void count_process(void *argument, pid_t pid, const char *value) {
    (void)pid;
    (void)value;
    ++*(int *)argument;
}

static int processes(const struct world *world) {
    int count = 0;
    process_for_each_marked(LOCAL_MARK, world->backend->mark_prefix, count_process, &count);
    return count;
}

static bool has_processes(struct world *world, int count) {
    return processes(world) == count;
}

static void await_processes(struct world *world, int count) {
    if (!await(world, has_processes, count, 10000)) {
        fail_msg("%d processes instead of %d", processes(world), count);
    }
}

static struct instance_spec spec_of(const struct world *world, const char *id) {
    return (struct instance_spec){.instance_id = id,
                                  .instance_name = "terminals-x",
                                  .user_id = "user",
                                  .policy_id = "default",
                                  .context_id = "default",
                                  .key = KEY,
                                  .home = world->home};
}

static void write_home(const struct world *world, const char *name, const char *content) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", world->home, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
    chmod(path, 0755);
}

static char *read_home(const struct world *world, const char *name) {
    char path[160];
    char *content = calloc(1, 65536);
    snprintf(path, sizeof path, "%s/%s", world->home, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t length = fread(content, 1, 65535, file);
    content[length] = '\0';
    fclose(file);
    return content;
}

static void start(struct world *world) {
    const struct instance_spec spec = spec_of(world, ID);
    backend_local.start(world->backend, &spec);
}

static void start_and_await(struct world *world) {
    start(world);
    await_event(world, CREATED);
    await_event(world, READY);
}

static void stop_and_await(struct world *world) {
    backend_local.stop(world->backend, ID);
    await_event(world, STOPPED);
    assert_int_equal(processes(world), 0);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int sandbox_of_tests = SANDBOX_BWRAP;

static char *own_program = "/proc/self/exe";

static int open_world(void **state) {
    struct world *world = calloc(1, sizeof *world);
    *state = world;
    world->checked = -1;
    strcpy(world->folder, "/tmp/terminals-local-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->run_dir, sizeof world->run_dir, "%s/run", world->folder);
    snprintf(world->home, sizeof world->home, "%s/home", world->folder);
    assert_int_equal(mkdir(world->run_dir, 0700), 0);
    assert_int_equal(mkdir(world->home, 0700), 0);
    world->settings = (struct settings){.run_dir = world->run_dir,
                                        .data_dir = world->folder,
                                        .local_binary = own_program,
                                        .local_port_range_start = 19400,
                                        .local_sandbox = sandbox_of_tests,
                                        .start_timeout_seconds = 10};
    open_backend(world);
    return 0;
}

static int close_world(void **state) {
    struct world *world = *state;
    struct local_instance *instance;
    struct local_instance *next;
    HASH_ITER(hh, world->backend->instances, instance, next) {
        local_instance_free(instance);
    }
    backend_local.sweep(world->backend); /* nobody owns anything now */
    await_processes(world, 0);
    close_backend(world);
    nftw(world->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(world);
    return 0;
}

static bool is_sandboxed(const struct world *world) {
    return world->backend->sandboxed;
}

/* The instance's own process: inside the sandbox, pid 2. */
static pid_t instance_pid(const struct world *world) {
    struct local_reference reference;
    pid_t child;
    assert_true(local_reference_parse(world->reference, &reference));
    if (!is_sandboxed(world)) {
        return reference.pid;
    }
    assert_int_equal(process_children(reference.pid, &child, 1), 1);
    assert_int_equal(process_children(child, &child, 1), 1);
    return child;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void test_an_instance_starts_answers_and_stops(void **state) {
    struct world *world = *state;
    start_and_await(world);
    assert_string_equal(world->address.host, "127.0.0.1");
    assert_string_equal(world->address.key, KEY);
    assert_in_range(world->address.port, 19400, 19500);
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
    assert_true(clock_monotonic_ms() - started < 1000);
    write_home(world, "ignore-term", "");
    start_and_await(world);
    started = clock_monotonic_ms();
    stop_and_await(world);
    assert_in_range(clock_monotonic_ms() - started, 2500, 4500);
    assert_int_equal(world->events[GONE], 0);
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

static void on_checked(void *argument, bool alive) {
    ((struct world *)argument)->checked = alive;
}

static bool is_checked(struct world *world, int argument) {
    (void)argument;
    return world->checked >= 0;
}

static int check(struct world *world) {
    world->checked = -1;
    backend_local.check(world->backend, ID, on_checked, world);
    assert_true(await(world, is_checked, 0, 10000));
    return world->checked;
}

static void test_a_check_tells_the_living_from_the_dead(void **state) {
    struct world *world = *state;
    assert_int_equal(check(world), 0); /* nobody knows it */
    start_and_await(world);
    assert_int_equal(check(world), 1);
    write_home(world, "deaf", "");
    assert_int_equal(check(world), 0);
    await_event(world, GONE);
    await_processes(world, 0);
}

static void test_a_taken_port_is_not_used(void **state) {
    struct world *world = *state;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(19400), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    const int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    start_and_await(world);
    assert_int_not_equal(world->address.port, 19400);
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

static void restart_backend(struct world *world) {
    close_backend(world);
    open_backend(world);
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
    close(ends[1]); /* the held process has closed its copy; the provisioner's goes with it */
    int status;
    assert_int_equal(waitpid(provisioner, &status, 0), provisioner);
    assert_true(WIFSIGNALED(status));
    struct pollfd closed = {.fd = ends[0], .events = POLLIN};
    assert_int_equal(poll(&closed, 1, 5000), 1);
    close(ends[0]);
    assert_int_equal(processes(world), 0);
}

static void test_how_long_a_start_takes(void **state) {
    struct world *world = *state;
    enum { ROUNDS = 21 };
    int64_t times[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        struct timespec begin;
        struct timespec end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        start_and_await(world);
        clock_gettime(CLOCK_MONOTONIC, &end);
        times[i] = (end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000;
        stop_and_await(world);
    }
    for (int i = 0; i < ROUNDS; i++) {
        for (int j = i + 1; j < ROUNDS; j++) {
            if (times[j] < times[i]) {
                int64_t swap = times[i];
                times[i] = times[j];
                times[j] = swap;
            }
        }
    }
    print_message("start to ready, %s: median %lld us, slowest %lld us\n", is_sandboxed(world) ? "bwrap" : "none",
                  (long long)times[ROUNDS / 2], (long long)times[ROUNDS - 1]);
}

/* A copy of this program where nobody can reach it: the clone may lie below /root. */
static void copy_own_program(char path[64]) {
    char command[256];
    strcpy(path, "/tmp/terminals-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof command, "cp /proc/%d/exe %s && chmod 755 %s", (int)getpid(), path, path);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test, and every word of it ours */
}

/* Becomes nobody in a child and runs all tests there: an unprivileged provisioner can do all of this. */
static int run_as_nobody(int (*run)(void)) {
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
            _exit(99);
        }
        prctl(PR_SET_DUMPABLE, 1); /* as if nobody had started us: /proc/self is ours */
        int result = run();
        fflush(stdout);
        _exit(result != 0);
    }
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
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
        TEST(test_a_start_can_be_abandoned),
        TEST(test_an_instance_can_be_started_again_at_once),
        TEST(test_a_check_tells_the_living_from_the_dead),
        TEST(test_a_taken_port_is_not_used),
        TEST(test_a_stolen_port_does_not_get_the_requests),
        TEST(test_an_instance_outlives_the_provisioner_and_is_adopted),
        TEST(test_adoption_of_what_is_gone_clears_up),
        TEST(test_the_sweep_ends_what_nobody_owns),
        TEST(test_a_provisioner_killed_in_a_start_leaves_no_orphan),
        TEST(test_how_long_a_start_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

static int run_tests_of_the_sandbox(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_the_sandbox_shows_its_own_home_and_nothing_of_others),
        TEST(test_a_killed_bwrap_takes_all_of_its_sandbox_along),
    };
    return run_every_test() + cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    if (argc == 6 && strcmp(argv[1], "run") == 0) {
        return play_instance(atoi(argv[5]));
    }
    int failures = 0;
    sandbox_of_tests = SANDBOX_NONE;
    failures += run_every_test();
    sandbox_of_tests = SANDBOX_BWRAP;
    failures += run_tests_of_the_sandbox();
    if (getuid() == 0) {
        printf("as nobody:\n");
        fflush(stdout);
        char copy[64];
        copy_own_program(copy);
        own_program = copy;
        failures += run_as_nobody(run_tests_of_the_sandbox);
        unlink(copy);
    }
    return failures != 0;
}
