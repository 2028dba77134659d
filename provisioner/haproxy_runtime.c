#include "provisioner/haproxy_runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/haproxy_activity.h"
#include "provisioner/haproxy_exchange.h"

#define POLL_UP_MS         1000
#define POLL_DOWN_MS       50
#define POLL_NEW_MS        100 /* while an old worker may still answer in the new one's place */
#define NEW_MS             3000
#define LISTENERS_MAX      4
#define MASTER_RETRY_MS    20
#define MASTER_PATIENCE_MS 3000 /* a reload of a large configuration takes a second */

/* Goes before every command, so that every answer says whose it is. During a reload the old and the new worker accept
 * on the same socket: what was told to the old one is lost, and only this tells. */
#define WHO_ANSWERS "show info"

struct command {
    char *text;
    void (*done)(void *argument, const char *answer);
    void *argument;
    struct command *next;
};

struct restart_listener {
    void (*restarted)(void *argument);
    void *argument;
};

struct haproxy_runtime {
    struct event_base *base;
    char *socket_path;
    char *master_path;
    bool up;
    long pid;            /* of the process that answered last */
    long uptime_seconds; /* what it said: another process may have the same pid, as in a container that was restarted */
    int64_t since_ms;    /* when it first did (monotonic) */
    int64_t down_ms;     /* when it was last found not to answer any more (monotonic); 0: never */
    int64_t lost_ms;     /* the same, of the last one that never answered again */
    struct command *first; /* the one under way, if `exchange` is set */
    struct command *last;
    struct haproxy_exchange *exchange;
    struct event *poll;
    struct event *lifeline; /* an idle connection, whose end says at once that HAProxy has ended */
    struct restart_listener listeners[LISTENERS_MAX];
    size_t listener_count;
    struct activity_request *activities;
};

static void send_first(struct haproxy_runtime *runtime);
static void poll_soon(struct haproxy_runtime *runtime, int after_ms);

/* --- commands ----------------------------------------------------------------------------------------------------- */

static void drop_lifeline(struct haproxy_runtime *runtime) {
    if (runtime->lifeline != NULL) {
        close(event_get_fd(runtime->lifeline));
        event_free(runtime->lifeline);
        runtime->lifeline = NULL;
    }
}

static struct command *take_first(struct haproxy_runtime *runtime) {
    struct command *command = runtime->first;
    runtime->first = command->next;
    if (runtime->first == NULL) {
        runtime->last = NULL;
    }
    return command;
}

static void free_command(struct command *command) {
    free(command->text);
    free(command);
}

/* HAProxy is not there, or stands still: nobody waits for it any longer, and what is asked until it is back is refused
 * at once. So a queue never outgrows what was asked within one timeout. */
static void go_down(struct haproxy_runtime *runtime) {
    if (runtime->up) {
        log_warning(NULL, "HAProxy does not answer on `%s`", runtime->socket_path);
        runtime->down_ms = clock_monotonic_ms();
    }
    runtime->up = false;
    drop_lifeline(runtime);
    poll_soon(runtime, POLL_DOWN_MS);
    struct command *lost = runtime->first;
    runtime->first = NULL;
    runtime->last = NULL;
    while (lost != NULL) {
        struct command *command = lost;
        lost = command->next;
        command->done(command->argument, NULL);
        free_command(command);
    }
}

/* Another process answers than before: tells everybody that what it knows may be anything. */
static void note_process(struct haproxy_runtime *runtime, long pid, long uptime_seconds) {
    bool is_the_same = pid == runtime->pid && uptime_seconds >= runtime->uptime_seconds;
    bool is_known = runtime->up && is_the_same;
    if (!runtime->up && !is_the_same) {
        runtime->lost_ms = runtime->down_ms;
    }
    runtime->up = true;
    runtime->pid = pid;
    runtime->uptime_seconds = uptime_seconds;
    if (is_known) {
        return;
    }
    runtime->since_ms = clock_monotonic_ms();
    poll_soon(runtime, POLL_NEW_MS);
    log_info(NULL, "HAProxy is there, worker %ld", pid);
    drop_lifeline(runtime); /* an old worker would wait for it */
    for (size_t i = 0; i < runtime->listener_count; i++) {
        runtime->listeners[i].restarted(runtime->listeners[i].argument);
    }
}

static void on_answer(void *argument, const char *answer) {
    struct haproxy_runtime *runtime = argument;
    const char *line = answer == NULL ? NULL : strstr(answer, "\nPid: ");
    long pid = line == NULL ? 0 : strtol(line + strlen("\nPid: "), NULL, 10);
    const char *uptime = line == NULL ? NULL : strstr(line, "\nUptime_sec: ");
    long uptime_seconds = uptime == NULL ? 0 : strtol(uptime + strlen("\nUptime_sec: "), NULL, 10);
    const char *rest = line == NULL ? NULL : strstr(line, "\n\n");
    runtime->exchange = NULL;
    if (rest == NULL || pid <= 0) {
        go_down(runtime);
        return;
    }
    struct command *command = take_first(runtime);
    command->done(command->argument, rest + strlen("\n\n"));
    free_command(command);
    note_process(runtime, pid, uptime_seconds);
    send_first(runtime);
}

static void send_first(struct haproxy_runtime *runtime) {
    if (runtime->exchange != NULL || runtime->first == NULL) {
        return;
    }
    runtime->exchange =
        haproxy_exchange_start(runtime->base, runtime->socket_path, runtime->first->text, on_answer, runtime);
    if (runtime->exchange == NULL) {
        go_down(runtime);
    }
}

/* An empty `text` asks for nothing but who is there. */
static void enqueue(struct haproxy_runtime *runtime, const char *text, void (*done)(void *argument, const char *answer),
                    void *argument) {
    struct command *command = calloc(1, sizeof *command);
    if (command != NULL) {
        *command = (struct command){.done = done, .argument = argument};
        if (asprintf(&command->text, "%s%s%s", WHO_ANSWERS, text[0] != '\0' ? ";" : "", text) < 0) {
            command->text = NULL;
        }
    }
    if (command == NULL || command->text == NULL) {
        free(command);
        done(argument, NULL);
        return;
    }
    if (runtime->last != NULL) {
        runtime->last->next = command;
    } else {
        runtime->first = command;
    }
    runtime->last = command;
    send_first(runtime);
}

void haproxy_runtime_command(struct haproxy_runtime *runtime, const char *command,
                             void (*done)(void *argument, const char *answer), void *argument) {
    if (runtime->up) {
        enqueue(runtime, command, done, argument);
    } else {
        done(argument, NULL);
    }
}

/* --- is it there, and is it the same? ----------------------------------------------------------------------------- */

static void on_lifeline(evutil_socket_t fd, short what, void *argument) {
    struct haproxy_runtime *runtime = argument;
    (void)fd;
    (void)what;
    drop_lifeline(runtime);
    poll_soon(runtime, 0); /* it may only have closed a connection that was idle for `stats timeout` */
}

/* Returns the connection, or 0 - errno. On a Unix socket there is nothing to wait for. */
static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        return -errno;
    }
    return steal_fd(&fd);
}

static void open_lifeline(struct haproxy_runtime *runtime) {
    cleanup_close int fd = connect_to(runtime->socket_path);
    if (fd < 0) {
        return; /* the poll notices the same, only later */
    }
    runtime->lifeline = event_new(runtime->base, fd, EV_READ, on_lifeline, runtime);
    if (runtime->lifeline != NULL && event_add(runtime->lifeline, NULL) == 0) {
        (void)steal_fd(&fd);
    } else if (runtime->lifeline != NULL) {
        event_free(runtime->lifeline);
        runtime->lifeline = NULL;
    }
}

static void on_polled(void *argument, const char *answer) {
    struct haproxy_runtime *runtime = argument;
    bool is_new = clock_monotonic_ms() - runtime->since_ms < NEW_MS;
    poll_soon(runtime, answer == NULL ? POLL_DOWN_MS : is_new ? POLL_NEW_MS : POLL_UP_MS);
    if (answer != NULL && runtime->lifeline == NULL) {
        open_lifeline(runtime);
    }
}

static void on_poll(evutil_socket_t fd, short what, void *argument) {
    struct haproxy_runtime *runtime = argument;
    (void)fd;
    (void)what;
    enqueue(runtime, "", on_polled, runtime);
}

static void poll_soon(struct haproxy_runtime *runtime, int after_ms) {
    const struct timeval after = {after_ms / 1000, after_ms % 1000 * 1000};
    if (evtimer_add(runtime->poll, &after) != 0) {
        log_error(NULL, "HAProxy is not watched any more: out of memory");
    }
}

/* --- activity ----------------------------------------------------------------------------------------------------- */

/* One haproxy_runtime_activity() under way: one worker after the other, the current ones first. */
struct activity_request {
    struct haproxy_runtime *runtime;
    struct haproxy_exchange *exchange; /* with the master */
    struct event *retry;
    int64_t deadline_ms; /* monotonic; of the retries */
    struct route_activity_list list;
    struct haproxy_workers workers;
    size_t asked; /* of these workers */
    void (*done)(void *argument, bool ok, const struct route_activity *routes, size_t count);
    void *argument;
    struct activity_request *next;
};

static void free_activity(struct activity_request *request) {
    haproxy_exchange_cancel(request->exchange);
    if (request->retry != NULL) {
        event_free(request->retry);
    }
    free(request->list.routes);
    free(request);
}

static void finish_activity(struct activity_request *request, bool ok) {
    struct activity_request **link = &request->runtime->activities;
    while (*link != request) {
        link = &(*link)->next;
    }
    *link = request->next;
    request->done(request->argument, ok, request->list.routes, ok ? request->list.count : 0);
    free_activity(request);
}

/* While the master reloads, its socket is replaced, and workers come and go: what they hold is then unknown for a
 * moment, and nobody must take it for nothing. */
static void ask_again(struct activity_request *request) {
    const struct timeval pause = {0, MASTER_RETRY_MS * 1000};
    request->list.count = 0;
    if (clock_monotonic_ms() > request->deadline_ms || evtimer_add(request->retry, &pause) != 0) {
        finish_activity(request, false);
    }
}

static bool has_master(const struct haproxy_runtime *runtime) {
    return access(runtime->master_path, F_OK) == 0 || errno != ENOENT;
}

static void ask_master(struct activity_request *request, const char *command, haproxy_exchange_done *answered) {
    request->exchange =
        haproxy_exchange_start(request->runtime->base, request->runtime->master_path, command, answered, request);
    if (request->exchange == NULL) {
        ask_again(request);
    }
}

static void ask_next_worker(struct activity_request *request);

static void on_worker_table(void *argument, const char *answer) {
    struct activity_request *request = argument;
    const pid_t pid = request->workers.pids[request->asked++];
    request->exchange = NULL;
    if (answer != NULL && haproxy_activity_parse(answer, &request->list)) {
        ask_next_worker(request);
    } else if (request->asked <= request->workers.current) {
        ask_again(request);
    } else {
        /* One that ended since the master listed it holds no connection any more: the master then says that it cannot
         * find it, or hangs up. One that stands still, HAPROXY_SILENCE_MAX_MS, will not answer its users either. */
        log_debug(NULL, "old HAProxy worker %d has ended", (int)pid);
        ask_next_worker(request);
    }
}

static void ask_next_worker(struct activity_request *request) {
    char command[64];
    if (request->asked == request->workers.count) {
        finish_activity(request, true);
        return;
    }
    snprintf(command, sizeof command, "@!%d show table " HAPROXY_TABLE, (int)request->workers.pids[request->asked]);
    ask_master(request, command, on_worker_table);
}

static void on_workers(void *argument, const char *answer) {
    struct activity_request *request = argument;
    request->exchange = NULL;
    request->asked = 0;
    if (answer == NULL || !haproxy_activity_workers(answer, &request->workers)) {
        ask_again(request);
    } else {
        ask_next_worker(request);
    }
}

static void on_only_table(void *argument, const char *answer) {
    struct activity_request *request = argument;
    finish_activity(request, answer != NULL && haproxy_activity_parse(answer, &request->list));
}

static void ask_who_works(struct activity_request *request) {
    if (has_master(request->runtime)) {
        ask_master(request, "show proc", on_workers);
    } else { /* then there is one worker, and no old ones */
        haproxy_runtime_command(request->runtime, "show table " HAPROXY_TABLE, on_only_table, request);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    ask_who_works(argument);
}

static void on_is_there(void *argument, const char *answer) {
    struct activity_request *request = argument;
    const struct timeval next_turn = {0};
    if (answer == NULL || evtimer_add(request->retry, &next_turn) != 0) {
        finish_activity(request, false);
    }
}

void haproxy_runtime_activity(struct haproxy_runtime *runtime,
                              void (*done)(void *argument, bool ok, const struct route_activity *routes, size_t count),
                              void *argument) {
    struct activity_request *request = calloc(1, sizeof *request);
    struct event *retry = request == NULL ? NULL : evtimer_new(runtime->base, on_retry, request);
    if (retry == NULL) {
        free(request);
        done(argument, false, NULL, 0);
        return;
    }
    request->runtime = runtime;
    request->retry = retry;
    request->deadline_ms = clock_monotonic_ms() + MASTER_PATIENCE_MS;
    request->done = done;
    request->argument = argument;
    request->next = runtime->activities;
    runtime->activities = request;
    if (runtime->up) {
        ask_who_works(request);
    } else { /* or it has begun this moment, and was not asked before */
        enqueue(runtime, "", on_is_there, request);
    }
}

/* --- opening and closing ------------------------------------------------------------------------------------------ */

struct haproxy_runtime *haproxy_runtime_open(const char *socket_path, const char *master_path,
                                             struct event_base *base) {
    struct haproxy_runtime *runtime = calloc(1, sizeof *runtime);
    if (runtime == NULL) {
        return NULL;
    }
    runtime->base = base;
    runtime->socket_path = strdup(socket_path);
    runtime->master_path = strdup(master_path);
    runtime->poll = evtimer_new(base, on_poll, runtime);
    if (runtime->socket_path == NULL || runtime->master_path == NULL || runtime->poll == NULL) {
        haproxy_runtime_close(runtime);
        return NULL;
    }
    poll_soon(runtime, 0);
    return runtime;
}

void haproxy_runtime_close(struct haproxy_runtime *runtime) {
    if (runtime == NULL) {
        return;
    }
    haproxy_exchange_cancel(runtime->exchange);
    while (runtime->first != NULL) {
        free_command(take_first(runtime));
    }
    while (runtime->activities != NULL) {
        struct activity_request *request = runtime->activities;
        runtime->activities = request->next;
        free_activity(request);
    }
    drop_lifeline(runtime);
    if (runtime->poll != NULL) {
        event_free(runtime->poll);
    }
    free(runtime->socket_path);
    free(runtime->master_path);
    free(runtime);
}

bool haproxy_runtime_on_restart(struct haproxy_runtime *runtime, void (*restarted)(void *argument), void *argument) {
    if (runtime->listener_count == LISTENERS_MAX) {
        return false;
    }
    runtime->listeners[runtime->listener_count++] = (struct restart_listener){restarted, argument};
    return true;
}

bool haproxy_runtime_is_up(const struct haproxy_runtime *runtime) {
    return runtime->up;
}

bool haproxy_runtime_is_gone(const struct haproxy_runtime *runtime) {
    cleanup_close int worker = connect_to(runtime->socket_path);
    cleanup_close int master = connect_to(runtime->master_path);
    /* HAProxy leaves its sockets behind: one that vanished from under it says nothing about it. */
    bool worker_is_gone = worker == -ECONNREFUSED || (worker == -ENOENT && runtime->pid == 0);
    return worker_is_gone && (master == -ECONNREFUSED || master == -ENOENT);
}

int64_t haproxy_runtime_lost_ms(const struct haproxy_runtime *runtime) {
    return runtime->up ? runtime->lost_ms : runtime->down_ms;
}

pid_t haproxy_runtime_pid(const struct haproxy_runtime *runtime) {
    return (pid_t)runtime->pid;
}

struct event_base *haproxy_runtime_event_base(const struct haproxy_runtime *runtime) {
    return runtime->base;
}
