#include "instance/process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "instance/guardian.h"

#define READ_BYTES          4096 /* also the most that the kernel gives at once */
#define READS_AT_ONCE       16   /* then it is somebody else's turn */
#define READS_AT_END        1024
#define SETTLE_MS           100 /* most commands have been answered by then */
#define TERMINAL_ROWS       24
#define TERMINAL_COLUMNS    80
#define KILLED_WITHOUT_WORD (-SIGKILL) /* the exit code when the guardian died and nobody could tell */

/* What the other files need not know. */
struct running_process {
    struct process process; /* first: the two are the same address */
    struct loop *loop;
    unsigned references;
    pid_t pid; /* 0 until it is reported */
    struct guardian guardian;
    struct loop_watch terminal;
    struct loop_watch reports;
    struct loop_timer kill_timer;
    struct loop_timer settle_timer; /* has a reference while it is set */
    struct buffer input;
    struct process_waiter *waiters;
};

static struct running_process *inside(struct process *process) {
    return (struct running_process *)process;
}

struct process *process_reference(struct process *process) {
    inside(process)->references++;
    return process;
}

void process_release(struct process *process) {
    struct running_process *running = inside(process);
    if (--running->references > 0) {
        return;
    }
    output_log_free(process->log);
    buffer_free(&running->input);
    free(process->command);
    free(process->log_path);
    free(running);
}

void process_wait(struct process *process, struct process_waiter *waiter) {
    waiter->is_waiting = true;
    waiter->next = inside(process)->waiters;
    inside(process)->waiters = waiter;
}

void process_stop_waiting(struct process *process, struct process_waiter *waiter) {
    if (!waiter->is_waiting) {
        return;
    }
    waiter->is_waiting = false;
    struct process_waiter **at = &inside(process)->waiters;
    while (*at != waiter) {
        at = &(*at)->next;
    }
    *at = waiter->next;
}

void process_settle(struct process *process) {
    struct running_process *running = inside(process);
    if (running->settle_timer.is_set) {
        loop_timer_clear(running->loop, &running->settle_timer);
        output_log_settle(process->log);
        process_release(process);
    }
}

static void on_settle_timer(struct loop_timer *timer) {
    struct running_process *running = loop_owner(timer, struct running_process, settle_timer);
    output_log_settle(running->process.log);
    process_release(&running->process);
}

static void close_terminal(struct running_process *running) {
    if (running->terminal.fd >= 0) {
        loop_watch_remove(running->loop, &running->terminal);
        close(running->terminal.fd);
        running->terminal.fd = -1;
        buffer_free(&running->input);
    }
}

/* Reads what the command wrote, at most `reads` times. */
static void read_output(struct running_process *running, int reads) {
    char bytes[READ_BYTES];
    while (running->terminal.fd >= 0 && reads-- > 0) {
        ssize_t length = read(running->terminal.fd, bytes, sizeof bytes);
        if (length > 0) {
            output_log_append(running->process.log, bytes, (size_t)length);
        } else if (length == 0 || (errno != EAGAIN && errno != EINTR)) {
            close_terminal(running); /* EIO: nobody has the other side open any more */
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static void write_input(struct running_process *running) {
    while (running->terminal.fd >= 0 && running->input.length > 0) {
        ssize_t length = write(running->terminal.fd, running->input.data, running->input.length);
        if (length > 0) {
            buffer_consume(&running->input, (size_t)length);
        } else if (length == 0 || errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            buffer_free(&running->input);
        }
    }
    if (running->terminal.fd >= 0) {
        loop_watch_set(running->loop, &running->terminal,
                       running->input.length > 0 ? EPOLLIN | EPOLLOUT : (uint32_t)EPOLLIN);
    }
}

static void on_terminal(struct loop_watch *watch, uint32_t events) {
    struct running_process *running = loop_owner(watch, struct running_process, terminal);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        read_output(running, READS_AT_ONCE);
    }
    if ((events & EPOLLOUT) != 0) {
        write_input(running);
    }
}

static void end(struct running_process *running, int exit_code) {
    struct process *process = &running->process;
    if (process->has_ended) {
        return;
    }
    /* All that it wrote is in the terminal by now: reading until there is nothing gets it. */
    read_output(running, READS_AT_END);
    process->has_ended = true;
    process->exit_code = exit_code;
    while (running->waiters != NULL) {
        struct process_waiter *waiter = running->waiters;
        process_stop_waiting(process, waiter);
        waiter->ended(waiter);
    }
}

/* Nothing that the command started is left. */
static void finish(struct running_process *running) {
    process_reference(&running->process);
    end(running, KILLED_WITHOUT_WORD);
    read_output(running, READS_AT_END);
    close_terminal(running);
    output_log_finish(running->process.log);
    process_abandon(&running->process);
    process_release(&running->process);
}

static void take_report(struct running_process *running, const struct guardian_report *report) {
    if (report->kind == GUARDIAN_STARTED) {
        running->pid = report->value;
    } else if (WIFSIGNALED(report->value)) {
        end(running, -WTERMSIG(report->value));
    } else {
        end(running, WEXITSTATUS(report->value));
    }
}

static void on_report(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct running_process *running = loop_owner(watch, struct running_process, reports);
    struct guardian_report report;
    int result;
    while ((result = guardian_read_report(&running->guardian, &report)) > 0) {
        take_report(running, &report);
    }
    if (result < 0) {
        finish(running);
    }
}

static void on_kill_timer(struct loop_timer *timer) {
    struct running_process *running = loop_owner(timer, struct running_process, kill_timer);
    kill(running->guardian.pid, SIGTERM);
}

void process_abandon(struct process *process) {
    struct running_process *running = inside(process);
    loop_timer_clear(running->loop, &running->kill_timer);
    close_terminal(running);
    if (running->reports.fd >= 0) {
        loop_watch_remove(running->loop, &running->reports);
        close(running->reports.fd);
        running->reports.fd = -1;
        running->guardian.pid = 0;
        process_release(process);
    }
}

static bool launch(struct running_process *running, const struct process_options *options, struct error *err) {
    char *arguments[] = {"/bin/sh", "-c", (char *)options->command, NULL};
    struct guardian_program program = {
        .path = "/bin/sh",
        .arguments = arguments,
        .environment = options->environment,
        .folder = options->folder,
        .rows = TERMINAL_ROWS,
        .columns = TERMINAL_COLUMNS,
    };
    if (!guardian_start(&program, &running->guardian, err)) {
        return false;
    }
    running->terminal = (struct loop_watch){.fd = running->guardian.terminal, .ready = on_terminal};
    running->reports = (struct loop_watch){.fd = running->guardian.reports, .ready = on_report};
    running->kill_timer.expired = on_kill_timer;
    process_reference(&running->process); /* until finish() */
    if (!loop_watch_set(running->loop, &running->terminal, EPOLLIN) ||
        !loop_watch_set(running->loop, &running->reports, EPOLLIN)) {
        error_set_errno(err, ERROR_CAPACITY, "watch a process");
        kill(running->guardian.pid, SIGTERM);
        process_abandon(&running->process);
        return false;
    }
    return true;
}

struct process *process_start(struct loop *loop, const struct process_options *options, struct error *err) {
    struct running_process *running = calloc(1, sizeof *running);
    if (running == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    struct process *process = &running->process;
    running->loop = loop;
    running->references = 1;
    running->terminal.fd = -1;
    running->reports.fd = -1;
    strncpy(process->id, options->id, sizeof process->id - 1);
    process->command = strdup(options->command);
    process->log_path = strdup(options->log_path);
    process->log = output_log_new(options->log_path, options->max_log_size, err);
    if (process->log == NULL || process->command == NULL || process->log_path == NULL ||
        !launch(running, options, err)) {
        process_release(process);
        return NULL;
    }
    process_reference(process);
    running->settle_timer.expired = on_settle_timer;
    loop_timer_set(loop, &running->settle_timer, SETTLE_MS);
    return process;
}

bool process_write(struct process *process, const char *bytes, size_t length, struct error *err) {
    struct running_process *running = inside(process);
    if (process->has_ended || running->terminal.fd < 0) {
        return error_set(err, ERROR_INVALID, "Process is not running");
    }
    if (running->input.length + length > PROCESS_INPUT_MAX_BYTES) {
        return error_set(err, ERROR_CAPACITY, "Process does not read its input");
    }
    if (!buffer_append(&running->input, bytes, length)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    write_input(running);
    return true;
}

void process_kill(struct process *process, bool by_force) {
    struct running_process *running = inside(process);
    if (running->reports.fd >= 0) {
        on_report(&running->reports, 0); /* or a process id may be used that has ended, and been given to another */
    }
    if (running->guardian.pid == 0) {
        return;
    }
    if (running->pid == 0) {
        pid_t pid = guardian_wait_for_start(&running->guardian, NULL);
        running->pid = pid > 0 ? pid : 0;
    }
    if (by_force || process->has_ended || running->pid == 0) {
        kill(running->guardian.pid, SIGTERM);
        return;
    }
    kill(-running->pid, SIGTERM);
    kill(-running->pid, SIGCONT); /* a stopped one would never see it */
    loop_timer_set(running->loop, &running->kill_timer, PROCESS_TERM_GRACE_MS);
}
