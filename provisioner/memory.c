#include "provisioner/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "provisioner/ipc_server.h"

#define PEERS_MAX 16

/* The beginning of a file in /proc/<pid>; false if it cannot be read. */
static bool read_proc(pid_t pid, const char *name, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%lld/%s", (long long)pid, name);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);
    text[length < 0 ? 0 : length] = '\0';
    return length > 0;
}

static bool is_called(pid_t pid, const char *name) {
    char text[32];
    return pid > 1 && read_proc(pid, "comm", text, sizeof text) && strncmp(text, name, strlen(name)) == 0 &&
           text[strlen(name)] == '\n';
}

/* proc(5), statm: the second number is the resident pages. 0: it is gone. */
static int64_t resident_bytes(pid_t pid) {
    char text[128];
    long long pages = 0;
    if (!read_proc(pid, "statm", text, sizeof text) || sscanf(text, "%*s %lld", &pages) != 1) {
        return 0;
    }
    return pages * sysconf(_SC_PAGESIZE);
}

int64_t memory_of_processes(const struct provisioner *provisioner) {
    pid_t peers[PEERS_MAX];
    size_t count = provisioner->server == NULL ? 0 : ipc_server_pids(provisioner->server, peers, PEERS_MAX);
    int64_t sum = resident_bytes(getpid());
    for (size_t i = 0; i < count; i++) {
        sum += peers[i] == getpid() ? 0 : resident_bytes(peers[i]);
    }
    if (is_called(getppid(), "terminals")) {
        sum += resident_bytes(getppid());
    }
    pid_t haproxy = haproxy_runtime_pid(provisioner->haproxy);
    return sum + (is_called(haproxy, "haproxy") ? resident_bytes(haproxy) : 0);
}
