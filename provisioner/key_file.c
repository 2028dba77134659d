#include "provisioner/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/digest.h"
#include "common/log.h"
#include "common/secret.h"

#define KEY_FILE_MAX_BYTES 4096
#define GENERATED_BYTES    32

static bool read_line(int fd, const char *path, char content[KEY_FILE_MAX_BYTES + 1], struct error *err) {
    ssize_t length = read(fd, content, KEY_FILE_MAX_BYTES);
    if (length < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "read `%s`", path);
    }
    content[length] = '\0';
    content[strcspn(content, "\r\n")] = '\0';
    return content[0] != '\0' ||
           error_set(err, ERROR_INTERNAL, "`%s` holds no encryption key: put back what was in it", path);
}

int key_file_read(const char *path, char **text, struct error *err) {
    char content[KEY_FILE_MAX_BYTES + 1];
    struct stat status;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return 0;
    }
    if (fd < 0 || fstat(fd, &status) < 0) {
        error_set_errno(err, ERROR_INTERNAL, "open `%s`", path);
        return -1;
    }
    if (!read_line(fd, path, content, err)) {
        return -1;
    }
    if ((status.st_mode & 077) != 0) {
        log_warning(NULL, "`%s` can be read by others than its owner (mode %03o): chmod 600 it", path,
                    (unsigned)status.st_mode & 0777);
    }
    *text = strdup(content);
    explicit_bzero(content, sizeof content);
    if (*text == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return -1;
    }
    return 1;
}

/* A name is durable once its folder is. */
static bool sync_folder(const char *path, struct error *err) {
    const char *slash = strrchr(path, '/');
    cleanup_free char *folder = slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    cleanup_close int fd = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return (fd >= 0 && fsync(fd) == 0) || error_set_errno(err, ERROR_INTERNAL, "make `%s` durable", path);
}

static bool replace(const char *from, const char *path, struct error *err) {
    return (rename(from, path) == 0 || error_set_errno(err, ERROR_INTERNAL, "rename `%s` to `%s`", from, path)) &&
           sync_folder(path, err);
}

static bool write_file(const char *path, const char *text, struct error *err) {
    size_t length = strlen(text);
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "create `%s`", path);
    }
    bool written = fchmod(fd, 0600) == 0 && write(fd, text, length) == (ssize_t)length && fsync(fd) == 0;
    if (!written) {
        error_set_errno(err, ERROR_INTERNAL, "write `%s`", path);
        unlink(path);
    }
    return written;
}

/* Whole or not at all: written beside it, then renamed. */
char *key_file_generate(const char *path, struct error *err) {
    cleanup_free char *temporary = NULL;
    cleanup_secret char *content = calloc(1, 2 * GENERATED_BYTES + 2);
    if (asprintf(&temporary, "%s.new", path) < 0) {
        temporary = NULL;
    }
    if (content == NULL || temporary == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    if (!digest_random_hex(GENERATED_BYTES, content)) {
        error_set(err, ERROR_INTERNAL, "the kernel gives no random bytes");
        return NULL;
    }
    content[2 * GENERATED_BYTES] = '\n';
    if (!write_file(temporary, content, err)) {
        return NULL;
    }
    if (!replace(temporary, path, err)) {
        unlink(temporary);
        return NULL;
    }
    content[2 * GENERATED_BYTES] = '\0';
    return steal_pointer(&content);
}

char *key_file_next(const char *path, struct error *err) {
    char *next = NULL;
    if (asprintf(&next, "%s.next", path) < 0) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return next;
}

bool key_file_replace(const char *path, struct error *err) {
    cleanup_free char *next = key_file_next(path, err);
    return next != NULL && replace(next, path, err);
}
