#include "provisioner/backends/docker_paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"

#define ID_LENGTH      (DOCKER_ID_SIZE - 1)
#define FILE_MAX_BYTES (1024 * 1024)

/* 64 hex digits behind `before`, wherever that stands, followed by something else. */
static bool find_id_behind(const char *text, const char *before, char id[DOCKER_ID_SIZE]) {
    for (const char *at = text == NULL ? NULL : strstr(text, before); at != NULL; at = strstr(at, before)) {
        at += strlen(before);
        if (strspn(at, "0123456789abcdef") == ID_LENGTH) {
            memcpy(id, at, ID_LENGTH);
            id[ID_LENGTH] = '\0';
            return true;
        }
    }
    return false;
}

bool docker_paths_find_container(const char *mountinfo, const char *cgroup, char id[DOCKER_ID_SIZE]) {
    return find_id_behind(mountinfo, "/containers/", id) || find_id_behind(cgroup, "/docker/", id) ||
           find_id_behind(cgroup, "/docker-", id);
}

static char *read_file(const char *path) {
    cleanup_buffer struct buffer text = {0};
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && text.length < FILE_MAX_BYTES) {
        char *room = buffer_reserve(&text, 4096);
        ssize_t got = room == NULL ? 0 : read(fd, room, 4096);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        text.length += (size_t)got;
    }
    return fd < 0 ? NULL : buffer_take(&text);
}

bool docker_paths_own_container(char id[DOCKER_ID_SIZE]) {
    cleanup_free char *mountinfo = read_file("/proc/self/mountinfo");
    cleanup_free char *cgroup = read_file("/proc/self/cgroup");
    /* Outside of containers the engine's machine may show `/containers/<id>/` too: as mounts of its containers, not as
     * files bound into /etc. */
    bool is_inside = mountinfo != NULL && strstr(mountinfo, "/hostname /etc/hostname ") != NULL;
    return docker_paths_find_container(is_inside ? mountinfo : NULL, cgroup, id);
}

/* What of `path` lies behind `folder`: "" or "/rest"; NULL if it is not inside. */
static const char *behind(const char *path, const char *folder) {
    size_t length = strlen(folder);
    while (length > 0 && folder[length - 1] == '/') {
        length--;
    }
    bool inside = strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
    return inside ? path + length : NULL;
}

char *docker_paths_translate(struct json_object *mounts, const char *path, struct error *err) {
    const char *best_source = NULL;
    const char *best_rest = NULL;
    for (size_t i = 0; mounts != NULL && i < json_object_array_length(mounts); i++) {
        struct json_object *mount = json_object_array_get_idx(mounts, i);
        const char *source = json_get_string(mount, "Source");
        const char *destination = json_get_string(mount, "Destination");
        const char *rest = destination == NULL ? NULL : behind(path, destination);
        if (source != NULL && source[0] == '/' && rest != NULL &&
            (best_rest == NULL || strlen(rest) < strlen(best_rest))) {
            best_source = source;
            best_rest = rest;
        }
    }
    if (best_rest == NULL) {
        error_set(err, ERROR_INVALID,
                  "we run in a container in which `%s` is no mount: bind a folder of the machine there, or a volume",
                  path);
        error_veil(err, "The user's folder cannot be given to the instance");
        return NULL;
    }
    char *result = NULL;
    if (asprintf(&result, "%s%s", best_source, best_rest) < 0) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return result;
}
