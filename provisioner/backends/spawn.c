#include "provisioner/backends/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"

#define OPEN_FILES_MAX      65536
#define OUT_OF_MEMORY_SCORE "500" /* the kernel shall end instances long before us */
#define EXIT_NOT_STARTED    127

/* Everything from here to run_child() happens between fork and exec: async-signal-safe calls only. */

static void child_complain(const char *what, const char *path) {
    const char *reason = strerrordesc_np(errno);
    const char *parts[] = {what, " ", path, ": ", reason == NULL ? "unknown error" : reason, "\n"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0) {
            return; /* nobody to tell */
        }
    }
}

static void child_reset_signals(void) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) {
        sigaction(number, &standard, NULL); /* fails for KILL, STOP and the two of libc: they need none */
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child_set_limits(void) {
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_max = files.rlim_max > OPEN_FILES_MAX ? OPEN_FILES_MAX : files.rlim_max;
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, OUT_OF_MEMORY_SCORE, strlen(OUT_OF_MEMORY_SCORE)) < 0) {
            errno = 0; /* a kernel without it: our life is a little less safe, the instance's is not */
        }
        close(fd);
    }
}

/* Moves the descriptors to 0..3 and the socket that it waits on to 4, and closes all others. Each is first lifted above
 * the target numbers, so that no dup2() hits one that is still needed. */
static bool child_arrange_descriptors(const struct spawn_request *request, int go_fd) {
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int sources[] = {null_fd, request->output_fd < 0 ? null_fd : request->output_fd,
                     request->output_fd < 0 ? null_fd : request->output_fd, request->info_fd, go_fd};
    enum { COUNT = sizeof sources / sizeof *sources };
    for (int i = 0; i < COUNT; i++) {
        if (sources[i] >= 0 && (sources[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, COUNT)) < 0) {
            return false;
        }
    }
    for (int i = 0; i < COUNT; i++) {
        if (sources[i] < 0) {
            close(i);
        } else if (dup3(sources[i], i, i == COUNT - 1 ? O_CLOEXEC : 0) < 0) {
            return false;
        }
    }
    return null_fd >= 0 && close_range(COUNT, ~0U, 0) == 0;
}

static void __attribute__((noreturn)) run_child(const struct spawn_request *request, int go_fd) {
    char go = 0;
    setsid(); /* also: no controlling terminal, so no TIOCSTI into somebody's shell */
    umask(022);
    if (!child_arrange_descriptors(request, go_fd)) {
        _exit(EXIT_NOT_STARTED);
    }
    child_set_limits();
    ssize_t count;
    do {
        count = read(SPAWN_INFO_FD + 1, &go, 1);
    } while (count < 0 && errno == EINTR);
    if (count != 1) {
        _exit(0); /* abandoned, or our parent is gone */
    }
    child_reset_signals();
    if (chdir(request->folder) != 0) {
        child_complain("enter", request->folder);
        _exit(EXIT_NOT_STARTED);
    }
    execve(request->arguments[0], request->arguments, request->environment);
    child_complain("run", request->arguments[0]);
    _exit(EXIT_NOT_STARTED);
}

bool spawn_held(const struct spawn_request *request, struct spawned *spawned, struct error *err) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return error_set_errno(err, ERROR_BACKEND, "make a socket pair");
    }
    cleanup_close int read_end = ends[0];
    cleanup_close int write_end = ends[1];
    /* A handler of ours (libevent's) must not run in the child: it would write into our event loop. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        close(write_end);
        run_child(request, read_end);
    }
    int fork_errno = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        errno = fork_errno;
        return error_set_errno(err, ERROR_BACKEND, "fork");
    }
    /* Our own child, not reaped yet: its pid cannot have been reused. */
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        error_set_errno(err, ERROR_BACKEND, "open a pidfd");
        close(steal_fd(&write_end)); /* the child exits */
        waitpid(pid, NULL, 0);
        return false;
    }
    *spawned = (struct spawned){.pid = pid, .pidfd = pidfd, .go_fd = steal_fd(&write_end)};
    return true;
}

void spawn_release(struct spawned *spawned) {
    if (send(spawned->go_fd, "g", 1, MSG_NOSIGNAL) != 1) {
        errno = 0; /* it was killed while it waited; its pidfd tells */
    }
    spawn_abandon(spawned);
}

void spawn_abandon(struct spawned *spawned) {
    close(spawned->go_fd);
    spawned->go_fd = -1;
}
