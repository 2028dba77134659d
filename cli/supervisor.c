#include "cli/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/backoff.h"
#include "common/clock.h"
#include "common/log.h"

enum process_state { PROCESS_STOPPED, PROCESS_RUNNING, PROCESS_WAITING, PROCESS_ENDING };

#define EARLY_DEATHS_MAX   3   /* so often in a row, before we were ready: it cannot start */
#define SECOND_WISH_MS     500 /* what comes sooner after the first signal is its echo */
#define EXIT_USAGE         2   /* what a shell calls misuse, … */
#define EXIT_CONFIGURATION 78  /* … and EX_CONFIG of sysexits.h: trying again changes nothing */

/* One step of the end: who gets which signal, and how long they have. */
struct ending_step {
    unsigned who; /* set of 1 << enum program_id */
    int signal;
    int limit_ms;
};

#define EVERYONE ((1u << PROGRAM_COUNT) - 1)

static const struct ending_step ending_steps[] = {
    /* No new connection; what is in flight may end. */
    {1u << PROGRAM_HAPROXY, SIGUSR1, 500},
    /* Ends every instance (SIGTERM would leave them running, for a successor). */
    {1u << PROGRAM_PROVISIONER, SIGINT, 20000},
    {EVERYONE, SIGTERM, 3000},
    {EVERYONE, SIGKILL, 2000},
};

#define ENDING_STEPS ((int)(sizeof ending_steps / sizeof ending_steps[0]))

struct process {
    struct supervisor *supervisor;
    enum program_id id;
    enum process_state state;
    pid_t pid;
    int64_t started_ms;
    struct backoff backoff;
    int early_deaths;
    struct event *restart;
};

struct supervisor {
    struct event_base *base;
    const struct child_plan *plan;
    struct process processes[PROGRAM_COUNT];
    struct event *signals[4];
    struct event *step_timer;
    bool ready;
    bool ending;
    int64_t asked_to_end_ms;
    int step; /* of ending_steps */
    struct error failure;
};

static bool lives(const struct process *process) {
    return process->state == PROCESS_RUNNING || process->state == PROCESS_ENDING;
}

static const char *describe_status(int status, char text[64]) {
    if (WIFSIGNALED(status)) {
        snprintf(text, 64, "was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        snprintf(text, 64, "ended with status %d", WEXITSTATUS(status));
    }
    return text;
}

/* ---- the end */

static bool any_lives(const struct supervisor *supervisor, unsigned who) {
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        if ((who & 1u << i) != 0 && lives(&supervisor->processes[i])) {
            return true;
        }
    }
    return false;
}

/* Takes the next step that concerns anybody alive; with none left the loop ends. */
static void enter_step(struct supervisor *supervisor, int step) {
    while (step < ENDING_STEPS && !any_lives(supervisor, ending_steps[step].who)) {
        step++;
    }
    supervisor->step = step;
    if (step == ENDING_STEPS) {
        event_base_loopexit(supervisor->base, NULL);
        return;
    }
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        struct process *process = &supervisor->processes[i];
        if ((ending_steps[step].who & 1u << i) != 0 && lives(process)) {
            process->state = PROCESS_ENDING;
            kill(process->pid, ending_steps[step].signal);
        }
    }
    int limit_ms = ending_steps[step].limit_ms;
    const struct timeval limit = {.tv_sec = limit_ms / 1000, .tv_usec = limit_ms % 1000 * 1000};
    event_add(supervisor->step_timer, &limit);
}

static void on_step_over(evutil_socket_t fd, short events, void *argument) {
    (void)fd;
    (void)events;
    struct supervisor *supervisor = argument;
    const struct ending_step *step = &ending_steps[supervisor->step];
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        if ((step->who & 1u << i) != 0 && lives(&supervisor->processes[i])) {
            log_debug(NULL, "%s still runs %d ms after signal %d", programs[i].name, step->limit_ms, step->signal);
        }
    }
    enter_step(supervisor, supervisor->step + 1);
}

static void begin_end(struct supervisor *supervisor) {
    supervisor->ending = true;
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        struct process *process = &supervisor->processes[i];
        event_del(process->restart);
        if (process->state == PROCESS_WAITING) {
            process->state = PROCESS_STOPPED;
        }
    }
    enter_step(supervisor, 0);
}

/* ---- life */

static void give_up(struct supervisor *supervisor, const struct process *process, const char *how) {
    error_set(&supervisor->failure, ERROR_BACKEND, "%s cannot start: it %s, see its message above",
              programs[process->id].name, how);
    begin_end(supervisor);
}

static void pause_before_restart(struct process *process, int64_t lived_ms, const char *how) {
    int64_t pause_ms = backoff_next(&process->backoff, lived_ms);
    const struct timeval pause = {.tv_sec = pause_ms / 1000, .tv_usec = pause_ms % 1000 * 1000};
    process->state = PROCESS_WAITING;
    event_add(process->restart, &pause);
    log_warning(NULL, "%s %s after %lld ms; starting it again in %lld ms", programs[process->id].name, how,
                (long long)lived_ms, (long long)pause_ms);
}

static void start(struct process *process) {
    struct error err = {0};
    process->started_ms = clock_monotonic_ms();
    process->pid = child_start(process->supervisor->plan, process->id, process->early_deaths == 0, &err);
    if (process->pid < 0) {
        pause_before_restart(process, 0, err.message);
        return;
    }
    process->state = PROCESS_RUNNING;
    log_debug(NULL, "started %s pid=%d", programs[process->id].name, (int)process->pid);
}

static void on_restart(evutil_socket_t fd, short events, void *argument) {
    (void)fd;
    (void)events;
    start(argument);
}

/* Somebody's kill says nothing about whether it can start. */
static bool was_killed(int status) {
    return WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
}

static bool cannot_start(struct process *process, int status, int64_t lived_ms) {
    if (process->supervisor->ready || was_killed(status)) {
        return false;
    }
    process->early_deaths = lived_ms >= BACKOFF_HEALTHY_MS ? 1 : process->early_deaths + 1;
    bool tells_so =
        WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_USAGE || WEXITSTATUS(status) == EXIT_CONFIGURATION);
    return tells_so || process->early_deaths >= EARLY_DEATHS_MAX;
}

static void on_death(struct process *process, int status) {
    struct supervisor *supervisor = process->supervisor;
    int64_t lived_ms = clock_monotonic_ms() - process->started_ms;
    char how[64];
    process->pid = 0;
    if (supervisor->ending) {
        process->state = PROCESS_STOPPED;
        if (supervisor->step < ENDING_STEPS && !any_lives(supervisor, ending_steps[supervisor->step].who)) {
            enter_step(supervisor, supervisor->step + 1);
        }
        return;
    }
    process->state = PROCESS_STOPPED;
    describe_status(status, how);
    if (cannot_start(process, status, lived_ms)) {
        give_up(supervisor, process, how);
    } else {
        pause_before_restart(process, lived_ms, how);
    }
}

/* Also reaps orphans that became our children (descendants.h). */
static void on_child(evutil_socket_t number, short events, void *argument) {
    (void)number;
    (void)events;
    struct supervisor *supervisor = argument;
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < PROGRAM_COUNT; i++) {
            if (lives(&supervisor->processes[i]) && supervisor->processes[i].pid == pid) {
                on_death(&supervisor->processes[i], status);
            }
        }
    }
}

/* The second time nobody is asked any more. A second signal right behind the first is no second wish: timeout(1), and
 * whoever signals a process and its group, sends two. */
static void on_stop(evutil_socket_t number, short events, void *argument) {
    (void)events;
    struct supervisor *supervisor = argument;
    if (!supervisor->ending) {
        log_info(NULL, "stopping (%s)", strsignal(number));
        supervisor->asked_to_end_ms = clock_monotonic_ms();
        begin_end(supervisor);
    } else if (supervisor->step < ENDING_STEPS - 1 &&
               clock_monotonic_ms() - supervisor->asked_to_end_ms >= SECOND_WISH_MS) {
        log_warning(NULL, "asked again to stop: killing what still runs");
        enter_step(supervisor, ENDING_STEPS - 1);
    }
}

static void on_reload(evutil_socket_t number, short events, void *argument) {
    (void)number;
    (void)events;
    struct supervisor *supervisor = argument;
    const struct process *haproxy = &supervisor->processes[PROGRAM_HAPROXY];
    if (haproxy->state == PROCESS_RUNNING) {
        log_info(NULL, "reloading haproxy");
        kill(haproxy->pid, SIGUSR2);
    }
}

static bool watch_signals(struct supervisor *supervisor) {
    static const struct {
        int number;
        event_callback_fn callback;
    } watched[] = {{SIGCHLD, on_child}, {SIGINT, on_stop}, {SIGTERM, on_stop}, {SIGHUP, on_reload}};
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++) {
        supervisor->signals[i] = evsignal_new(supervisor->base, watched[i].number, watched[i].callback, supervisor);
        if (supervisor->signals[i] == NULL || evsignal_add(supervisor->signals[i], NULL) != 0) {
            return false;
        }
    }
    return true;
}

struct supervisor *supervisor_start(struct event_base *base, const struct child_plan *plan, struct error *err) {
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (supervisor == NULL) {
        error_set(err, ERROR_INTERNAL, "no memory");
        return NULL;
    }
    supervisor->base = base;
    supervisor->plan = plan;
    supervisor->step_timer = evtimer_new(base, on_step_over, supervisor);
    bool fine = supervisor->step_timer != NULL && watch_signals(supervisor);
    for (int i = 0; fine && i < PROGRAM_COUNT; i++) {
        struct process *process = &supervisor->processes[i];
        *process = (struct process){.supervisor = supervisor, .id = (enum program_id)i};
        process->restart = evtimer_new(base, on_restart, process);
        fine = process->restart != NULL;
    }
    if (!fine) {
        error_set(err, ERROR_INTERNAL, "no memory");
        supervisor_free(supervisor);
        return NULL;
    }
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        start(&supervisor->processes[i]);
    }
    return supervisor;
}

void supervisor_is_ready(struct supervisor *supervisor) {
    supervisor->ready = true;
}

bool supervisor_ended_well(const struct supervisor *supervisor, struct error *err) {
    if (supervisor->failure.code == ERROR_NONE) {
        return true;
    }
    *err = supervisor->failure;
    return false;
}

void supervisor_free(struct supervisor *supervisor) {
    if (supervisor == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof supervisor->signals / sizeof supervisor->signals[0]; i++) {
        if (supervisor->signals[i] != NULL) {
            event_free(supervisor->signals[i]);
        }
    }
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        if (supervisor->processes[i].restart != NULL) {
            event_free(supervisor->processes[i].restart);
        }
    }
    if (supervisor->step_timer != NULL) {
        event_free(supervisor->step_timer);
    }
    free(supervisor);
}
