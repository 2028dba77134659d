#include "provisioner/backends/process_watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void describe_end(char out[PROCESS_END_TEXT_SIZE], const siginfo_t *info) {
    if (info->si_code == CLD_EXITED) {
        snprintf(out, PROCESS_END_TEXT_SIZE, "exit status %d", info->si_status);
    } else {
        const char *name = sigdescr_np(info->si_status);
        snprintf(out, PROCESS_END_TEXT_SIZE, "signal %d (%s)", info->si_status, name == NULL ? "?" : name);
    }
}

static void on_pidfd_readable(evutil_socket_t fd, short what, void *argument) {
    struct process_watch *watch = argument;
    (void)what;
    siginfo_t info = {0};
    /* Not our child: ECHILD, and nobody knows how it ended. */
    if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0) {
        describe_end(watch->end_text, &info);
    }
    watch->ended = true;
    event_del(watch->event);
    watch->on_end(watch->argument);
}

bool process_watch_start(struct process_watch *watch, struct event_base *base, pid_t pid, int pidfd,
                         void (*on_end)(void *argument), void *argument, struct error *err) {
    *watch = (struct process_watch){.pid = pid, .pidfd = pidfd, .on_end = on_end, .argument = argument};
    watch->event = event_new(base, pidfd, EV_READ | EV_PERSIST, on_pidfd_readable, watch);
    if (watch->event == NULL || event_add(watch->event, NULL) != 0) {
        if (watch->event != NULL) {
            event_free(watch->event);
        }
        close(pidfd);
        *watch = (struct process_watch){0};
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return true;
}

void process_watch_signal(const struct process_watch *watch, int signal_number) {
    if (process_watch_is_running(watch) && pidfd_send_signal(watch->pidfd, signal_number, NULL, 0) != 0) {
        errno = 0; /* ESRCH: it ended this moment, which the event loop will tell */
    }
}

bool process_watch_is_running(const struct process_watch *watch) {
    return watch->event != NULL && !watch->ended;
}

void process_watch_stop(struct process_watch *watch) {
    if (watch->event != NULL) {
        event_free(watch->event);
        close(watch->pidfd);
    }
    *watch = (struct process_watch){0};
}
