#include "cli/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "common/cleanup.h"
#include "common/error.h"
#include "common/heartbeat.h"
#include "common/settings.h"

#define PATIENCE_SECONDS 3
#define OPERATOR         "operator"

#define TEXT(literal)                                                                                                  \
    { literal, sizeof(literal) - 1 }

/* What each is asked, and how any answer of it begins (docs/internals.md). */
static const struct question {
    const char *process;
    const char *socket;
    struct {
        const char *bytes;
        size_t length;
    } ask, answer;
} questions[] = {
    {"provisioner", "provisioner", TEXT("{\"id\":1,\"op\":\"ping\"}\n"), TEXT("{")},
    /* FCGI_GET_VALUES, FastCGI 1.0 §4.1: no values, please. */
    {"api", "api-admin", TEXT("\1\11\0\0\0\0\0\0"), TEXT("\1\12")},
    /* 503 if the provisioner is away: the gate is there all the same. */
    {"gate", "gate", TEXT("GET /health HTTP/1.1\r\nHost: gate\r\nX-Terminals-Check: 1\r\n\r\n"), TEXT("HTTP/1.1 ")},
};

static const struct question *question_for(const char *process) {
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        if (strcmp(questions[i].process, process) == 0) {
            return &questions[i];
        }
    }
    return NULL;
}

static bool read_answer(int fd, const struct question *question, const char *path, struct error *err) {
    char begin[16];
    size_t length = 0;
    while (length < question->answer.length) {
        ssize_t got = recv(fd, begin + length, question->answer.length - length, 0);
        if (got < 0) {
            return error_set_errno(err, ERROR_TIMEOUT, "read from `%s`", path);
        }
        if (got == 0) {
            return error_set(err, ERROR_BACKEND, "`%s` hung up", path);
        }
        length += (size_t)got;
    }
    return memcmp(begin, question->answer.bytes, length) == 0 ||
           error_set(err, ERROR_BACKEND, "`%s` answers nonsense", path);
}

bool check_ask(const char *run_dir, const char *process, struct error *err) {
    const struct question *question = question_for(process);
    if (question == NULL) {
        return error_set(err, ERROR_INVALID, "`%s` is none of our processes", process);
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s.sock", run_dir, question->socket);
    if (length < 0 || (size_t)length >= sizeof address.sun_path) {
        return error_set(err, ERROR_INVALID, "TERMINALS_RUN_DIR `%s` is too long", run_dir);
    }
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
        return error_set_errno(err, ERROR_INTERNAL, "open a socket");
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        return error_set_errno(err, ERROR_BACKEND, "connect to `%s`", address.sun_path);
    }
    if (send(fd, question->ask.bytes, question->ask.length, MSG_NOSIGNAL) != (ssize_t)question->ask.length) {
        return error_set_errno(err, ERROR_BACKEND, "write to `%s`", address.sun_path);
    }
    return read_answer(fd, question, address.sun_path, err);
}

/* The operator listens on nothing: it leaves word in a file. */
static bool ask_or_look(const char *run_dir, int argc, char **argv, struct error *err) {
    return strcmp(argv[1], OPERATOR) == 0 ? heartbeat_check(run_dir, OPERATOR, argc == 3, err)
                                          : check_ask(run_dir, argv[1], err);
}

static bool are_arguments(int argc, char **argv) {
    return (argc == 2 && (question_for(argv[1]) != NULL || strcmp(argv[1], OPERATOR) == 0)) ||
           (argc == 3 && strcmp(argv[1], OPERATOR) == 0 && strcmp(argv[2], "ready") == 0);
}

int check(int argc, char **argv) {
    struct error err = {0};
    struct settings settings = {0};
    if (!are_arguments(argc, argv)) {
        fputs("usage: terminals check provisioner|api|gate|operator [ready]\n", stderr);
        return 2;
    }
    bool is_well = settings_load(&settings, NULL, &err);
    if (is_well) {
        is_well = ask_or_look(settings.run_dir, argc, argv, &err);
        settings_free(&settings);
    }
    if (!is_well) {
        fprintf(stderr, "terminals check: %s\n", err.message);
    }
    return is_well ? EXIT_SUCCESS : EXIT_FAILURE;
}
