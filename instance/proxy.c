/* proxy.c - /proxy/{port}/{path}: whatever the user's own programs serve on this machine. Both bodies are streamed,
 * with a bounded buffer each way. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "instance/http1.h"
#include "instance/instance.h"
#include "instance/loop.h"
#include "instance/routes.h"
#include "instance/utf8.h"

#define BUFFERED_MAX_BYTES (64 * 1024)
#define READ_BYTES         (16 * 1024)

struct proxy {
    struct http_request *request;
    struct loop *loop;
    struct loop_watch watch;
    unsigned port;
    bool is_second_address; /* 127.0.0.1 refused: this is ::1 */
    bool is_connected;
    bool is_body_chunked; /* towards the program */
    bool is_body_waiting; /* the client's next piece did not fit */
    bool has_answered;
    bool is_read_waiting; /* libmicrohttpd found nothing to send */
    bool has_ended;       /* the program's side is closed */
    struct buffer out;
    struct buffer in;
    struct http1_body body;
};

static void release_proxy(void *state) {
    struct proxy *proxy = state;
    if (proxy->watch.fd >= 0) {
        loop_watch_remove(proxy->loop, &proxy->watch);
        close(proxy->watch.fd);
    }
    buffer_free(&proxy->out);
    buffer_free(&proxy->in);
    free(proxy);
}

static void update_watch(struct proxy *proxy) {
    uint32_t events = 0;
    if (!proxy->is_connected || proxy->out.length > 0) {
        events |= EPOLLOUT;
    }
    if (proxy->is_connected && proxy->in.length < BUFFERED_MAX_BYTES) {
        events |= EPOLLIN;
    }
    if (proxy->has_ended || proxy->watch.fd < 0) {
        return;
    }
    loop_watch_set(proxy->loop, &proxy->watch, events);
}

/* No more from the program: whatever comes of the answer depends on what is in the buffer. */
static void end_connection(struct proxy *proxy) {
    proxy->has_ended = true;
    loop_watch_remove(proxy->loop, &proxy->watch);
}

static void fail(struct proxy *proxy, const char *reason) {
    if (!proxy->has_answered) {
        proxy->has_answered = true;
        http_respond_error(proxy->request, 502, "%s: localhost:%u", reason, proxy->port);
    }
    end_connection(proxy);
}

/* ---- the answer ---- */

static ssize_t read_answer(void *state, char *out, size_t size) {
    struct proxy *proxy = state;
    size_t used = 0;
    ptrdiff_t length = http1_read_body(&proxy->body, proxy->in.data, proxy->in.length, &used, out, size);
    buffer_consume(&proxy->in, used);
    update_watch(proxy);
    if (length != 0) {
        return length > 0 ? length : HTTP_SOURCE_FAILED;
    }
    if (proxy->body.is_complete) {
        return HTTP_SOURCE_END;
    }
    if (proxy->has_ended) {
        return proxy->body.framing == HTTP1_UNTIL_CLOSE ? HTTP_SOURCE_END : HTTP_SOURCE_FAILED;
    }
    proxy->is_read_waiting = true;
    return HTTP_SOURCE_LATER;
}

static void pass_field(void *state, const char *name, const char *value) {
    struct proxy *proxy = state;
    http_add_header(proxy->request, name, value);
}

static void ignore_field(void *state, const char *name, const char *value) {
    (void)state;
    (void)name;
    (void)value;
}

/* Looks for the head of the answer in what came so far. False when there is none yet, or it was no good. */
static bool take_head(struct proxy *proxy) {
    size_t length = http1_find_head_end(proxy->in.data, proxy->in.length);
    if (length == 0) {
        if (proxy->has_ended || proxy->in.length >= HTTP1_HEAD_MAX_BYTES) {
            fail(proxy, "No valid answer from");
        }
        return false;
    }
    struct http1_head head;
    bool is_head = strcmp(http_method(proxy->request), "HEAD") == 0;
    bool is_interim = proxy->in.length > 9 && proxy->in.data[9] == '1';
    if (!http1_parse_head(proxy->in.data, length, is_head, &head, is_interim ? ignore_field : pass_field, proxy)) {
        fail(proxy, "No valid answer from");
        return false;
    }
    buffer_consume(&proxy->in, length);
    if (is_interim) {
        return take_head(proxy); /* 100 Continue and the like: the real one follows */
    }
    proxy->has_answered = true;
    proxy->body = (struct http1_body){.framing = head.framing, .left = head.length};
    proxy->body.is_complete = head.framing == HTTP1_LENGTH && head.length == 0;
    http_respond_source(proxy->request, head.status, NULL,
                        head.framing == HTTP1_LENGTH ? head.length : HTTP_LENGTH_UNKNOWN, read_answer, proxy, NULL);
    return true;
}

static void read_more(struct proxy *proxy) {
    while (!proxy->has_ended && proxy->in.length < BUFFERED_MAX_BYTES) {
        char *room = buffer_reserve(&proxy->in, READ_BYTES);
        ssize_t length = room != NULL ? recv(proxy->watch.fd, room, READ_BYTES, 0) : 0;
        if (length > 0) {
            proxy->in.length += (size_t)length;
        } else if (length < 0 && errno == EINTR) {
            continue;
        } else if (length < 0 && errno == EAGAIN) {
            break;
        } else {
            end_connection(proxy);
        }
    }
    if (!proxy->has_answered) {
        take_head(proxy);
    } else if (proxy->is_read_waiting) {
        proxy->is_read_waiting = false;
        http_resume(proxy->request);
    }
}

/* ---- the connection ---- */

static void write_more(struct proxy *proxy) {
    size_t written = 0;
    while (written < proxy->out.length) {
        ssize_t length = send(proxy->watch.fd, proxy->out.data + written, proxy->out.length - written, MSG_NOSIGNAL);
        if (length >= 0) {
            written += (size_t)length;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            written = proxy->out.length; /* it does not want our body: its answer may still be there to read */
        }
    }
    buffer_consume(&proxy->out, written);
    if (proxy->is_body_waiting && proxy->out.length < BUFFERED_MAX_BYTES) {
        proxy->is_body_waiting = false;
        http_resume(proxy->request);
    }
}

static void on_ready(struct loop_watch *watch, uint32_t events);

/* Starts to connect to 127.0.0.1, or the second time to ::1, where some development servers listen only. */
static bool start_connect(struct proxy *proxy) {
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)proxy->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)proxy->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool is_v6 = proxy->is_second_address;
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    proxy->watch = (struct loop_watch){.fd = fd, .ready = on_ready};
    int result =
        is_v6 ? connect(fd, (struct sockaddr *)&v6, sizeof v6) : connect(fd, (struct sockaddr *)&v4, sizeof v4);
    if (result != 0 && errno != EINPROGRESS) {
        return false;
    }
    return loop_watch_set(proxy->loop, &proxy->watch, EPOLLOUT);
}

static void finish_connect(struct proxy *proxy) {
    int problem = 0;
    socklen_t length = sizeof problem;
    getsockopt(proxy->watch.fd, SOL_SOCKET, SO_ERROR, &problem, &length);
    if (problem == 0) {
        proxy->is_connected = true;
        return;
    }
    if (!proxy->is_second_address) {
        proxy->is_second_address = true;
        loop_watch_remove(proxy->loop, &proxy->watch);
        close(proxy->watch.fd);
        proxy->watch.fd = -1;
        if (start_connect(proxy)) {
            return;
        }
    }
    fail(proxy, problem == ECONNREFUSED ? "Connection refused" : "Cannot connect");
}

static void on_ready(struct loop_watch *watch, uint32_t events) {
    struct proxy *proxy = loop_owner(watch, struct proxy, watch);
    if (!proxy->is_connected) {
        finish_connect(proxy);
        if (!proxy->is_connected) {
            return;
        }
    } else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        read_more(proxy);
    }
    if (!proxy->has_ended) {
        write_more(proxy);
        update_watch(proxy);
    }
}

/* ---- the request ---- */

static void append_field(void *state, const char *name, const char *value) {
    static const char *const replaced[] = {"Host", "Authorization", "Content-Length", "Expect"};
    struct buffer *out = state;
    for (size_t i = 0; i < sizeof replaced / sizeof replaced[0]; i++) {
        if (strcasecmp(name, replaced[i]) == 0) {
            return;
        }
    }
    if (!http1_is_hop_by_hop(name)) {
        buffer_append_format(out, "%s: %s\r\n", name, value);
    }
}

/* The client's request as the program sees it: without the key of this instance, and on a connection of its own. */
static void write_head(struct proxy *proxy) {
    struct http_request *request = proxy->request;
    const char *query = http_raw_query(request);
    const char *length = http_header(request, "Content-Length");
    buffer_append_format(&proxy->out, "%s /%s%s%s HTTP/1.1\r\nHost: localhost:%u\r\nConnection: close\r\n",
                         http_method(request), http_raw_path_rest(request), *query != '\0' ? "?" : "", query,
                         proxy->port);
    http_each_header(request, append_field, &proxy->out);
    proxy->is_body_chunked = http_header(request, "Transfer-Encoding") != NULL;
    if (proxy->is_body_chunked) {
        buffer_append_string(&proxy->out, "Transfer-Encoding: chunked\r\n");
    } else if (length != NULL) {
        buffer_append_format(&proxy->out, "Content-Length: %s\r\n", length);
    }
    buffer_append_string(&proxy->out, "\r\n");
}

static bool read_port(struct http_request *request, unsigned *port) {
    const char *text = http_path_parameter(request, "port", NULL);
    char *end = NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (end == text || *end != '\0') {
        http_invalid(request, "int_parsing", "path", "port",
                     "Input should be a valid integer, unable to parse string as an integer",
                     utf8_is_valid(text, strlen(text)) ? json_object_new_string(text) : NULL, NULL);
        http_refused_as_invalid(request);
        return false;
    }
    if (errno != 0 || number < 1 || number > 65535) {
        http_respond_error(request, 422, "Port must be between 1 and 65535");
        return false;
    }
    *port = (unsigned)number;
    return true;
}

static void begin(struct http_request *request) {
    unsigned port;
    if (!read_port(request, &port)) {
        return;
    }
    struct proxy *proxy = calloc(1, sizeof *proxy);
    if (proxy == NULL) {
        http_respond_json(request, 500, NULL);
        return;
    }
    proxy->request = request;
    proxy->loop = http_instance(request)->loop;
    proxy->port = port;
    proxy->watch.fd = -1;
    http_set_state(request, proxy, release_proxy);
    write_head(proxy);
    if (proxy->out.failed || !start_connect(proxy)) {
        fail(proxy, "Cannot connect");
    }
}

static size_t take(struct http_request *request, const char *bytes, size_t length) {
    struct proxy *proxy = http_state(request);
    if (proxy->out.length >= BUFFERED_MAX_BYTES) {
        proxy->is_body_waiting = true;
        return 0;
    }
    if (proxy->is_body_chunked) {
        buffer_append_format(&proxy->out, "%zx\r\n", length);
    }
    buffer_append(&proxy->out, bytes, length);
    if (proxy->is_body_chunked) {
        buffer_append_string(&proxy->out, "\r\n");
    }
    if (proxy->out.failed) {
        fail(proxy, "Out of memory on the way to");
    } else {
        update_watch(proxy);
    }
    return length;
}

/* The client's body is complete. The answer comes when the program gives it. */
static void handle(struct http_request *request) {
    struct proxy *proxy = http_state(request);
    if (proxy->is_body_chunked) {
        buffer_append_string(&proxy->out, "0\r\n\r\n");
    }
    update_watch(proxy);
}

static const struct http_body_reader body_reader = {.begin = begin, .take = take};

const struct http_route proxy_routes[] = {
    {.method = "*",
     .pattern = "/proxy/{port}/{path...}",
     .body = HTTP_BODY_STREAMED,
     .handle = handle,
     .reader = &body_reader},
    HTTP_ROUTES_END,
};
