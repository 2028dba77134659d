#include "cli/provisioner_program.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/program_output.h"
#include "common/cleanup.h"

static const char name[] = "terminals-provisioner";

bool provisioner_is_running(const char *socket_path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || strlen(socket_path) >= sizeof address.sun_path) {
        return false;
    }
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    return connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
}

/* Not by executables.h: where this is run there may be no HAProxy. */
static bool find_program(char program[PATH_MAX + sizeof name], struct error *err) {
    ssize_t length = readlink("/proc/self/exe", program, PATH_MAX);
    if (length < 0) {
        return error_set_errno(err, ERROR_INTERNAL, "find this program");
    }
    while (length > 0 && program[length - 1] != '/') {
        length--;
    }
    memcpy(program + length, name, sizeof name);
    return true;
}

bool provisioner_become(const char *const *arguments, struct error *err) {
    char program[PATH_MAX + sizeof name];
    if (!find_program(program, err)) {
        return false;
    }
    program_become(program, arguments);
    return error_set_errno(err, ERROR_INTERNAL, "run `%s`", program);
}

bool provisioner_run(const char *const *arguments, int input_fd, size_t max_bytes, struct buffer *output, int *status,
                     struct error *err) {
    char program[PATH_MAX + sizeof name];
    return find_program(program, err) && program_output(program, arguments, input_fd, max_bytes, output, status, err);
}
