/* haproxy_world.h - a real HAProxy (master and worker) with a tiny configuration, in a folder of its own, for tests. */
#ifndef TERMINALS_TESTS_HAPROXY_WORLD_H
#define TERMINALS_TESTS_HAPROXY_WORLD_H

/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <event2/event.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "provisioner/haproxy_runtime.h"

#define PATIENCE_MS 30000 /* until what is awaited counts as not happening, on a busy machine too */

struct haproxy_world {
    char folder[64];
    char map_path[128];
    char socket_path[128];
    char master_path[128];
    char http_path[128];
    struct event_base *base;
    struct haproxy_runtime *runtime;
    pid_t master;
};

static inline int haproxy_world_remove(const char *path, const struct stat *status, int type, struct FTW *ftw) {
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* Says one command on a socket and returns the whole answer; NULL if nobody answers. The caller frees it. */
static inline char *haproxy_world_ask(const char *path, const char *text) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text)) {
        close(fd);
        return NULL;
    }
    shutdown(fd, SHUT_WR); /* the master would wait for another command */
    size_t capacity = 1024 * 1024 * 8;
    char *answer = malloc(capacity);
    size_t length = 0;
    ssize_t count;
    while ((count = read(fd, answer + length, capacity - 1 - length)) > 0) {
        length += (size_t)count;
    }
    close(fd);
    answer[length] = '\0';
    return answer;
}

static inline void haproxy_world_start_haproxy(struct haproxy_world *world) {
    char configuration[160];
    snprintf(configuration, sizeof configuration, "%s/haproxy.cfg", world->folder);
    world->master = fork();
    if (world->master == 0) {
        char *const arguments[] = {"haproxy", "-q", "-W", "-S", world->master_path, "-f", configuration, NULL};
        setpgid(0, 0);
        execvp(arguments[0], arguments);
        _exit(127);
    }
    setpgid(world->master, world->master);
}

/* Asks the master for new workers. One that does not answer yet has no handler for the signal, and would die of it. */
static inline void haproxy_world_reload(const struct haproxy_world *world) {
    bool answers = false;
    for (int i = 0; i < 500 && !answers; i++) {
        char *answer = haproxy_world_ask(world->master_path, "show proc\n");
        answers = answer != NULL && strstr(answer, "# workers") != NULL;
        free(answer);
        usleep(answers ? 0 : 10000); /* there is no event to wait for: its socket is replaced as it starts */
    }
    assert_true(answers);
    kill(world->master, SIGUSR2);
}

/* Kills master and workers, as a power cut would. */
static inline void haproxy_world_kill_haproxy(struct haproxy_world *world) {
    if (world->master > 0) {
        kill(-world->master, SIGKILL);
        waitpid(world->master, NULL, 0);
        world->master = 0;
    }
}

static inline void haproxy_world_open(struct haproxy_world *world) {
    memset(world, 0, sizeof *world);
    signal(SIGPIPE, SIG_IGN);                                /* as the provisioner does */
    strcpy(world->folder, "/tmp/terminals map;test-XXXXXX"); /* a name that needs quoting */
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->map_path, sizeof world->map_path, "%s/routes.map", world->folder);
    snprintf(world->socket_path, sizeof world->socket_path, "%s/haproxy.sock", world->folder);
    snprintf(world->master_path, sizeof world->master_path, "%s/master.sock", world->folder);
    snprintf(world->http_path, sizeof world->http_path, "%s/http.sock", world->folder);
    char path[160];
    snprintf(path, sizeof path, "%s/haproxy.cfg", world->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "global\n stats socket \"%s\" mode 600 level admin\n maxconn 200\n"
            "defaults\n mode http\n timeout client 60s\n timeout server 60s\n timeout connect 1s\n option contstats\n"
            "backend tenants\n stick-table type binary len 32 size 1m expire 24h store conn_cur,http_req_cnt\n"
            "frontend f\n bind \"unix@%s\"\n"
            " http-request set-var(txn.route) req.hdr(x-user),sha2(256)\n"
            " http-request track-sc0 var(txn.route) table tenants if { req.hdr(x-user) -m found }\n"
            " http-request wait-for-body time 50s if { req.hdr(x-hold) -m found }\n"
            " http-request return status 200 content-type text/plain lf-string "
            "\"%%[var(txn.route),hex,map_str('%s',none)]\"\n",
            world->socket_path, world->http_path, world->map_path);
    assert_int_equal(fclose(file), 0);
    file = fopen(world->map_path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    world->base = event_base_new();
    assert_non_null(world->base);
    world->runtime = haproxy_runtime_open(world->socket_path, world->master_path, world->base);
    assert_non_null(world->runtime);
}

static inline void haproxy_world_close(struct haproxy_world *world) {
    haproxy_runtime_close(world->runtime);
    event_base_free(world->base);
    haproxy_world_kill_haproxy(world);
    nftw(world->folder, haproxy_world_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void haproxy_world_on_tick(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    (void)argument;
}

/* Runs the loop until `holds` does; returns after how many ms, or fails after PATIENCE_MS. */
static inline int64_t haproxy_world_await(struct haproxy_world *world, bool (*holds)(void *argument), void *argument) {
    const struct timeval tick = {0, 2000};
    struct event *timer = event_new(world->base, -1, EV_PERSIST, haproxy_world_on_tick, NULL);
    event_add(timer, &tick);
    int64_t started = clock_monotonic_ms();
    bool held;
    while (!(held = holds(argument)) && clock_monotonic_ms() - started < PATIENCE_MS) {
        event_base_loop(world->base, EVLOOP_ONCE);
    }
    event_free(timer);
    if (!held) {
        fail_msg("did not hold within %d ms", PATIENCE_MS);
    }
    return clock_monotonic_ms() - started;
}

static inline bool haproxy_world_is_up(void *argument) {
    return haproxy_runtime_is_up(((struct haproxy_world *)argument)->runtime);
}

static inline void haproxy_world_await_up(struct haproxy_world *world) {
    haproxy_world_await(world, haproxy_world_is_up, world);
}

#endif
