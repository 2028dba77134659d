#include "provisioner/http_get.h"

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

struct http_get {
    struct bufferevent *connection;
    struct event *timeout;
    size_t body_max_bytes;
    const char *failure; /* known already, to be told from the event loop */
    http_get_done *done;
    void *argument;
};

void http_get_cancel(struct http_get *get) {
    if (get == NULL) {
        return;
    }
    if (get->timeout != NULL) {
        event_free(get->timeout);
    }
    if (get->connection != NULL) {
        bufferevent_free(get->connection);
    }
    free(get);
}

/* Frees everything first, so that `done` may start the next one or free what owns this one. */
static void finish(struct http_get *get, int status, const char *body, size_t length, const char *failure) {
    http_get_done *done = get->done;
    void *argument = get->argument;
    http_get_cancel(get);
    done(argument, status, body, length, failure);
}

static void fail(struct http_get *get, const char *failure) {
    finish(get, 0, NULL, 0, failure);
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
static void judge_text(struct http_get *get, char *answer, size_t head_length, size_t length) {
    answer[head_length - 1] = '\0'; /* the last line feed: the head as a string of its own */
    int status = parse_status(answer);
    const char *problem = status == 0                ? "no HTTP answer"
                          : get->body_max_bytes == 0 ? NULL
                                                     : body_problem(answer, length - head_length);
    if (problem != NULL) {
        fail(get, problem);
    } else {
        finish(get, status, answer + head_length, length - head_length, NULL);
    }
}

/* The connection has ended, or more came than is wanted: judges what is there. */
static void judge(struct http_get *get) {
    struct evbuffer *input = bufferevent_get_input(get->connection);
    struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
    if (end.pos < 0 || end.pos > HEAD_MAX_BYTES) {
        fail(get, "no HTTP answer");
        return;
    }
    size_t length = evbuffer_get_length(input);
    char *answer = malloc(length + 1);
    if (answer == NULL) {
        fail(get, "out of memory");
        return;
    }
    evbuffer_remove(input, answer, length);
    answer[length] = '\0';
    judge_text(get, answer, (size_t)end.pos + 4, length);
    free(answer);
}

static void on_readable(struct bufferevent *connection, void *argument) {
    struct http_get *get = argument;
    struct evbuffer *input = bufferevent_get_input(connection);
    struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
    size_t length = evbuffer_get_length(input);
    if (end.pos < 0 ? length > HEAD_MAX_BYTES : length > (size_t)end.pos + 4 + get->body_max_bytes) {
        if (get->body_max_bytes == 0 && end.pos >= 0) {
            judge(get); /* the status is known; nobody waits for the body */
        } else {
            fail(get, "the answer is too long");
        }
    } else if (get->body_max_bytes == 0 && end.pos >= 0) {
        judge(get);
    }
}

static void on_event(struct bufferevent *connection, short what, void *argument) {
    struct http_get *get = argument;
    (void)connection;
    if ((what & BEV_EVENT_ERROR) != 0) {
        fail(get, strerror(EVUTIL_SOCKET_ERROR()));
    } else if ((what & BEV_EVENT_EOF) != 0) {
        judge(get);
    }
}

static void on_timeout(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct http_get *get = argument;
    fail(get, get->failure == NULL ? "no answer in time" : get->failure);
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

static bool write_request(struct evbuffer *output, const struct http_get_request *request) {
    bool ipv6 = strchr(request->host, ':') != NULL;
    if (evbuffer_add_printf(output, "GET %s HTTP/1.0\r\nHost: %s%s%s:%u\r\nConnection: close\r\n", request->path,
                            ipv6 ? "[" : "", request->host, ipv6 ? "]" : "", request->port) < 0) {
        return false;
    }
    if (request->key != NULL && evbuffer_add_printf(output, "Authorization: Bearer %s\r\n", request->key) < 0) {
        return false;
    }
    return evbuffer_add(output, "\r\n", 2) == 0;
}

struct http_get *http_get_start(struct event_base *base, const struct http_get_request *request, http_get_done *done,
                                void *argument) {
    struct sockaddr_storage address;
    int address_length;
    if (!to_address(request->host, request->port, &address, &address_length)) {
        return NULL;
    }
    struct http_get *get = calloc(1, sizeof *get);
    if (get == NULL) {
        return NULL;
    }
    get->body_max_bytes = request->body_max_bytes;
    get->done = done;
    get->argument = argument;
    get->timeout = evtimer_new(base, on_timeout, get);
    /* Deferred callbacks: a connection refused at once must not call `done` from inside this function. */
    get->connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    const struct timeval timeout = {request->timeout_ms / 1000, request->timeout_ms % 1000 * 1000};
    if (get->timeout == NULL || get->connection == NULL || evtimer_add(get->timeout, &timeout) != 0 ||
        !write_request(bufferevent_get_output(get->connection), request)) {
        http_get_cancel(get);
        return NULL;
    }
    bufferevent_setcb(get->connection, on_readable, NULL, on_event, get);
    bufferevent_enable(get->connection, EV_READ);
    if (bufferevent_socket_connect(get->connection, (struct sockaddr *)&address, address_length) != 0) {
        const struct timeval now = {0, 0};
        get->failure = strerrordesc_np(errno); /* no way there, or no descriptor left */
        evtimer_add(get->timeout, &now);
    }
    return get;
}
