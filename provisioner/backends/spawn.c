#include "provisioner/backends/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
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

/* Everything from here to run_child() happens between fork or vfork and exec: async-signal-safe calls only, and nothing
 * is changed in memory that we use. */

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

/* Moves the descriptors to 0..3 and the socket that it waits on to 4, which the program inherits only if it is what
 * waits, and closes all others. Each is first lifted above the target numbers, so that no dup2() hits one that is still
 * needed. */
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
        } else if (dup3(sources[i], i, i == SPAWN_WORDS_FD && request->words == NULL ? O_CLOEXEC : 0) < 0) {
            return false;
        }
    }
    return null_fd >= 0 && close_range(COUNT, ~0U, 0) == 0;
}

static bool child_await_go(void) {
    char go = 0;
    ssize_t count;
    do {
        count = read(SPAWN_WORDS_FD, &go, 1);
    } while (count < 0 && errno == EINTR);
    return count == 1;
}

static void __attribute__((noreturn)) run_child(const struct spawn_request *request, int go_fd) {
    setsid(); /* also: no controlling terminal, so no TIOCSTI into somebody's shell */
    umask(022);
    if (!child_arrange_descriptors(request, go_fd)) {
        _exit(EXIT_NOT_STARTED);
    }
    child_set_limits();
    if (request->words == NULL && !child_await_go()) {
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

/* vfork() lends the child our memory and stops us until its execve(2): it must return from no function of ours, and
 * what it changes there is changed for us, which is errno. The rest (descriptors, signal handlers, limits, folder) is
 * its own, as with fork(). */
static pid_t make_child(const struct spawn_request *request, int read_end, int write_end) {
    /* NOLINTBEGIN(clang-analyzer-unix.Vfork,clang-analyzer-security.insecureAPI.vfork): POSIX promises less than Linux
     */
    pid_t pid = request->words == NULL ? fork() : vfork();
    if (pid == 0) {
        close(write_end);
        run_child(request, read_end);
    }
    /* NOLINTEND(clang-analyzer-unix.Vfork,clang-analyzer-security.insecureAPI.vfork) */
    return pid;
}

/* A program that waits gets its words in one message; the other's copy of us gets one that says no more than go. */
static bool prepare_words(const struct string_list *words, struct spawned *spawned, struct error *err) {
    static const char *const go[] = {"go"};
    const char *const *strings = words == NULL ? go : (const char *const *)words->strings;
    size_t count = words == NULL ? 1 : words->count;
    for (size_t i = 0; i < count; i++) {
        spawned->words_length += strlen(strings[i]) + 1;
    }
    spawned->words = malloc(spawned->words_length + 1);
    if (spawned->words == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    char *at = spawned->words;
    for (size_t i = 0; i < count; i++) {
        at = stpcpy(at, strings[i]) + 1;
    }
    return true;
}

static void let_go(struct spawned *spawned) {
    if (spawned->go_fd >= 0) {
        close(steal_fd(&spawned->go_fd));
    }
    free(steal_pointer(&spawned->words));
}

bool spawn_held(const struct spawn_request *request, struct spawned *spawned, struct error *err) {
    int ends[2];
    *spawned = (struct spawned){.pid = -1, .pidfd = -1, .go_fd = -1};
    if (!prepare_words(request->words, spawned, err)) {
        return false;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        let_go(spawned);
        return error_set_errno(err, ERROR_BACKEND, "make a socket pair");
    }
    cleanup_close int read_end = ends[0];
    spawned->go_fd = ends[1];
    /* A handler of ours (libevent's) must not run in the child: it would write into our event loop. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    spawned->pid = make_child(request, read_end, spawned->go_fd);
    int fork_errno = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (spawned->pid < 0) {
        let_go(spawned);
        errno = fork_errno;
        return error_set_errno(err, ERROR_BACKEND, "fork");
    }
    /* Our own child, not reaped yet: its pid cannot have been reused. */
    spawned->pidfd = pidfd_open(spawned->pid, 0);
    if (spawned->pidfd < 0) {
        error_set_errno(err, ERROR_BACKEND, "open a pidfd");
        kill(spawned->pid, SIGKILL);
        waitpid(spawned->pid, NULL, 0);
        let_go(spawned);
        return false;
    }
    return true;
}

void spawn_release(struct spawned *spawned) {
    ssize_t sent = send(spawned->go_fd, spawned->words, spawned->words_length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0 && (size_t)sent < spawned->words_length) {
        pidfd_send_signal(spawned->pidfd, SIGKILL, NULL, 0); /* it must not make do with half of them */
    }
    let_go(spawned); /* nothing sent: it was killed while it waited, or ends now; its pidfd tells */
}

void spawn_abandon(struct spawned *spawned) {
    /* Before it learns that there is nothing to do: bwrap would make a sandbox first, whose init could outlive it. */
    kill(spawned->pid, SIGKILL);
    let_go(spawned);
}
