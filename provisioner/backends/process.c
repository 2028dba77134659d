#include "provisioner/backends/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/cleanup.h"

#define ENVIRONMENT_MAX_BYTES (64 * 1024) /* the mark is our first variable: far within */

static void cleanup_closedir_function(DIR **folder) {
    if (*folder != NULL) {
        closedir(*folder);
    }
}
#define cleanup_closedir __attribute__((cleanup(cleanup_closedir_function)))

bool process_is_our_lack(int problem) {
    return problem == EMFILE || problem == ENFILE || problem == ENOMEM;
}

/* Reads what fits of a /proc file, and ends it with a NUL. Returns its length, and -1 if it cannot be read: errno is
 * then 0, unless that is for what we lack. */
static ssize_t read_whole(const char *path, char *buffer, size_t size) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        errno = process_is_our_lack(errno) ? errno : 0;
        return -1;
    }
    size_t length = 0;
    while (length < size - 1) {
        ssize_t count = read(fd, buffer + length, size - 1 - length);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            errno = process_is_our_lack(errno) ? errno : 0;
            return -1;
        }
        if (count == 0) {
            break;
        }
        length += (size_t)count;
    }
    buffer[length] = '\0';
    errno = 0;
    return (ssize_t)length;
}

bool process_start_time(pid_t pid, unsigned long long *ticks) {
    char path[64];
    char stat[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    errno = 0;
    if (pid <= 0 || read_whole(path, stat, sizeof stat) <= 0) {
        return false;
    }
    /* Field 2 is the name in parentheses and may hold anything, parentheses too: count from the last one. */
    const char *at = strrchr(stat, ')');
    if (at == NULL) {
        return false;
    }
    at++;
    for (int field = 3; field < 22 && at != NULL; field++) {
        at = strchr(at + 1, ' ');
    }
    return at != NULL && sscanf(at, " %llu", ticks) == 1;
}

bool process_boot_id(char out[PROCESS_BOOT_ID_SIZE]) {
    return read_whole("/proc/sys/kernel/random/boot_id", out, PROCESS_BOOT_ID_SIZE) == PROCESS_BOOT_ID_SIZE - 1;
}

size_t process_children(pid_t pid, pid_t *children, size_t max) {
    char path[64];
    char list[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    if (read_whole(path, list, sizeof list) <= 0) {
        return 0;
    }
    size_t count = 0;
    char *at = list;
    while (count < max) {
        char *end = NULL;
        long child = strtol(at, &end, 10);
        if (end == at) {
            break;
        }
        children[count++] = (pid_t)child;
        at = end;
    }
    return count;
}

bool process_environment(pid_t pid, const char *name, char *value, size_t size) {
    value[0] = '\0';
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    cleanup_free char *environment = malloc(ENVIRONMENT_MAX_BYTES);
    if (environment == NULL) {
        return false;
    }
    bool found = false;
    ssize_t length = read_whole(path, environment, ENVIRONMENT_MAX_BYTES);
    size_t name_length = strlen(name);
    for (const char *at = environment; !found && length > 0 && at < environment + length; at += strlen(at) + 1) {
        if (strncmp(at, name, name_length) == 0 && at[name_length] == '=') {
            snprintf(value, size, "%s", at + name_length + 1);
            found = true;
        }
    }
    return found;
}

bool process_for_each_marked(const char *name, const char *prefix,
                             void (*found)(void *argument, pid_t pid, const char *value), void *argument) {
    cleanup_closedir DIR *folder = opendir("/proc");
    if (folder == NULL) {
        return false;
    }
    int problem = 0;
    for (;;) {
        char value[256];
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            problem = errno != 0 ? errno : problem;
            break;
        }
        if (!isdigit((unsigned char)entry->d_name[0])) {
            continue;
        }
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid == getpid()) {
            continue;
        }
        if (!process_environment(pid, name, value, sizeof value)) {
            problem = errno != 0 ? errno : problem;
        } else if (strncmp(value, prefix, strlen(prefix)) == 0) {
            found(argument, pid, value);
        }
    }
    errno = problem;
    return problem == 0;
}

void process_kill_marked(pid_t pid, const char *name, const char *value) {
    char found[256];
    cleanup_close int pidfd = pidfd_open(pid, 0);
    if (pidfd >= 0 && process_environment(pid, name, found, sizeof found) && strcmp(found, value) == 0 &&
        pidfd_send_signal(pidfd, SIGKILL, NULL, 0) != 0) {
        errno = 0; /* it ended this moment, or is not ours to kill: the caller looks again */
    }
}
