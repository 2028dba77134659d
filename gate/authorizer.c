#include "gate/authorizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "gate/endpoint.h"
#include "gate/fcgi_codec.h"

#define RETRY_FIRST_MS 5
#define RETRY_MAX_MS   250

/* The life of an ask: waiting to connect (timer) -> connected (socket and timer) -> done (the callback, free). A
 * connection that ends before the answer leads back to waiting. */
struct authorizer_ask {
    struct event_base *base;
    struct sockaddr_un address;
    struct gate_limits limits;
    authorizer_callback *callback;
    void *context;
    struct buffer request; /* holds a token */
    size_t sent;
    struct endpoint endpoint;
    struct event timer;
    struct fcgi_decoder decoder;
    int64_t started_at_ms;
    int retry_ms;
    bool was_reached; /* somebody listened at least once */
};

static void ask_free(struct authorizer_ask *ask) {
    endpoint_close(&ask->endpoint);
    evtimer_del(&ask->timer);
    fcgi_decoder_free(&ask->decoder);
    if (ask->request.data != NULL) {
        explicit_bzero(ask->request.data, ask->request.capacity);
    }
    buffer_free(&ask->request);
    free(ask);
}

void authorizer_ask_cancel(struct authorizer_ask *ask) {
    if (ask != NULL) {
        ask_free(ask);
    }
}

/* Frees the ask before it calls back, so that the callback may do what it likes. */
static void finish(struct authorizer_ask *ask, const struct authorizer_answer *answer, const struct error *err) {
    authorizer_callback *callback = ask->callback;
    void *context = ask->context;
    ask_free(ask);
    callback(context, answer, err);
}

static void fail(struct authorizer_ask *ask, enum error_code code, const char *message) {
    struct error err;
    error_set(&err, code, "%s", message);
    finish(ask, NULL, &err);
}

static void set_timer(struct authorizer_ask *ask, int64_t delay_ms) {
    struct timeval delay = {.tv_sec = delay_ms / 1000, .tv_usec = delay_ms % 1000 * 1000};
    evtimer_add(&ask->timer, &delay);
}

static int64_t time_left_ms(const struct authorizer_ask *ask) {
    int limit = ask->was_reached ? ask->limits.authorizer : ask->limits.authorizer_retry;
    int64_t left = ask->started_at_ms + limit - clock_monotonic_ms();
    return left > 0 ? left : 0;
}

static void try_again_later(struct authorizer_ask *ask) {
    endpoint_close(&ask->endpoint);
    fcgi_decoder_free(&ask->decoder);
    ask->decoder = (struct fcgi_decoder){0};
    ask->sent = 0;
    if (clock_monotonic_ms() - ask->started_at_ms >= ask->limits.authorizer_retry) {
        fail(ask, ERROR_CAPACITY, "Authorization is not available at the moment");
        return;
    }
    ask->retry_ms = ask->retry_ms * 2 < RETRY_MAX_MS ? ask->retry_ms * 2 : RETRY_MAX_MS;
    set_timer(ask, ask->retry_ms);
}

static void log_errors(const struct fcgi_decoder *decoder) {
    if (decoder->errors.length > 0) {
        log_warning(NULL, "terminals-api says: %s", decoder->errors.data);
    }
}

static void take_answer(struct authorizer_ask *ask) {
    struct authorizer_answer answer;
    struct error err = {0};
    struct fcgi_decoder *decoder = &ask->decoder;
    log_errors(decoder);
    if (!authorizer_answer_parse(&answer, decoder->output.data != NULL ? decoder->output.data : "",
                                 decoder->output.length, &err)) {
        finish(ask, NULL, &err);
        return;
    }
    finish(ask, &answer, NULL);
    authorizer_answer_free(&answer);
}

/* False when the ask is over, one way or the other. */
static bool read_answer(struct authorizer_ask *ask) {
    char bytes[4096];
    while (ask->endpoint.readable) {
        ssize_t received = endpoint_receive(&ask->endpoint, bytes, sizeof bytes, 0);
        if (received == ENDPOINT_NOTHING) {
            break;
        }
        if (received < 0) {
            try_again_later(ask);
            return false;
        }
        struct error err = {0};
        if (!fcgi_decoder_feed(&ask->decoder, bytes, (size_t)received, &err)) {
            finish(ask, NULL, &err);
            return false;
        }
        if (ask->decoder.ended) {
            take_answer(ask);
            return false;
        }
    }
    return true;
}

static void on_endpoint(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    struct authorizer_ask *ask = context;
    endpoint_note(&ask->endpoint, what);
    while (ask->sent < ask->request.length && ask->endpoint.writable) {
        ssize_t sent = endpoint_send(&ask->endpoint, ask->request.data + ask->sent, ask->request.length - ask->sent);
        if (sent < 0) {
            break; /* what it still had to say can be read */
        }
        ask->sent += (size_t)sent;
    }
    read_answer(ask);
}

/* A Unix socket connects at once or not at all: EAGAIN says that the backlog is full (unix(7)). */
static void try_to_connect(struct authorizer_ask *ask) {
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&ask->address, sizeof ask->address) != 0) {
        try_again_later(ask);
        return;
    }
    if (!endpoint_open(&ask->endpoint, ask->base, steal_fd(&fd), on_endpoint, ask)) {
        fail(ask, ERROR_INTERNAL, "The event loop takes no more connections");
        return;
    }
    ask->was_reached = true;
    set_timer(ask, time_left_ms(ask));
}

static void on_timer(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct authorizer_ask *ask = context;
    if (ask->endpoint.fd < 0) {
        try_to_connect(ask);
    } else {
        fail(ask, ERROR_TIMEOUT, "Authorization took too long");
    }
}

struct authorizer_ask *authorizer_ask_start(struct event_base *base, const char *socket_path,
                                            const struct buffer *params, const struct gate_limits *limits,
                                            authorizer_callback *callback, void *context) {
    struct authorizer_ask *ask = calloc(1, sizeof *ask);
    if (ask == NULL) {
        return NULL;
    }
    ask->base = base;
    ask->limits = *limits;
    ask->callback = callback;
    ask->context = context;
    ask->endpoint = ENDPOINT_CLOSED;
    ask->retry_ms = RETRY_FIRST_MS;
    ask->started_at_ms = clock_monotonic_ms();
    ask->address.sun_family = AF_UNIX;
    evtimer_assign(&ask->timer, base, on_timer, ask);
    if (strlen(socket_path) >= sizeof ask->address.sun_path || !fcgi_append_request(&ask->request, params)) {
        ask_free(ask);
        return NULL;
    }
    memcpy(ask->address.sun_path, socket_path, strlen(socket_path)); /* NOLINT: calloc() left the NUL */
    /* The first try comes from the loop like all others, so the callback never runs inside this call. */
    set_timer(ask, 0);
    return ask;
}
