/* The world of the tests of the local backend: an instance, which the test program plays itself, so that it needs no
 * other; a backend on a folder of its own, whose events are counted; and the same program once more as nobody.
 */
#ifndef TERMINALS_TESTS_LOCAL_WORLD_H
#define TERMINALS_TESTS_LOCAL_WORLD_H

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

#include "common/cleanup.h"
#include "common/clock.h"
#include "provisioner/backends/local_command.h"
#include "provisioner/backends/local_instance.h"

#define ID    "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"
#define KEY   "key-of-the-instance"

/* --- the instance ------------------------------------------------------------------------------------------------- */

static inline void on_term(int number) {
    (void)number;
    if (access("ignore-term", F_OK) != 0) {
        _exit(0);
    }
}

/* `test run --host … --port N`: runs ./before, then answers every request with 200, until there is ./closed: then it
 * listens no more. */
static inline int play_instance(int port) {
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
        if (access("closed", F_OK) == 0) {
            close(connection);
            close(listener);
            listener = -1;
        }
        while (listener < 0) {
            pause();
        }
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

static inline bool on_created(void *owner, const char *id, const char *reference, struct error *err) {
    struct world *world = owner;
    (void)id;
    world->events[CREATED]++;
    snprintf(world->reference, sizeof world->reference, "%s", reference);
    return !world->refuse_created || error_set(err, ERROR_INTERNAL, "the database is read-only");
}

static inline void on_ready(void *owner, const char *id, const struct instance_address *address) {
    struct world *world = owner;
    (void)id;
    world->events[READY]++;
    world->address = *address;
}

static inline void on_failed(void *owner, const char *id, const struct error *err) {
    struct world *world = owner;
    (void)id;
    world->events[FAILED]++;
    world->failure = *err;
}

static inline void on_gone(void *owner, const char *id, const char *reason) {
    struct world *world = owner;
    (void)id;
    world->events[GONE]++;
    snprintf(world->reason, sizeof world->reason, "%s", reason);
}

static inline void on_stopped(void *owner, const char *id) {
    struct world *world = owner;
    (void)id;
    world->events[STOPPED]++;
}

static bool program_waits; /* by itself, until it may begin, as our open-terminal without a sandbox */

static inline void open_backend(struct world *world) {
    const struct backend_events events = {world,      on_created, on_ready, on_failed, on_gone,
                                          on_stopped, NULL,       NULL,     NULL};
    struct error err;
    world->base = event_base_new();
    world->backend = backend_local.open(&world->settings, world->base, &events, &err);
    if (world->backend == NULL) {
        fail_msg("%s", err.message);
    }
    world->backend->binary_waits = program_waits;
    memset(world->events, 0, sizeof world->events);
}

/* The provisioner dies, its instances do not. */
static inline void close_backend(struct world *world) {
    backend_local.close(world->backend);
    event_base_free(world->base);
    world->backend = NULL;
}

static inline void on_tick(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    (void)argument;
}

static inline bool await(struct world *world, bool (*holds)(struct world *world, int argument), int argument,
                         int timeout_ms) {
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

static inline bool was_raised(struct world *world, int kind) {
    return world->events[kind] > 0;
}

static inline void await_event(struct world *world, enum event_kind kind) {
    static const char *const names[] = {"created", "ready", "failed", "gone", "stopped"};
    if (!await(world, was_raised, kind, 15000)) {
        fail_msg("`%s` was not raised; failure: %s; gone: %s", names[kind], world->failure.message, world->reason);
    }
    world->events[kind]--;
}

static inline void count_process(void *argument, pid_t pid, const char *value) {
    (void)pid;
    (void)value;
    ++*(int *)argument;
}

static inline int processes(const struct world *world) {
    int count = 0;
    process_for_each_marked(LOCAL_MARK, world->backend->mark_prefix, count_process, &count);
    return count;
}

static inline bool has_processes(struct world *world, int count) {
    return processes(world) == count;
}

static inline void await_processes(struct world *world, int count) {
    if (!await(world, has_processes, count, 10000)) {
        fail_msg("%d processes instead of %d", processes(world), count);
    }
}

static inline struct instance_spec spec_of(const struct world *world, const char *id) {
    return (struct instance_spec){.instance_id = id,
                                  .instance_name = "terminals-x",
                                  .user_id = "user",
                                  .policy_id = "default",
                                  .context_id = "default",
                                  .key = KEY,
                                  .home = world->home};
}

static inline void write_home(const struct world *world, const char *name, const char *content) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", world->home, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
    chmod(path, 0755);
}

static inline char *read_home(const struct world *world, const char *name) {
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

static inline void start(struct world *world) {
    const struct instance_spec spec = spec_of(world, ID);
    backend_local.start(world->backend, &spec);
}

static inline void start_and_await(struct world *world) {
    start(world);
    await_event(world, CREATED);
    await_event(world, READY);
}

static inline void stop_and_await(struct world *world) {
    backend_local.stop(world->backend, ID);
    await_event(world, STOPPED);
    assert_int_equal(processes(world), 0);
}

static inline void restart_backend(struct world *world) {
    close_backend(world);
    open_backend(world);
}

static inline void on_checked(void *argument, bool alive) {
    ((struct world *)argument)->checked = alive;
}

static inline bool is_checked(struct world *world, int argument) {
    (void)argument;
    return world->checked >= 0;
}

static inline int check(struct world *world) {
    world->checked = -1;
    backend_local.check(world->backend, ID, on_checked, world);
    assert_true(await(world, is_checked, 0, 10000));
    return world->checked;
}

static inline int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int sandbox_of_tests = SANDBOX_BWRAP;

static char *own_program = "/proc/self/exe";

static inline int open_world(void **state) {
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
                                        .local_port_range_start = FIRST_PORT,
                                        .local_sandbox = sandbox_of_tests,
                                        .start_timeout_seconds = 10};
    open_backend(world);
    return 0;
}

static inline int close_world(void **state) {
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

static inline bool is_sandboxed(const struct world *world) {
    return world->backend->sandboxed;
}

/* The instance's own process: inside the sandbox, pid 2. */
static inline pid_t instance_pid(const struct world *world) {
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

/* A copy of this program where nobody can reach it: the clone may lie below /root. */
static inline void copy_own_program(char path[64]) {
    char command[256];
    strcpy(path, "/tmp/terminals-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof command, "cp /proc/%d/exe %s && chmod 755 %s", (int)getpid(), path, path);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test, and every word of it ours */
}

/* Becomes nobody in a child and runs all tests there: an unprivileged provisioner can do all of this. */
static inline int run_as_nobody(int (*run)(void)) {
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

#endif
