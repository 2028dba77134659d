#include "instance/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/descendants.h"

#define DESCRIPTORS_WANTED 65536

/* What programs get: set once, before anything runs. */
static struct rlimit descriptor_limit;

void guardian_raise_descriptor_limit(void) {
    if (getrlimit(RLIMIT_NOFILE, &descriptor_limit) == 0) {
        struct rlimit raised = descriptor_limit;
        raised.rlim_cur = raised.rlim_max < DESCRIPTORS_WANTED ? raised.rlim_max : DESCRIPTORS_WANTED;
        if (raised.rlim_cur > descriptor_limit.rlim_cur) {
            setrlimit(RLIMIT_NOFILE, &raised);
        }
    }
}

/* ---- what runs in the program's process, and in the guardian's: no malloc(), since other threads may have held its
 * lock when we forked ---- */

static void run_program(const struct guardian_program *program, int terminal, int folder, int channel) {
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    tcsetpgrp(terminal, getpid()); /* SIGTTOU, which would stop us here, is still blocked */
    for (int fd = 0; fd <= 2; fd++) {
        dup2(program->has_channel && fd < 2 ? channel : terminal, fd);
    }
    if (fchdir(folder) != 0) {
        _exit(126); /* as a shell's status for what may not be entered */
    }
    close_range(3, ~0U, 0);
    if (descriptor_limit.rlim_cur > 0) {
        setrlimit(RLIMIT_NOFILE, &descriptor_limit);
    }
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(program->path, program->arguments, program->environment);
    _exit(127);
}

static void report(int fd, enum guardian_report_kind kind, int value) {
    struct guardian_report message = {(int)kind, value};
    /* Less than PIPE_BUF, so whole or not at all; if nobody reads any more, nobody needs it. */
    if (write(fd, &message, sizeof message) < 0) {
        return;
    }
}

/* Buries who died. True when nobody is left. */
static bool bury(int reports, pid_t program, bool *has_ended) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == program && !*has_ended) {
            *has_ended = true;
            report(reports, GUARDIAN_ENDED, status);
        }
    }
    return pid < 0 && errno == ECHILD;
}

static void guard(int reports, pid_t program, const sigset_t *signals) {
    static const struct timespec grace = {.tv_nsec = GUARDIAN_HANGUP_GRACE_MS * 1000L * 1000L};
    bool has_ended = false;
    bool is_hung_up = false;
    while (!bury(reports, program, &has_ended)) {
        siginfo_t info;
        int signal_number = sigtimedwait(signals, &info, is_hung_up && !has_ended ? &grace : NULL);
        if (signal_number == SIGTERM) {
            descendants_kill();
        } else if (signal_number == SIGHUP && !is_hung_up) {
            is_hung_up = true;
            if (!has_ended) {
                kill(-program, SIGHUP);
                kill(-program, SIGCONT);
            }
        } else if (signal_number < 0 && errno == EAGAIN) {
            kill(program, SIGKILL);
        }
    }
}

/* Tells it as a shell would: on the terminal, and with a shell's status for what could not be run. */
static void report_no_process(int reports, int terminal, const char *why) {
    char text[128];
    stpcpy(stpcpy(stpcpy(text, "cannot start a process: "), why), "\n");
    if (write(terminal, text, strlen(text)) < 0) {
        /* Nobody looks at the terminal any more: the status is enough. */
    }
    report(reports, GUARDIAN_ENDED, W_EXITCODE(126, 0));
}

static void run_guardian(const struct guardian_program *program, pid_t parent, int terminal, int reports) {
    enum {
        REPORTS = 3,
        FOLDER = 4,
        TERMINAL = 5,
        CHANNEL = 6
    }; /* where the descriptors are moved: all others are closed */
    sigset_t signals;
    sigfillset(&signals);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    prctl(PR_SET_NAME, "guardian");
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || !descendants_adopt(NULL)) {
        _exit(1);
    }
    /* Through numbers above all four targets, so that none is overwritten before it is moved. */
    int high_reports = fcntl(reports, F_DUPFD, 10);
    int high_folder = fcntl(program->folder, F_DUPFD, 10);
    int high_terminal = fcntl(terminal, F_DUPFD, 10);
    int high_channel = fcntl(program->has_channel ? program->channel : terminal, F_DUPFD, 10);
    if (dup2(high_reports, REPORTS) < 0 || dup2(high_folder, FOLDER) < 0 || dup2(high_terminal, TERMINAL) < 0 ||
        dup2(high_channel, CHANNEL) < 0) {
        _exit(1);
    }
    close_range(CHANNEL + 1, ~0U, 0);
    setsid();
    ioctl(TERMINAL, TIOCSCTTY, 0);
    pid_t pid = fork();
    if (pid == 0) {
        run_program(program, TERMINAL, FOLDER, CHANNEL);
    }
    if (pid < 0) {
        report_no_process(REPORTS, TERMINAL, strerrordesc_np(errno)); /* strerror() might translate, with malloc() */
        _exit(1);
    }
    report(REPORTS, GUARDIAN_STARTED, pid);
    /* The terminal hangs up when the last process that has it open closes it: that must not be us. */
    close(TERMINAL);
    close(FOLDER);
    close(CHANNEL);
    close_range(0, 2, 0);
    guard(REPORTS, pid, &signals);
    _exit(0);
}

/* ---- the caller's side ---- */

bool guardian_resize(const struct guardian *guardian, unsigned short rows, unsigned short columns) {
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return ioctl(guardian->terminal, TIOCSWINSZ, &size) == 0;
}

bool guardian_start(const struct guardian_program *program, struct guardian *guardian, struct error *err) {
    cleanup_close int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        return error_set_errno(err, ERROR_CAPACITY, "open a terminal");
    }
    cleanup_close int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    int pipe_ends[2] = {-1, -1};
    if (slave < 0 || pipe2(pipe_ends, O_CLOEXEC) != 0) {
        return error_set_errno(err, ERROR_CAPACITY, "open a terminal");
    }
    cleanup_close int reports = pipe_ends[0];
    cleanup_close int reports_in = pipe_ends[1];
    *guardian = (struct guardian){.terminal = master};
    if (!guardian_resize(guardian, program->rows, program->columns) || fcntl(reports, F_SETFL, O_NONBLOCK) != 0) {
        return error_set_errno(err, ERROR_INTERNAL, "set up a terminal");
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        run_guardian(program, parent, slave, reports_in);
    }
    if (pid < 0) {
        return error_set_errno(err, ERROR_CAPACITY, "start a process");
    }
    *guardian = (struct guardian){.pid = pid, .terminal = steal_fd(&master), .reports = steal_fd(&reports)};
    return true;
}

int guardian_read_report(const struct guardian *guardian, struct guardian_report *message) {
    ssize_t length = read(guardian->reports, message, sizeof *message);
    if (length == sizeof *message) {
        return 1;
    }
    return length < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

pid_t guardian_wait_for_start(const struct guardian *guardian, struct error *err) {
    struct pollfd reports = {.fd = guardian->reports, .events = POLLIN};
    struct guardian_report message;
    int count = poll(&reports, 1, GUARDIAN_START_TIMEOUT_MS);
    if (count == 1 && guardian_read_report(guardian, &message) == 1 && message.kind == GUARDIAN_STARTED) {
        return message.value;
    }
    if (count == 0) {
        error_set(err, ERROR_CAPACITY, "it took longer than %d s", GUARDIAN_START_TIMEOUT_MS / 1000);
    } else {
        error_set(err, ERROR_CAPACITY, "no process could be made for it");
    }
    return -1;
}
