#include "instance/notebook_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "instance/environment.h"
#include "instance/guardian.h"
#include "instance/jupyter.h"

#define READ_BYTES       (64 * 1024)
#define ANSWER_MAX_BYTES (64 * 1024 * 1024)
#define CLEANUP_GRACE_MS 3000
#define TERMINAL_ROWS    24
#define TERMINAL_COLUMNS 80

/* The script, followed by a NUL: see the assembly below. */
extern const char notebook_bridge[];

/* The assembler copies the file (relative to the top of the tree, where make runs). */
__asm__(".section .rodata\n"
        ".globl notebook_bridge\n"
        "notebook_bridge:\n"
        ".incbin \"instance/notebook_bridge.py\"\n"
        ".byte 0\n"
        ".text\n");

struct notebook_order {
    notebook_answered answered; /* NULL: nobody wants to know any more */
    void *state;
    struct notebook_order *next;
};

struct notebook_kernel {
    struct loop *loop;
    struct guardian guardian;
    struct loop_watch channel;
    struct loop_timer grace; /* for the bridge to end its kernel and to remove its files */
    struct buffer in;
    struct buffer out;
    struct notebook_order *first; /* the one that is being done; the others wait */
    void (*ended)(void *state);
    void *state;
    bool is_ending;
};

static void update_watch(struct notebook_kernel *kernel) {
    loop_watch_set(kernel->loop, &kernel->channel, kernel->out.length > 0 ? EPOLLIN | EPOLLOUT : (uint32_t)EPOLLIN);
}

static void answer_first(struct notebook_kernel *kernel, struct json_object *answer) {
    struct notebook_order *order = kernel->first;
    kernel->first = order->next;
    if (order->answered != NULL) {
        order->answered(order->state, answer);
    }
    free(order);
}

static void free_kernel(struct notebook_kernel *kernel) {
    loop_timer_clear(kernel->loop, &kernel->grace);
    loop_watch_remove(kernel->loop, &kernel->channel);
    close(kernel->channel.fd);
    kill(kernel->guardian.pid, SIGTERM); /* everything below it, too */
    close(kernel->guardian.terminal);
    close(kernel->guardian.reports);
    buffer_free(&kernel->in);
    buffer_free(&kernel->out);
    free(kernel);
}

/* The bridge has ended, or talks nonsense. */
static void give_up(struct notebook_kernel *kernel) {
    void (*ended)(void *state) = kernel->ended;
    void *state = kernel->state;
    loop_watch_remove(kernel->loop, &kernel->channel);
    while (kernel->first != NULL) {
        answer_first(kernel, NULL);
    }
    free_kernel(kernel);
    ended(state);
}

static void on_grace_end(struct loop_timer *timer) {
    give_up(loop_owner(timer, struct notebook_kernel, grace));
}

void notebook_kernel_drop(struct notebook_kernel *kernel) {
    while (kernel->first != NULL) {
        answer_first(kernel, NULL);
    }
    free_kernel(kernel);
}

void notebook_kernel_end(struct notebook_kernel *kernel) {
    kernel->is_ending = true;
    while (kernel->first != NULL) {
        answer_first(kernel, NULL);
    }
    /* The end of its input tells the bridge to clean up. While a cell runs it does not look: then time is up. */
    shutdown(kernel->channel.fd, SHUT_WR);
    loop_timer_set(kernel->loop, &kernel->grace, CLEANUP_GRACE_MS);
}

/* False: it was no answer to anything. */
static bool take_answers(struct notebook_kernel *kernel) {
    char *end;
    while (kernel->in.length > 0 && (end = memchr(kernel->in.data, '\n', kernel->in.length)) != NULL) {
        size_t length = (size_t)(end - kernel->in.data);
        cleanup_json struct json_object *answer = json_parse_object(kernel->in.data, length, NULL);
        buffer_consume(&kernel->in, length + 1);
        if (kernel->is_ending) {
            continue;
        }
        if (answer == NULL || kernel->first == NULL) {
            return false;
        }
        answer_first(kernel, answer);
    }
    if (kernel->in.length == 0) {
        buffer_free(&kernel->in);
    }
    return kernel->in.length <= ANSWER_MAX_BYTES;
}

static void write_orders(struct notebook_kernel *kernel) {
    while (kernel->out.length > 0) {
        ssize_t length = send(kernel->channel.fd, kernel->out.data, kernel->out.length, MSG_NOSIGNAL);
        if (length < 0 && errno != EINTR) {
            return; /* EAGAIN; or it is gone, which reading will tell */
        }
        buffer_consume(&kernel->out, length > 0 ? (size_t)length : 0);
    }
    buffer_free(&kernel->out);
}

static void on_channel(struct loop_watch *watch, uint32_t events) {
    struct notebook_kernel *kernel = loop_owner(watch, struct notebook_kernel, channel);
    if ((events & EPOLLOUT) != 0) {
        write_orders(kernel);
        update_watch(kernel);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) {
        return;
    }
    char *room = buffer_reserve(&kernel->in, READ_BYTES);
    ssize_t length = room != NULL ? recv(watch->fd, room, READ_BYTES, 0) : 0;
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    kernel->in.length += length > 0 ? (size_t)length : 0;
    if (length <= 0 || !take_answers(kernel)) {
        give_up(kernel);
    }
}

/* Starts Python with the script, in the home folder, with the other end of the channel. */
static bool launch(struct notebook_kernel *kernel, const char *home, int channel, struct error *err) {
    cleanup_free char *python = jupyter_find_python();
    cleanup_free char **environment = environment_make(NULL);
    cleanup_close int folder = open(home, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (python == NULL || environment == NULL || folder < 0) {
        return error_set(err, ERROR_INTERNAL, "No Jupyter kernel can be started");
    }
    char *arguments[] = {python, "-c", (char *)notebook_bridge, NULL};
    struct guardian_program program = {
        .path = python,
        .arguments = arguments,
        .environment = environment,
        .folder = folder,
        .rows = TERMINAL_ROWS,
        .columns = TERMINAL_COLUMNS,
        .has_channel = true,
        .channel = channel,
    };
    return guardian_start(&program, &kernel->guardian, err);
}

struct notebook_kernel *notebook_kernel_start(struct loop *loop, const char *home, void (*ended)(void *state),
                                              void *state, struct error *err) {
    struct notebook_kernel *kernel = calloc(1, sizeof *kernel);
    int ends[2];
    if (kernel == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        free(kernel);
        error_set_errno(err, ERROR_CAPACITY, "start a Jupyter kernel");
        return NULL;
    }
    kernel->loop = loop;
    kernel->ended = ended;
    kernel->state = state;
    kernel->channel = (struct loop_watch){.fd = ends[0], .ready = on_channel};
    kernel->grace.expired = on_grace_end;
    bool is_started = launch(kernel, home, ends[1], err);
    close(ends[1]);
    /* Ours only: Python wants its end to block. */
    if (is_started && (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0 || !loop_watch_set(loop, &kernel->channel, EPOLLIN))) {
        error_set_errno(err, ERROR_CAPACITY, "watch a Jupyter kernel");
        free_kernel(kernel);
        return NULL;
    }
    if (!is_started) {
        close(ends[0]);
        free(kernel);
        return NULL;
    }
    return kernel;
}

struct notebook_order *notebook_kernel_order(struct notebook_kernel *kernel, struct json_object *order,
                                             notebook_answered answered, void *state) {
    size_t length = 0;
    const char *text = json_text(order, &length);
    struct notebook_order *ticket = calloc(1, sizeof *ticket);
    if (ticket == NULL || text == NULL || !buffer_append(&kernel->out, text, length) ||
        !buffer_append(&kernel->out, "\n", 1)) {
        free(ticket);
        return NULL;
    }
    *ticket = (struct notebook_order){answered, state, NULL};
    struct notebook_order **last = &kernel->first;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = ticket;
    write_orders(kernel);
    update_watch(kernel);
    return ticket;
}

void notebook_order_forget(struct notebook_order *order) {
    order->answered = NULL;
}
