#include "cli/program_output.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"

#define ARGUMENTS_MAX 8

void program_become(const char *program, const char *const *arguments) {
    const char *argv[ARGUMENTS_MAX + 2] = {program};
    for (int i = 0; i < ARGUMENTS_MAX && arguments[i] != NULL; i++) {
        argv[i + 1] = arguments[i];
    }
    execv(program, (char *const *)argv);
}

static bool read_all(int fd, const char *program, size_t max_bytes, struct buffer *output, struct error *err) {
    char chunk[16384];
    for (;;) {
        ssize_t length = read(fd, chunk, sizeof chunk);
        if (length == 0) {
            return true;
        }
        if (length < 0 && errno == EINTR) {
            continue;
        }
        if (length < 0) {
            return error_set_errno(err, ERROR_INTERNAL, "read what `%s` says", program);
        }
        if (output->length + (size_t)length > max_bytes) {
            return error_set(err, ERROR_INTERNAL, "`%s` says more than expected", program);
        }
        if (!buffer_append(output, chunk, (size_t)length)) {
            return error_set(err, ERROR_INTERNAL, "out of memory");
        }
    }
}

static bool wait_for(pid_t pid, const char *program, int *status, struct error *err) {
    int raw = 0;
    while (waitpid(pid, &raw, 0) < 0) {
        if (errno != EINTR) {
            return error_set_errno(err, ERROR_INTERNAL, "wait for `%s`", program);
        }
    }
    *status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
    return true;
}

bool program_output(const char *program, const char *const *arguments, int input_fd, size_t max_bytes,
                    struct buffer *output, int *status, struct error *err) {
    int ends[2];
    if (access(program, X_OK) != 0) {
        return error_set_errno(err, ERROR_NOT_FOUND, "run `%s`", program);
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return error_set_errno(err, ERROR_INTERNAL, "open a pipe");
    }
    cleanup_close int reader = ends[0];
    pid_t pid = fork();
    if (pid == 0) {
        if ((input_fd < 0 || dup2(input_fd, STDIN_FILENO) >= 0) && dup2(ends[1], STDOUT_FILENO) >= 0) {
            program_become(program, arguments);
        }
        _exit(127);
    }
    int failure = errno;
    close(ends[1]);
    if (pid < 0) {
        errno = failure;
        return error_set_errno(err, ERROR_INTERNAL, "start another process");
    }
    bool ok = read_all(reader, program, max_bytes, output, err);
    close(steal_fd(&reader)); /* one that still writes ends of it */
    return wait_for(pid, program, status, ok ? err : &(struct error){0}) && ok;
}
