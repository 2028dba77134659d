/* process_watch.h - tells within milliseconds that a process has ended, our child or not: a pidfd on the event loop. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_PROCESS_WATCH_H
#define TERMINALS_PROVISIONER_BACKENDS_PROCESS_WATCH_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"

#define PROCESS_END_TEXT_SIZE 64

/* `struct process_watch watch = {0};` watches nothing. */
struct process_watch {
    pid_t pid;
    int pidfd;
    struct event *event;                  /* NULL: nothing is watched */
    bool ended;                           /* as seen by the event loop */
    char end_text[PROCESS_END_TEXT_SIZE]; /* "exit status 1", "signal 9 (Killed)", "" where nobody tells us */
    void (*on_end)(void *argument);
    void *argument;
};

/* Takes over `pidfd`, also on failure. `on_end` is called once, from the event loop, after the process has been reaped
 * (if it is ours to reap). */
bool process_watch_start(struct process_watch *watch, struct event_base *base, pid_t pid, int pidfd,
                         void (*on_end)(void *argument), void *argument, struct error *err);

/* Sends a signal to the process, if it is watched and has not ended: never to another one that got its pid. */
void process_watch_signal(const struct process_watch *watch, int signal_number);

/* Something is watched, and its end has not been seen. */
bool process_watch_is_running(const struct process_watch *watch);

/* Stops watching; the process goes on. */
void process_watch_stop(struct process_watch *watch);

#endif
