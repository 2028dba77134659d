#include "instance/mcp_stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/log.h"
#include "instance/loop.h"

#define READ_BYTES       (64 * 1024)
#define OUTPUT_MAX_BYTES (1024 * 1024) /* that a client has not read: then nothing more is taken from it */

struct mcp_stdio {
    struct instance *instance;
    struct loop_watch input;
    struct loop_watch output;
    struct loop_timer next; /* goes on with an input that epoll cannot watch: a file is always ready */
    struct buffer line;     /* read, and not a whole message yet */
    struct buffer answers;
    size_t running; /* asked and not answered */
    bool has_ended;
};

static void update(struct mcp_stdio *stdio) {
    struct loop *loop = stdio->instance->loop;
    bool may_read = !stdio->has_ended && stdio->answers.length < OUTPUT_MAX_BYTES;
    if (!loop_watch_set(loop, &stdio->input, may_read ? EPOLLIN : 0) && may_read) {
        loop_timer_set(loop, &stdio->next, 0);
    }
    if (stdio->has_ended) {
        loop_watch_remove(loop, &stdio->input); /* its hang-up would be reported again and again */
    }
    loop_watch_set(loop, &stdio->output, stdio->answers.length > 0 ? EPOLLOUT : 0);
    if (stdio->has_ended && stdio->running == 0 && stdio->answers.length == 0) {
        loop_stop(loop);
    }
}

static void write_answers(struct mcp_stdio *stdio) {
    while (stdio->answers.length > 0) {
        ssize_t length = write(STDOUT_FILENO, stdio->answers.data, stdio->answers.length);
        if (length >= 0) {
            buffer_consume(&stdio->answers, (size_t)length);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            log_error(NULL, "standard output is gone: %s", strerror(errno));
            stdio->has_ended = true;
            buffer_free(&stdio->answers);
            loop_stop(stdio->instance->loop);
        }
    }
}

static void reply(void *state, struct json_object *answer) {
    struct mcp_stdio *stdio = state;
    size_t length = 0;
    const char *text = answer != NULL ? json_text(answer, &length) : NULL;
    stdio->running--;
    if (text != NULL && (!buffer_append(&stdio->answers, text, length) || !buffer_append(&stdio->answers, "\n", 1))) {
        log_error(NULL, "out of memory for an answer");
    }
    json_object_put(answer);
    write_answers(stdio);
    update(stdio);
}

static void take_lines(struct mcp_stdio *stdio) {
    char *end;
    size_t used = 0;
    while (used < stdio->line.length &&
           (end = memchr(stdio->line.data + used, '\n', stdio->line.length - used)) != NULL) {
        const char *line = stdio->line.data + used;
        size_t length = (size_t)(end - line);
        used += length + 1;
        if (strspn(line, " \t\r\n") < length) {
            stdio->running++;
            mcp_receive(stdio->instance->mcp, line, length, reply, stdio);
        }
    }
    buffer_consume(&stdio->line, used);
}

static void read_input(struct mcp_stdio *stdio) {
    char *room = buffer_reserve(&stdio->line, READ_BYTES);
    ssize_t length = room != NULL ? read(STDIN_FILENO, room, READ_BYTES) : 0;
    if (length > 0) {
        stdio->line.length += (size_t)length;
        take_lines(stdio);
        if (stdio->line.length > MCP_LINE_MAX_BYTES) {
            log_error(NULL, "a message of more than %d bytes", MCP_LINE_MAX_BYTES);
            stdio->has_ended = true;
        }
    } else if (length == 0 || (errno != EAGAIN && errno != EINTR)) {
        stdio->has_ended = true;
    }
    update(stdio);
}

static void on_input(struct loop_watch *watch, uint32_t events) {
    (void)events;
    read_input(loop_owner(watch, struct mcp_stdio, input));
}

static void on_next(struct loop_timer *timer) {
    read_input(loop_owner(timer, struct mcp_stdio, next));
}

static void on_output(struct loop_watch *watch, uint32_t events) {
    (void)events;
    struct mcp_stdio *stdio = loop_owner(watch, struct mcp_stdio, output);
    write_answers(stdio);
    update(stdio);
}

static bool make_non_blocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

struct mcp_stdio *mcp_stdio_start(struct instance *instance, struct error *err) {
    struct mcp_stdio *stdio = calloc(1, sizeof *stdio);
    if (stdio == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    stdio->instance = instance;
    stdio->input = (struct loop_watch){.fd = STDIN_FILENO, .ready = on_input};
    stdio->output = (struct loop_watch){.fd = STDOUT_FILENO, .ready = on_output};
    stdio->next.expired = on_next;
    if (!make_non_blocking(STDIN_FILENO) || !make_non_blocking(STDOUT_FILENO)) {
        error_set_errno(err, ERROR_INTERNAL, "use standard input and output");
        free(stdio);
        return NULL;
    }
    update(stdio);
    return stdio;
}

void mcp_stdio_free(struct mcp_stdio *stdio) {
    if (stdio == NULL) {
        return;
    }
    loop_watch_remove(stdio->instance->loop, &stdio->input);
    loop_watch_remove(stdio->instance->loop, &stdio->output);
    loop_timer_clear(stdio->instance->loop, &stdio->next);
    buffer_free(&stdio->line);
    buffer_free(&stdio->answers);
    free(stdio);
}
