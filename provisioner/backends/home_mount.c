#include "provisioner/backends/home_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "provisioner/backends/process_watch.h"

#define NAMESPACE_PATH_SIZE 64

/* What the child says before it ends: how far it came, and why no further. */
enum step { STEP_DONE, STEP_FIND, STEP_CLONE, STEP_ENTER, STEP_ATTACH };
struct report {
    enum step step;
    int error;
};

static const char *const step_names[] = {
    [STEP_DONE] = "",
    [STEP_FIND] = "find the mount namespace of the instance",
    [STEP_CLONE] = "make a mount of the home folder",
    [STEP_ENTER] = "enter the mount namespace of the instance",
    [STEP_ATTACH] = "mount the home folder in the instance",
};

struct home_mount {
    struct process_watch child;
    struct event *timer;
    int report_fd;
    home_mount_done *done;
    void *argument;
};

/* --- in the child: async-signal-safe calls only ---------------------------------------------------------------------
 */

static int clone_mount(const struct home_mount_request *request) {
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, request->source,
                            OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
    /* Private: what is mounted below it later, there or here, stays where it is. */
    struct mount_attr attributes = {
        .attr_set = request->is_restricted ? MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV : 0,
        .propagation = MS_PRIVATE,
    };
    if (tree >= 0 && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) {
        int saved = errno;
        close(tree);
        errno = saved;
        return -1;
    }
    return tree;
}

union control {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr header;
};

static void send_descriptor(int socket_fd, int fd) {
    char byte = 0;
    struct iovec part = {&byte, 1};
    union control control = {.bytes = {0}};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    if (sendmsg(socket_fd, &message, MSG_NOSIGNAL) < 0) {
        errno = 0; /* who waits sees the end of the socket */
    }
}

static int receive_descriptor(int socket_fd) {
    char byte = 0;
    int fd = -1;
    struct iovec part = {&byte, 1};
    union control control = {.bytes = {0}};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    if (recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC) > 0 && control.header.cmsg_len == CMSG_LEN(sizeof fd) &&
        control.header.cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
    }
    return fd;
}

/* By a grandchild, which may do it in a user namespace of its own. */
static int clone_mount_unprivileged(const struct home_mount_request *request) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        int tree = unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ? -1 : clone_mount(request);
        if (tree >= 0) {
            send_descriptor(ends[1], tree);
        }
        _exit(0);
    }
    close(ends[1]);
    int tree = pid < 0 ? -1 : receive_descriptor(ends[0]);
    close(ends[0]);
    if (pid > 0) {
        waitpid(pid, NULL, 0);
    }
    if (tree < 0) {
        errno = EPERM;
    }
    return tree;
}

/* A namespace may be entered by who rules the user namespace that owns it. */
static bool enter(int namespace_fd) {
    if (setns(namespace_fd, CLONE_NEWNS) == 0) {
        return true;
    }
    int owner = errno == EPERM ? ioctl(namespace_fd, NS_GET_USERNS) : -1;
    bool entered = owner >= 0 && setns(owner, CLONE_NEWUSER) == 0 && setns(namespace_fd, CLONE_NEWNS) == 0;
    if (owner >= 0) {
        int saved = errno;
        close(owner);
        errno = saved;
    }
    return entered;
}

/* `path` is /proc/<pid>/ns/mnt. */
static enum step run(const struct home_mount_request *request, const char *path) {
    int namespace_fd = open(path, O_RDONLY | O_CLOEXEC);
    /* The process lives still: so it was its namespace, and not that of another one with its pid. */
    if (namespace_fd < 0 || pidfd_send_signal(request->pidfd, 0, NULL, 0) != 0) {
        return STEP_FIND;
    }
    int tree = clone_mount(request);
    if (tree < 0 && errno == EPERM) {
        tree = clone_mount_unprivileged(request);
    }
    if (tree < 0) {
        return STEP_CLONE;
    }
    if (!enter(namespace_fd)) {
        return STEP_ENTER;
    }
    return syscall(SYS_move_mount, tree, "", AT_FDCWD, request->target, MOVE_MOUNT_F_EMPTY_PATH) == 0 ? STEP_DONE
                                                                                                      : STEP_ATTACH;
}

static void __attribute__((noreturn))
run_child(const struct home_mount_request *request, const char *path, int report_fd) {
    errno = 0;
    struct report report = {.step = run(request, path)};
    report.error = errno;
    ssize_t written = write(report_fd, &report, sizeof report);
    _exit(written == (ssize_t)sizeof report && report.step == STEP_DONE ? 0 : 1);
}

bool home_mount_is_possible(const char *folder) {
    const struct home_mount_request request = {.source = folder};
    cleanup_close int tree = clone_mount(&request);
    return tree >= 0;
}

/* --- in the provisioner ---------------------------------------------------------------------------------------------
 */

void home_mount_cancel(struct home_mount *mount) {
    if (mount == NULL) {
        return;
    }
    if (process_watch_is_running(&mount->child)) {
        /* Our child, and at work for milliseconds: after SIGKILL it is gone at once. */
        process_watch_signal(&mount->child, SIGKILL);
        waitpid(mount->child.pid, NULL, 0);
    }
    process_watch_stop(&mount->child);
    if (mount->timer != NULL) {
        event_free(mount->timer);
    }
    if (mount->report_fd >= 0) {
        close(mount->report_fd);
    }
    free(mount);
}

static void finish(struct home_mount *mount, const struct error *err) {
    home_mount_done *done = mount->done;
    void *argument = mount->argument;
    home_mount_cancel(mount);
    done(argument, err);
}

static void on_child_end(void *argument) {
    struct home_mount *mount = argument;
    struct report report = {.step = STEP_FIND, .error = ECANCELED};
    struct error err;
    if (read(mount->report_fd, &report, sizeof report) == (ssize_t)sizeof report && report.step == STEP_DONE) {
        finish(mount, NULL);
        return;
    }
    errno = report.error;
    error_set_errno(&err, ERROR_BACKEND, "%s", step_names[report.step]);
    finish(mount, &err);
}

static void on_time_over(evutil_socket_t fd, short what, void *argument) {
    struct home_mount *mount = argument;
    (void)fd;
    (void)what;
    process_watch_signal(&mount->child, SIGKILL); /* its end comes back to on_child_end() */
}

/* A handler of ours (libevent's) must not run in the child: it would write into our event loop. */
static pid_t fork_without_signals(void) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid != 0) {
        int saved = errno;
        sigprocmask(SIG_SETMASK, &before, NULL);
        errno = saved;
    }
    return pid;
}

static bool start_child(struct home_mount *mount, struct event_base *base, const struct home_mount_request *request,
                        struct error *err) {
    int ends[2];
    char path[NAMESPACE_PATH_SIZE];
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)request->pid);
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return error_set_errno(err, ERROR_BACKEND, "make a pipe");
    }
    mount->report_fd = ends[0];
    cleanup_close int write_end = ends[1];
    pid_t pid = fork_without_signals();
    if (pid == 0) {
        run_child(request, path, write_end);
    }
    /* Our own child, not reaped yet: its pid cannot have been reused. */
    int pidfd = pid < 0 ? -1 : pidfd_open(pid, 0);
    if (pidfd < 0) {
        error_set_errno(err, ERROR_BACKEND, "fork");
    } else if (process_watch_start(&mount->child, base, pid, pidfd, on_child_end, mount, err)) {
        return true;
    }
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return false;
}

struct home_mount *home_mount_start(struct event_base *base, const struct home_mount_request *request,
                                    home_mount_done *done, void *argument, struct error *err) {
    const struct timeval patience = {HOME_MOUNT_TIMEOUT_MS / 1000, 0};
    struct home_mount *mount = calloc(1, sizeof *mount);
    if (mount == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    *mount = (struct home_mount){.report_fd = -1, .done = done, .argument = argument};
    mount->timer = evtimer_new(base, on_time_over, mount);
    if (mount->timer == NULL || evtimer_add(mount->timer, &patience) != 0) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        home_mount_cancel(mount);
        return NULL;
    }
    if (!start_child(mount, base, request, err)) {
        home_mount_cancel(mount);
        return NULL;
    }
    return mount;
}
