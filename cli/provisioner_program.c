#include "cli/provisioner_program.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/folders.h"
#include "cli/program_output.h"
#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/ipc_client.h"

static const char name[] = "terminals-provisioner";

char *provisioner_socket_path(const struct settings *settings, struct error *err) {
    return folders_path(settings->run_dir, "provisioner.sock", err);
}

bool provisioner_is_running(const char *socket_path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || strlen(socket_path) >= sizeof address.sun_path) {
        return false;
    }
    memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
    return connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
}

struct json_object *provisioner_ask(const char *socket_path, struct json_object *request, int timeout_ms,
                                    struct error *err) {
    struct ipc_client *client = request == NULL ? NULL : ipc_client_new(socket_path);
    if (client == NULL) {
        json_object_put(request);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    struct json_object *answer = ipc_client_call(client, request, timeout_ms, err);
    ipc_client_free(client);
    if (answer != NULL && !ipc_answer_ok(answer, err)) {
        json_object_put(answer);
        return NULL;
    }
    return answer;
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
