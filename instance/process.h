/* process.h - one command that was started with /execute: its terminal, its log, its end.
 *
 * Counted by references: the table has one, everything that looks at a process over time has one, and one is held as
 * long as anything it started is alive. */
#ifndef TERMINALS_INSTANCE_PROCESS_H
#define TERMINALS_INSTANCE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "instance/loop.h"
#include "instance/output_log.h"

#define PROCESS_ID_SIZE         24
#define PROCESS_TERM_GRACE_MS   5000
#define PROCESS_INPUT_MAX_BYTES (1024 * 1024)

/* Called once, when the command ends. The one who waits embeds it, and removes it if it stops waiting earlier. */
struct process_waiter {
    void (*ended)(struct process_waiter *waiter);
    struct process_waiter *next;
    bool is_waiting;
};

struct process {
    char id[PROCESS_ID_SIZE];
    char *command;
    char *log_path;
    struct output_log *log;
    bool has_ended;
    int exit_code;        /* minus the signal's number if one ended it, as in Python */
    struct process *next; /* in the table, oldest first */
};

struct process_options {
    const char *id;
    const char *command; /* for /bin/sh -c */
    const char *log_path;
    uint64_t max_log_size; /* bytes */
    int folder;            /* an open directory; stays the caller's */
    char *const *environment;
};

/* Starts a command. One reference is the caller's. NULL with *err. */
struct process *process_start(struct loop *loop, const struct process_options *options, struct error *err);

/* One more who looks at it, and one less: the last one frees it. */
struct process *process_reference(struct process *process);
void process_release(struct process *process);

/* Sees to it that what it has written so far is in its log file (output_log_settle()), which otherwise happens a moment
 * after its start: for who has told somebody where that is. */
void process_settle(struct process *process);

/* Has `waiter` called when the command ends, which it has not yet; and not any more. */
void process_wait(struct process *process, struct process_waiter *waiter);
void process_stop_waiting(struct process *process, struct process_waiter *waiter);

/* Gives the command input, which is kept until it reads it. False with ERROR_INVALID when it has ended, ERROR_CAPACITY
 * when too much waits already. */
bool process_write(struct process *process, const char *bytes, size_t length, struct error *err);

/* Ends it and all that it started: SIGTERM to its process group and SIGKILL to the rest after PROCESS_TERM_GRACE_MS; by
 * force, SIGKILL at once. */
void process_kill(struct process *process, bool by_force);

/* Forgets the guardian at once, without waiting for anybody's end: when the whole instance stops. */
void process_abandon(struct process *process);

#endif
