#include "instance/descendants.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

/* struct linux_dirent64 of getdents64(2). readdir(3) would call malloc(). */
struct directory_entry {
    uint64_t inode;
    int64_t offset;
    unsigned short record_length;
    unsigned char type;
    char name[];
};

bool descendants_adopt(struct error *err) {
    return prctl(PR_SET_CHILD_SUBREAPER, 1L) == 0 || error_set_errno(err, ERROR_INTERNAL, "adopt orphans");
}

struct kinship {
    pid_t parent;
    pid_t group;
};

/* The fourth and fifth field of /proc/<pid>/stat, after a name that may hold anything, ")" too. Zeros: no such process.
 */
static struct kinship kinship_of(const char *pid) {
    char path[64] = "/proc/";
    size_t length = strlen(pid);
    if (length > 20) {
        return (struct kinship){0};
    }
    memcpy(path + 6, pid, length);
    memcpy(path + 6 + length, "/stat", 6);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[512];
    ssize_t text_length = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (text_length <= 0) {
        return (struct kinship){0};
    }
    text[text_length] = '\0';
    const char *after_name = strrchr(text, ')');
    if (after_name == NULL || strlen(after_name) <= 4) {
        return (struct kinship){0};
    }
    char *rest;
    pid_t parent = (pid_t)strtol(after_name + 4, &rest, 10);
    return (struct kinship){parent, (pid_t)strtol(rest, NULL, 10)};
}

pid_t descendants_parent_of(const char *pid) {
    return kinship_of(pid).parent;
}

/* With its process group, which dies as one: nobody in it can fork meanwhile, as a fork bomb would, faster than one
 * kills them one by one. A group with a child of ours in it has nobody else's process in it, unless it is our own
 * group. */
static void kill_kin(pid_t pid, pid_t group) {
    if (group > 1 && group != getpgrp()) {
        kill(-group, SIGKILL);
    }
    kill(pid, SIGKILL);
}

static void kill_children_once(void) {
    cleanup_close int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0) {
        return;
    }
    pid_t self = getpid();
    _Alignas(struct directory_entry) char entries[4096];
    long length;
    while ((length = syscall(SYS_getdents64, proc, entries, sizeof entries)) > 0) {
        for (long at = 0; at < length;) {
            const struct directory_entry *entry = (const struct directory_entry *)(entries + at);
            at += entry->record_length;
            bool is_process = entry->name[0] >= '1' && entry->name[0] <= '9';
            struct kinship kinship = is_process ? kinship_of(entry->name) : (struct kinship){0};
            if (is_process && kinship.parent == self) {
                kill_kin((pid_t)strtol(entry->name, NULL, 10), kinship.group);
            }
        }
    }
}

/* True when no child is left. */
static bool bury(void) {
    pid_t pid;
    do {
        pid = waitpid(-1, NULL, WNOHANG);
    } while (pid > 0);
    return pid < 0 && errno == ECHILD;
}

void descendants_kill(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    int64_t end_ms = clock_monotonic_ms() + DESCENDANTS_KILL_TIMEOUT_MS;
    while (!bury() && clock_monotonic_ms() < end_ms) {
        kill_children_once();
        /* A SIGCHLD may have been taken already, so do not rely on one more. */
        static const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
        sigtimedwait(&set, NULL, &pause);
    }
}
