#include "provisioner/http_call.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEAD_MAX_BYTES (16 * 1024)

struct http_call {
    struct bufferevent *connection;
    struct event *timeout;
    size_t body_max_bytes;
    const char *failure; /* known already, to be told from the event loop */
    http_call_done *done;
    void *argument;
};

void http_call_cancel(struct http_call *call) {
    if (call == NULL) {
        return;
    }
    if (call->timeout != NULL) {
        event_free(call->timeout);
    }
    if (call->connection != NULL) {
        bufferevent_free(call->connection);
    }
    free(call);
}

/* Frees everything first, so that `done` may start the next one or free what owns this one. */
static void finish(struct http_call *call, int status, const char *body, size_t length, const char *failure) {
    http_call_done *done = call->done;
    void *argument = call->argument;
    http_call_cancel(call);
    done(argument, status, body, length, failure);
}

static void fail(struct http_call *call, const char *failure) {
    finish(call, 0, NULL, 0, failure);
}

/* "HTTP/1.1 200 OK" (RFC 9112 §4) → 200; 0 if it is something else. */
static int parse_status(const char *head) {
    if (strncmp(head, "HTTP/1.", 7) != 0 || (head[7] != '0' && head[7] != '1') || head[8] != ' ') {
        return 0;
    }
    int status = 0;
    for (int i = 9; i < 12; i++) {
        if (head[i] < '0' || head[i] > '9') {
            return 0;
        }
        status = status * 10 + (head[i] - '0');
    }
    return head[12] == ' ' || head[12] == '\r' || head[12] == '\n' || head[12] == '\0' ? status : 0;
}

/* The value of a header in `head` (a NUL-terminated head), or NULL. */
static const char *find_header(const char *head, const char *name) {
    size_t length = strlen(name);
    for (const char *line = strchr(head, '\n'); line != NULL; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            return line + length + 1 + strspn(line + length + 1, " \t");
        }
    }
    return NULL;
}

/* A body is whole when it has the announced length; without one, the end of the connection is its end. */
static const char *body_problem(const char *head, size_t length) {
    if (find_header(head, "Transfer-Encoding") != NULL) {
        return "the answer has a transfer coding, which HTTP/1.0 does not know";
    }
    const char *announced = find_header(head, "Content-Length");
    if (announced == NULL) {
        return NULL;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(announced, &end, 10);
    if (end == announced || errno != 0 || value != length) {
        return "the answer was cut short";
    }
    return NULL;
}

/* Judges a whole answer: a head of head_length bytes, the body, and a NUL. */
static void judge_text(struct http_call *call, char *answer, size_t head_length, size_t length) {
    answer[head_length - 1] = '\0'; /* the last line feed: the head as a string of its own */
    int status = parse_status(answer);
    const char *problem = status == 0                 ? "no HTTP answer"
                          : call->body_max_bytes == 0 ? NULL
                                                      : body_problem(answer, length - head_length);
    if (problem != NULL) {
        fail(call, problem);
    } else {
        finish(call, status, answer + head_length, length - head_length, NULL);
    }
}

/* The connection has ended, or more came than is wanted: judges what is there. */
static void judge(struct http_call *call) {
    struct evbuffer *input = bufferevent_get_input(call->connection);
    struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
    if (end.pos < 0 || end.pos > HEAD_MAX_BYTES) {
        fail(call, "no HTTP answer");
        return;
    }
    size_t length = evbuffer_get_length(input);
    char *answer = malloc(length + 1);
    if (answer == NULL) {
        fail(call, "out of memory");
        return;
    }
    evbuffer_remove(input, answer, length);
    answer[length] = '\0';
    judge_text(call, answer, (size_t)end.pos + 4, length);
    free(answer);
}

static void on_readable(struct bufferevent *connection, void *argument) {
    struct http_call *call = argument;
    struct evbuffer *input = bufferevent_get_input(connection);
    struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
    size_t length = evbuffer_get_length(input);
    if (end.pos < 0 ? length > HEAD_MAX_BYTES : length > (size_t)end.pos + 4 + call->body_max_bytes) {
        if (call->body_max_bytes == 0 && end.pos >= 0) {
            judge(call); /* the status is known; nobody waits for the body */
        } else {
            fail(call, "the answer is too long");
        }
    } else if (call->body_max_bytes == 0 && end.pos >= 0) {
        judge(call);
    }
}

static void on_event(struct bufferevent *connection, short what, void *argument) {
    struct http_call *call = argument;
    (void)connection;
    if ((what & BEV_EVENT_ERROR) != 0) {
        fail(call, strerrordesc_np(EVUTIL_SOCKET_ERROR()));
    } else if ((what & BEV_EVENT_EOF) != 0) {
        judge(call);
    }
}

static void on_timeout(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct http_call *call = argument;
    fail(call, call->failure == NULL ? "no answer in time" : call->failure);
}

static bool to_address(const char *host, uint16_t port, struct sockaddr_storage *address, int *length) {
    memset(address, 0, sizeof *address);
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)address;
    if (inet_pton(AF_INET, host, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
        ipv4->sin_port = htons(port);
        *length = sizeof *ipv4;
        return true;
    }
    if (inet_pton(AF_INET6, host, &ipv6->sin6_addr) == 1) {
        ipv6->sin6_family = AF_INET6;
        ipv6->sin6_port = htons(port);
        *length = sizeof *ipv6;
        return true;
    }
    return false;
}

static bool write_request(struct evbuffer *output, const struct http_call_request *request) {
    bool ipv6 = strchr(request->host, ':') != NULL;
    if (evbuffer_add_printf(output, "%s %s HTTP/1.0\r\nHost: %s%s%s:%u\r\nConnection: close\r\n",
                            request->json == NULL ? "GET" : "POST", request->path, ipv6 ? "[" : "", request->host,
                            ipv6 ? "]" : "", request->port) < 0) {
        return false;
    }
    if (request->key != NULL && evbuffer_add_printf(output, "Authorization: Bearer %s\r\n", request->key) < 0) {
        return false;
    }
    if (request->json == NULL) {
        return evbuffer_add(output, "\r\n", 2) == 0;
    }
    return evbuffer_add_printf(output, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                               strlen(request->json), request->json) >= 0;
}

struct http_call *http_call_start(struct event_base *base, const struct http_call_request *request,
                                  http_call_done *done, void *argument) {
    struct sockaddr_storage address;
    int address_length;
    if (!to_address(request->host, request->port, &address, &address_length)) {
        return NULL;
    }
    struct http_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    call->body_max_bytes = request->body_max_bytes;
    call->done = done;
    call->argument = argument;
    call->timeout = evtimer_new(base, on_timeout, call);
    /* Deferred callbacks: a connection refused at once must not call `done` from inside this function. */
    call->connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    const struct timeval timeout = {request->timeout_ms / 1000, request->timeout_ms % 1000 * 1000};
    if (call->timeout == NULL || call->connection == NULL || evtimer_add(call->timeout, &timeout) != 0 ||
        !write_request(bufferevent_get_output(call->connection), request)) {
        http_call_cancel(call);
        return NULL;
    }
    bufferevent_setcb(call->connection, on_readable, NULL, on_event, call);
    bufferevent_enable(call->connection, EV_READ);
    if (bufferevent_socket_connect(call->connection, (struct sockaddr *)&address, address_length) != 0) {
        const struct timeval now = {0, 0};
        call->failure = strerrordesc_np(errno); /* no way there, or no descriptor left */
        evtimer_add(call->timeout, &now);
    }
    return call;
}
