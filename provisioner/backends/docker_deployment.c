#include "provisioner/backends/docker_deployment.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/digest.h"

#define DIGITS (DOCKER_DEPLOYMENT_SIZE - 1)

static bool read_digits(const char *path, char out[DOCKER_DEPLOYMENT_SIZE]) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    memset(out, 0, DOCKER_DEPLOYMENT_SIZE);
    return fd >= 0 && read(fd, out, DIGITS) == DIGITS && strspn(out, "0123456789abcdef") == DIGITS;
}

/* Whole or not at all, and never in place of one that somebody else was faster with. */
static bool write_digits(const char *path, const char *temporary, const char *digits, struct error *err) {
    cleanup_close int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || write(fd, digits, DIGITS) != DIGITS || fsync(fd) < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "write `%s`", temporary);
    }
    int result = link(temporary, path);
    int problem = errno;
    unlink(temporary);
    errno = problem;
    return result == 0 || problem == EEXIST || error_set_errno(err, ERROR_INTERNAL, "write `%s`", path);
}

bool docker_deployment_read(const char *data_dir, char out[DOCKER_DEPLOYMENT_SIZE], struct error *err) {
    cleanup_buffer struct buffer path = {0};
    cleanup_buffer struct buffer temporary = {0};
    if (!buffer_append_format(&path, "%s/.deployment", data_dir) ||
        !buffer_append_format(&temporary, "%s/.deployment.new", data_dir)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (read_digits(path.data, out)) {
        return true;
    }
    if (!digest_random_hex(DIGITS / 2, out)) {
        return error_set(err, ERROR_INTERNAL, "get random bytes");
    }
    if (!write_digits(path.data, temporary.data, out, err)) {
        return false;
    }
    return read_digits(path.data, out) ||
           error_set(err, ERROR_INVALID,
                     "`%s` does not hold %d hex digits: remove it if no containers of this Terminals run", path.data,
                     DIGITS);
}
