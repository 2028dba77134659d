#include "cli/descendants.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

#define POLL_MS 10

bool descendants_adopt(struct error *err) {
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 ||
           error_set_errno(err, ERROR_INTERNAL, "become the reaper of orphans");
}

static void close_folder(DIR **folder) {
    if (*folder != NULL) {
        closedir(*folder);
    }
}

/* proc(5): "pid (comm) state ppid …", where comm may hold anything, parentheses too. 0: it is gone, or a zombie that
 * only waits to be reaped. */
static pid_t living_parent_of(pid_t pid) {
    char path[64];
    char line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    line[length < 0 ? 0 : length] = '\0';
    const char *after_name = strrchr(line, ')');
    char state = '\0';
    int parent = 0;
    if (after_name == NULL || sscanf(after_name + 1, " %c %d", &state, &parent) != 2 || state == 'Z') {
        return 0;
    }
    return parent;
}

/* Only children are killed: no stranger can have taken the pid of a child that is not reaped yet. The orphans of what
 * dies become children in turn. */
static void kill_children(void) {
    __attribute__((cleanup(close_folder))) DIR *folder = opendir("/proc");
    for (struct dirent *entry = NULL; folder != NULL && (entry = readdir(folder)) != NULL;) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && living_parent_of(pid) == getpid()) {
            kill(pid, SIGKILL);
        }
    }
}

/* Adds to *killed how many of those that ended were killed. False once there is no child at all. */
static bool reap_what_ended(int *killed) {
    int status = 0;
    pid_t pid = 0;
    do {
        pid = waitpid(-1, &status, WNOHANG);
        *killed += pid > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    } while (pid > 0 || (pid < 0 && errno == EINTR));
    return pid == 0;
}

int descendants_kill_all(int limit_ms) {
    int64_t deadline = clock_monotonic_ms() + limit_ms;
    int killed = 0;
    while (reap_what_ended(&killed) && clock_monotonic_ms() < deadline) {
        kill_children();
        poll(NULL, 0, POLL_MS); /* dying takes a moment */
    }
    return killed;
}
