/* main.c - open-terminal: one user's commands, files and shells over HTTP and WebSocket. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "instance/descendants.h"
#include "instance/guardian.h"
#include "instance/http_server.h"
#include "instance/instance.h"
#include "instance/loop.h"
#include "instance/mcp.h"
#include "instance/mcp_stdio.h"
#include "instance/notebooks.h"
#include "instance/options.h"
#include "instance/process_table.h"
#include "instance/proxy.h"
#include "instance/session_folders.h"
#include "instance/terminal_table.h"
#include "instance/text_reader.h"
#include "instance/work.h"

struct program {
    struct instance instance;
    struct loop_watch signals;
    struct mcp_stdio *stdio;
};

static int before_wait(void *state) {
    struct program *program = state;
    return program->instance.server != NULL ? http_server_work(program->instance.server) : -1;
}

static void on_signal(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct program *program = loop_owner(watch, struct program, signals);
    struct signalfd_siginfo info;
    while (read(watch->fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT) {
            loop_stop(program->instance.loop);
        }
    }
    /* Whose child it was does not matter: what we wait for tells by its pipe, and what we adopted is only buried. */
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

/* Ignored signals stay ignored across execve(2), and what a script starts in the background ignores SIGINT: without
 * this, ^C would do nothing in any of our shells. */
static void reset_signals(void) {
    for (int number = 1; number < NSIG; number++) {
        signal(number, SIG_DFL); /* fails for SIGKILL, SIGSTOP and what libc keeps for itself, as it should */
    }
}

static bool watch_signals(struct program *program, struct error *err) {
    sigset_t set;
    reset_signals();
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGXFSZ); /* a file too large for a limit (ulimit -f) is an error of write(2), not our death */
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return error_set_errno(err, ERROR_INTERNAL, "block signals");
    }
    program->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    program->signals.ready = on_signal;
    if (program->signals.fd < 0 || !loop_watch_set(program->instance.loop, &program->signals, EPOLLIN)) {
        return error_set_errno(err, ERROR_INTERNAL, "watch signals");
    }
    return true;
}

static bool start_mcp(struct program *program, const struct options *options, struct error *err) {
    program->instance.mcp = mcp_new(&program->instance);
    if (program->instance.mcp == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    program->stdio = options->is_stdio ? mcp_stdio_start(&program->instance, err) : NULL;
    return program->stdio != NULL || !options->is_stdio;
}

static bool start(struct program *program, const struct options *options, struct error *err) {
    struct instance *instance = &program->instance;
    *instance = (struct instance){
        .options = options,
        .api_key = options->api_key,
        .home = options->home,
        .cors_allowed_origins = options->cors_allowed_origins,
        .port = (unsigned)options->port,
        .loop = loop_new(before_wait, program),
    };
    if (instance->loop == NULL) {
        return error_set_errno(err, ERROR_INTERNAL, "make the event loop");
    }
    instance->folders = session_folders_new(options->home, options->session_cwd_ttl);
    instance->processes = process_table_new(instance);
    instance->terminals = terminal_table_new(instance);
    if (instance->folders == NULL || instance->processes == NULL || instance->terminals == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (chdir(options->home) != 0) {
        return error_set_errno(err, ERROR_INVALID, "enter `%s`", options->home);
    }
    guardian_raise_descriptor_limit();
    if (!watch_signals(program, err) || !descendants_adopt(err)) {
        return false;
    }
    instance->server =
        http_server_start(instance, options->is_stdio ? NULL : options->host, (unsigned)options->port, err);
    return instance->server != NULL && (!options->is_mcp || start_mcp(program, options, err));
}

static void stop(struct program *program) {
    /* WebSockets first, which libmicrohttpd would wait for; the processes last, which requests may still look at. */
    terminal_table_free(program->instance.terminals);
    proxy_end_tunnels(&program->instance);
    mcp_stdio_free(program->stdio);
    mcp_free(program->instance.mcp);
    program->instance.mcp = NULL;
    http_server_stop(program->instance.server);
    notebooks_end_all(&program->instance);
    work_release_done(&program->instance);
    process_table_free(program->instance.processes);
    descendants_kill();
    session_folders_free(program->instance.folders);
    if (program->instance.loop != NULL) {
        loop_watch_remove(program->instance.loop, &program->signals);
        if (program->signals.fd > 0) {
            close(program->signals.fd);
        }
        loop_free(program->instance.loop);
    }
    free(program->instance.description);
}

/* Waits for the word of who started us: 1; they have closed the descriptor instead: 0; it is none: -1, errno says. It
 * is closed. */
static int await_word(int fd) {
    char word;
    ssize_t length;
    do {
        length = read(fd, &word, 1);
    } while (length < 0 && errno == EINTR);
    int problem = errno;
    close(fd);
    errno = problem;
    return (int)length;
}

int main(int argc, char **argv) {
    struct options options;
    struct error err = {0};
    if (argc > 1 && strcmp(argv[1], "text") == 0) {
        return text_main(argc, argv); /* called by ourselves (text_child.c) */
    }
    log_configure("instance", LOG_WARNING, LOG_TEXT);
    if (!options_parse(argc, argv, &options, &err)) {
        fprintf(stderr, "open-terminal: %s\n%s", err.message, options_usage);
        return 2;
    }
    if (options.is_help_wanted) {
        fputs(options_usage, stdout);
        return 0;
    }
    log_configure("instance", options.is_access_logged ? LOG_INFO : LOG_WARNING,
                  options.is_log_json ? LOG_JSON : LOG_TEXT);
    int word = options.wait_fd == 0 ? 1 : await_word((int)options.wait_fd);
    if (word <= 0) {
        if (word < 0) {
            log_error(NULL, "--wait-fd %llu: %s", (unsigned long long)options.wait_fd, strerror(errno));
        }
        options_free(&options);
        return word < 0 ? 2 : 0;
    }
    if (options.is_key_generated) {
        printf("API key: %s\n", options.api_key);
        fflush(stdout);
    }
    struct program program = {0};
    bool is_fine = start(&program, &options, &err);
    if (is_fine && !loop_run(program.instance.loop)) {
        is_fine = error_set_errno(&err, ERROR_INTERNAL, "wait for events");
    }
    if (!is_fine) {
        log_error(NULL, "%s", err.message);
    }
    stop(&program);
    options_free(&options);
    return is_fine ? 0 : 1;
}
