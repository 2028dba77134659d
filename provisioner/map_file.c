#include "provisioner/map_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/folder_owner.h"

#define GARBAGE_MIN_BYTES (64 * 1024) /* below, tidying up costs more than it saves */

void map_file_init(struct map_file *file, const char *path) {
    *file = (struct map_file){.path = strdup(path), .fd = -1};
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || !folder_owner_give(path, NULL)) {
        errno = 0; /* the first write says what is wrong with it */
    }
}

void map_file_close(struct map_file *file) {
    if (file->fd >= 0) {
        close(file->fd);
    }
    free(file->path);
    *file = (struct map_file){.fd = -1};
}

bool map_file_format_line(struct buffer *out, const char *key, const char *value) {
    return buffer_append_string(out, key) && buffer_append(out, " ", 1) && buffer_append_string(out, value) &&
           buffer_append(out, "\n", 1);
}

static bool write_all(int fd, const char *bytes, size_t length, off_t offset) {
    while (length > 0) {
        ssize_t count = pwrite(fd, bytes, length, offset);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            errno = count == 0 ? EIO : errno;
            return false;
        }
        bytes += count;
        offset += count;
        length -= (size_t)count;
    }
    return true;
}

bool map_file_append(struct map_file *file, const char *key, const char *value, off_t *offset, struct error *err) {
    cleanup_buffer struct buffer line = {0};
    if (!map_file_format_line(&line, key, value)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (!write_all(file->fd, line.data, line.length, file->length)) {
        error_set_errno(err, ERROR_INTERNAL, "write `%s`", file->path);
        if (ftruncate(file->fd, file->length) != 0) { /* half a line, perhaps: the next line goes over it */
            error_prefix(err, "and cannot be undone");
        }
        return false;
    }
    *offset = file->length;
    file->length += (off_t)line.length;
    return true;
}

bool map_file_remove(struct map_file *file, off_t offset, size_t line_length, struct error *err) {
    if (!write_all(file->fd, "#", 1, offset)) {
        return error_set_errno(err, ERROR_INTERNAL, "write `%s`", file->path);
    }
    file->garbage += (off_t)line_length;
    return true;
}

bool map_file_replace(struct map_file *file, const char *content, size_t length, struct error *err) {
    cleanup_free char *temporary = NULL;
    if (asprintf(&temporary, "%s.new", file->path) < 0) {
        temporary = NULL;
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    cleanup_close int fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "write `%s`", temporary);
    }
    if (!folder_owner_give(temporary, err)) {
        unlink(temporary);
        return false;
    }
    if (!write_all(fd, content, length, 0) || rename(temporary, file->path) != 0) {
        error_set_errno(err, ERROR_INTERNAL, "write `%s`", file->path);
        unlink(temporary);
        return false;
    }
    if (file->fd >= 0) {
        close(file->fd);
    }
    file->fd = steal_fd(&fd);
    file->length = (off_t)length;
    file->garbage = 0;
    return true;
}

bool map_file_wants_replacing(const struct map_file *file) {
    struct stat status;
    return file->fd < 0 || fstat(file->fd, &status) != 0 || status.st_nlink == 0 ||
           (file->garbage > GARBAGE_MIN_BYTES && file->garbage > file->length / 2);
}
