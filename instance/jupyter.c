#include "instance/jupyter.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/json.h"

#define KERNEL_FILE_MAX_BYTES 16384

/* A program by its path, or by its name in PATH. From malloc(); NULL if there is none that may be run. */
static char *find_program(const char *name) {
    if (strchr(name, '/') != NULL) {
        return access(name, X_OK) == 0 ? strdup(name) : NULL;
    }
    const char *folders = getenv("PATH");
    while (folders != NULL && *folders != '\0') {
        size_t length = strcspn(folders, ":");
        char *path = NULL;
        if (length > 0 && asprintf(&path, "%.*s/%s", (int)length, folders, name) >= 0) {
            if (access(path, X_OK) == 0) {
                return path;
            }
            free(path);
        }
        folders += length + (folders[length] == ':');
    }
    return NULL;
}

/* `folder` is one with a "kernels" in it; `length` bytes of it count. */
static char *read_python(const char *folder, size_t length) {
    cleanup_free char *path = NULL;
    if (asprintf(&path, "%.*s/kernels/python3/kernel.json", (int)length, folder) < 0) {
        path = NULL;
        return NULL;
    }
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char text[KERNEL_FILE_MAX_BYTES];
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text) : -1;
    cleanup_json struct json_object *kernel = size > 0 ? json_parse_object(text, (size_t)size, NULL) : NULL;
    struct json_object *arguments = kernel != NULL ? json_get_array(kernel, "argv") : NULL;
    struct json_object *first = arguments != NULL ? json_object_array_get_idx(arguments, 0) : NULL;
    return json_object_is_type(first, json_type_string) ? find_program(json_object_get_string(first)) : NULL;
}

char *jupyter_find_python(void) {
    const char *listed = getenv("JUPYTER_PATH");
    const char *home = getenv("HOME");
    char own[4096] = "";
    char *python = NULL;
    while (listed != NULL && *listed != '\0' && python == NULL) {
        size_t length = strcspn(listed, ":");
        python = length > 0 ? read_python(listed, length) : NULL;
        listed += length + (listed[length] == ':');
    }
    if (home != NULL && *home == '/') {
        snprintf(own, sizeof own, "%s/.local/share/jupyter", home);
    }
    const char *const folders[] = {own, "/usr/local/share/jupyter", "/usr/share/jupyter"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && python == NULL; i++) {
        python = *folders[i] != '\0' ? read_python(folders[i], strlen(folders[i])) : NULL;
    }
    return python;
}
