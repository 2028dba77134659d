#include "instance/files_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "instance/utf8.h"

/* Walks the segments of `path` down (or up) from what `out` holds. */
static void append_segments(struct buffer *out, const char *path) {
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        if (length == 2 && memcmp(path, "..", 2) == 0) {
            char *slash = out->length > 0 ? memrchr(out->data, '/', out->length) : NULL;
            out->length = slash != NULL ? (size_t)(slash - out->data) : 0;
        } else if (length > 0 && !(length == 1 && path[0] == '.')) {
            buffer_append(out, "/", 1);
            buffer_append(out, path, length);
        }
        path += length;
        path += *path == '/';
    }
}

char *path_resolve(const char *base, const char *home, const char *path, size_t length, struct error *err) {
    if (memchr(path, '\0', length) != NULL) {
        error_set(err, ERROR_INVALID, "A path cannot contain a NUL character");
        return NULL;
    }
    cleanup_free char *name = strndup(path, length);
    if (name == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    utf8_text_to_name(name, length);
    cleanup_buffer struct buffer absolute = {0};
    const char *rest = name;
    if (name[0] == '~' && (name[1] == '/' || name[1] == '\0')) {
        append_segments(&absolute, home);
        rest = name + 1;
    } else if (name[0] != '/') {
        append_segments(&absolute, base);
    }
    append_segments(&absolute, rest);
    if (absolute.length == 0) {
        buffer_append(&absolute, "/", 1);
    } else {
        buffer_append(&absolute, "", 0);
    }
    char *result = buffer_take(&absolute);
    if (result == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return result;
}

const char *path_name(const char *absolute) {
    return strrchr(absolute, '/') + 1;
}

char *path_folder(const char *absolute) {
    size_t length = (size_t)(path_name(absolute) - absolute);
    return strndup(absolute, length > 1 ? length - 1 : 1);
}

char *path_join(const char *folder, const char *name) {
    struct buffer path = {0};
    buffer_append_string(&path, strcmp(folder, "/") == 0 ? "" : folder);
    buffer_append(&path, "/", 1);
    buffer_append_string(&path, name);
    char *result = buffer_take(&path);
    buffer_free(&path);
    return result;
}

bool path_temporary_name(char name[PATH_TEMPORARY_NAME_SIZE]) {
    unsigned long long number;
    if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
        return false;
    }
    snprintf(name, PATH_TEMPORARY_NAME_SIZE, ".open-terminal-%016llx.tmp", number);
    return true;
}

bool path_is_within(const char *path, const char *folder) {
    size_t length = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}
