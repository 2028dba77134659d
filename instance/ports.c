/* ports.c - /ports: the TCP ports that the user's own programs listen on, which /proxy can then reach. Only what was
 * started below this instance counts: without a sandbox other users' programs are on the same machine. */
#include "instance/ports.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/descendants.h"
#include "instance/routes.h"
#include "instance/utf8.h"

#define PORTS_MAX        256
#define ANCESTORS_MAX    1024 /* longer chains are not followed: parents may change while we look */
#define STATE_LISTENING  0x0a
#define SOCKET_NAME_SIZE 64

struct listener {
    unsigned port;
    unsigned long inode;
    pid_t pid; /* 0: none of ours has it */
    char process[32];
};

struct listeners {
    size_t count;
    struct listener all[PORTS_MAX];
};

/* "  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 …" */
bool ports_parse_line(const char *line, unsigned *port, unsigned long *inode) {
    unsigned local_port;
    unsigned state;
    unsigned long number;
    if (sscanf(line, " %*u: %*32[0-9A-Fa-f]:%4x %*32[0-9A-Fa-f]:%*4x %2x %*x:%*x %*x:%*x %*x %*u %*u %lu", &local_port,
               &state, &number) != 3 ||
        state != STATE_LISTENING || local_port == 0) {
        return false;
    }
    *port = local_port;
    *inode = number;
    return true;
}

static void read_listeners(const char *path, struct listeners *listeners) {
    cleanup_fclose FILE *file = fopen(path, "re");
    char line[512];
    while (file != NULL && listeners->count < PORTS_MAX && fgets(line, sizeof line, file) != NULL) {
        struct listener *listener = &listeners->all[listeners->count];
        listeners->count += ports_parse_line(line, &listener->port, &listener->inode);
    }
}

static bool is_descendant(const char *pid) {
    char number[16];
    pid_t self = getpid();
    pid_t parent = descendants_parent_of(pid);
    for (int i = 0; i < ANCESTORS_MAX && parent > 1 && parent != self; i++) {
        snprintf(number, sizeof number, "%d", (int)parent);
        parent = descendants_parent_of(number);
    }
    return parent == self;
}

static void read_process_name(const char *pid, char out[32]) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/comm", pid);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, out, 31) : 0;
    out[length > 0 ? length : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

/* Looks through what a process has open for the sockets that listen. */
static void match_descriptors(const char *pid, struct listeners *listeners) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char target[SOCKET_NAME_SIZE];
        ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
        if (length <= 8 || memcmp(target, "socket:[", 8) != 0) {
            continue;
        }
        target[length] = '\0';
        unsigned long inode = strtoul(target + 8, NULL, 10);
        for (size_t i = 0; i < listeners->count; i++) {
            struct listener *listener = &listeners->all[i];
            if (listener->inode == inode && listener->pid == 0) {
                listener->pid = (pid_t)strtol(pid, NULL, 10);
                read_process_name(pid, listener->process);
            }
        }
    }
    closedir(directory);
}

static void match_processes(struct listeners *listeners) {
    DIR *directory = opendir("/proc");
    if (directory == NULL) {
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]) && is_descendant(entry->d_name)) {
            match_descriptors(entry->d_name, listeners);
        }
    }
    closedir(directory);
}

static int by_port(const void *a, const void *b) {
    unsigned first = ((const struct listener *)a)->port;
    unsigned second = ((const struct listener *)b)->port;
    return (first > second) - (first < second);
}

static void list_ports(struct http_request *request) {
    cleanup_free struct listeners *listeners = calloc(1, sizeof *listeners);
    if (listeners == NULL) {
        http_respond_json(request, 500, NULL);
        return;
    }
    read_listeners("/proc/net/tcp", listeners);
    read_listeners("/proc/net/tcp6", listeners);
    if (listeners->count > 0) {
        match_processes(listeners);
    }
    qsort(listeners->all, listeners->count, sizeof listeners->all[0], by_port);
    cleanup_buffer struct buffer body = {0};
    unsigned last_port = 0;
    buffer_append_string(&body, "{\"ports\":[");
    for (size_t i = 0; i < listeners->count; i++) {
        const struct listener *listener = &listeners->all[i];
        if (listener->pid == 0 || listener->port == last_port) {
            continue;
        }
        buffer_append_format(&body, "%s{\"port\":%u,\"pid\":%d,\"process\":", last_port != 0 ? "," : "", listener->port,
                             (int)listener->pid);
        utf8_append_json(&body, listener->process, strlen(listener->process));
        buffer_append_string(&body, "}");
        last_port = listener->port;
    }
    buffer_append_string(&body, "]}");
    http_respond_buffer(request, 200, "application/json", &body);
}

const struct http_route port_routes[] = {
    {.method = "GET", .pattern = "/ports", .handle = list_ports},
    HTTP_ROUTES_END,
};
