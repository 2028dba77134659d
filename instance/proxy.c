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
#include "instance/json_lax.h"
#include "instance/proxy.h"
#include "instance/routes.h"
#include "instance/websocket_handshake.h"

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
    if (proxy->is_body_waiting && proxy->out.length < PROXY_BUFFERED_MAX_BYTES) {
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
    proxy_fail(proxy, problem == ECONNREFUSED ? "Connection refused" : "Cannot connect");
}

static void on_ready(struct loop_watch *watch, uint32_t events) {
    struct proxy *proxy = loop_owner(watch, struct proxy, watch);
    if (!proxy->is_connected) {
        finish_connect(proxy);
        if (!proxy->is_connected) {
            return;
        }
    } else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        proxy_read_answer(proxy);
    }
    if (!proxy->has_ended) {
        write_more(proxy);
        proxy_update_watch(proxy);
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
    buffer_append_format(&proxy->out, "%s /%s%s%s HTTP/1.1\r\nHost: localhost:%u\r\nConnection: %s\r\n",
                         http_method(request), http_raw_path_rest(request), *query != '\0' ? "?" : "", query,
                         proxy->port, proxy->is_upgrade ? "Upgrade\r\nUpgrade: websocket" : "close");
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
    size_t length;
    const char *text = http_path_parameter(request, "port", &length);
    int64_t number;
    if (!json_lax_number(text, length, &number)) {
        http_invalid(request, "int_parsing", "path", "port",
                     "Input should be a valid integer, unable to parse string as an integer", http_echo(text, length),
                     NULL);
        http_refused_as_invalid(request);
        return false;
    }
    if (number < 1 || number > 65535) {
        http_respond_error(request, 422, "Port must be between 1 and 65535");
        return false;
    }
    *port = (unsigned)number;
    return true;
}

static void start(struct http_request *request, bool is_upgrade) {
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
    proxy->is_upgrade = is_upgrade;
    proxy->watch.fd = -1;
    http_set_state(request, proxy, release_proxy);
    write_head(proxy);
    if (proxy->out.failed || !start_connect(proxy)) {
        proxy_fail(proxy, "Cannot connect");
    }
}

static void begin(struct http_request *request) {
    start(request, false);
}

/* Browsers cannot send a header with a WebSocket, but what stands before us can: the key is asked for as for any other
 * request of /proxy. */
static void upgrade(struct http_request *request) {
    if (http_is_authorized(request)) {
        start(request, true);
    } else {
        websocket_refuse(request, 401, "");
    }
}

static size_t take(struct http_request *request, const char *bytes, size_t length) {
    struct proxy *proxy = http_state(request);
    if (proxy->out.length >= PROXY_BUFFERED_MAX_BYTES) {
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
        proxy_fail(proxy, "Out of memory on the way to");
    } else {
        proxy_update_watch(proxy);
    }
    return length;
}

/* The client's body is complete. The answer comes when the program gives it. */
static void handle(struct http_request *request) {
    struct proxy *proxy = http_state(request);
    if (proxy->is_body_chunked) {
        buffer_append_string(&proxy->out, "0\r\n\r\n");
    }
    proxy_update_watch(proxy);
}

static const struct http_body_reader body_reader = {.begin = begin, .take = take};

const struct http_route proxy_routes[] = {
    {.method = "*",
     .pattern = "/proxy/{port}/{path...}",
     .body = HTTP_BODY_STREAMED,
     .handle = handle,
     .reader = &body_reader,
     .upgrade = upgrade},
    HTTP_ROUTES_END,
};
