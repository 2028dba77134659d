#include "instance/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/secret.h"
#include "instance/cors.h"
#include "instance/http_request.h"
#include "instance/loop.h"
#include "instance/options.h"
#include "instance/router.h"
#include "instance/websocket_handshake.h"

#define LISTEN_BACKLOG 512
/* An answer that comes before the body ends the connection, so a body up to this size is read and dropped instead. */
#define DROPPED_BODY_MAX_BYTES (1024 * 1024)
#define ALLOW_SIZE             64
#define SILENCE_MAX_SECONDS    60u
#define CONNECTIONS_MAX        16384u

struct http_server {
    struct instance *instance;
    struct MHD_Daemon *daemon;
    struct loop_watch watch;
    struct http_request *requests; /* in progress */
    bool is_run_due;
};

/* libmicrohttpd would split the query too, nobody looks at that, and when 500 parameters have used up the memory of the
 * connection it goes silent for ever. This is its own buffer, in which it looks for "&" when we have returned. */
static void hide_parameters(const char *uri) {
    for (char *c = strchr((char *)uri, '?'); c != NULL; c = strchr(c, '&')) {
        *c = *c == '&' ? '.' : *c;
    }
}

static void *begin_request(void *cls, const char *uri, struct MHD_Connection *connection) {
    struct http_server *server = cls;
    struct http_request *request = calloc(1, sizeof *request);
    if (request == NULL || (request->target = strdup(uri)) == NULL) {
        free(request);
        return NULL;
    }
    char *question_mark = strchr(request->target, '?');
    request->raw_query = "";
    if (question_mark != NULL) {
        *question_mark = '\0';
        request->raw_query = question_mark + 1;
        hide_parameters(uri);
    }
    request->instance = server->instance;
    request->server = server;
    request->connection = connection;
    request->next = server->requests;
    if (request->next != NULL) {
        request->next->previous = request;
    }
    server->requests = request;
    return request;
}

/* A connection may be silent for so long before and between requests, half a head included. A request itself may take
 * any time: a command waited for, a download that is paused. (How long a body may stall is for HAProxy to say.) */
static void limit_silence(struct MHD_Connection *connection, unsigned seconds) {
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
}

/* Without the query, which may hold what is nobody's business. */
static void log_access(const struct http_request *request) {
    const char *id = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "X-Request-Id");
    if (request->response == NULL && !request->is_upgrade) {
        log_info(id, "%s %s: no answer, the client has gone", request->method, request->target);
    } else {
        log_info(id, "%s %s answered %d", request->method, request->target,
                 request->response == NULL ? MHD_HTTP_SWITCHING_PROTOCOLS : request->status);
    }
}

static void end_request(void *cls, struct MHD_Connection *connection, void **con_cls,
                        enum MHD_RequestTerminationCode reason) {
    struct http_server *server = cls;
    struct http_request *request = *con_cls;
    if (request == NULL) {
        return;
    }
    *con_cls = NULL;
    if (request->is_begun && server->instance->options->is_access_logged) {
        log_access(request);
    }
    if (reason == MHD_REQUEST_TERMINATED_COMPLETED_OK && !request->is_upgrade) {
        limit_silence(connection, SILENCE_MAX_SECONDS);
    }
    if (request->release != NULL) {
        request->release(request->state);
    }
    if (request->previous != NULL) {
        request->previous->next = request->next;
    } else {
        server->requests = request->next;
    }
    if (request->next != NULL) {
        request->next->previous = request->previous;
    }
    for (size_t i = 0; i < request->parameter_count; i++) {
        free(request->parameters[i].value);
    }
    while (request->extra_headers != NULL) {
        struct http_extra_header *header = request->extra_headers;
        request->extra_headers = header->next;
        free(header);
    }
    if (request->response != NULL) {
        MHD_destroy_response(request->response);
    }
    url_query_free(&request->query);
    buffer_free(&request->body);
    json_object_put(request->json);
    json_object_put(request->bad_body);
    json_object_put(request->problems);
    free(request->target);
    free(request);
}

/* Bearer credentials (RFC 6750 §2.1); the scheme in any case (RFC 9110 §11.1). */
bool http_is_authorized(const struct http_request *request) {
    const char *api_key = request->instance->api_key;
    if (api_key == NULL) {
        return true;
    }
    const char *credentials = http_header(request, "Authorization");
    if (credentials == NULL || strncasecmp(credentials, "bearer ", 7) != 0) {
        return false;
    }
    credentials += 7;
    return secret_equals(credentials + strspn(credentials, " "), api_key);
}

/* "/files/list/" means "/files/list" and "/proxy/8000" means "/proxy/8000/": the client is sent to what exists. */
static bool redirect_slash(struct http_request *request) {
    size_t length = strlen(request->target);
    cleanup_free char *other = malloc(length + 2);
    if (other == NULL || length < 2) {
        return false;
    }
    memcpy(other, request->target, length + 1);
    if (other[length - 1] == '/') {
        while (length > 1 && other[length - 1] == '/') {
            other[--length] = '\0';
        }
    } else {
        memcpy(other + length++, "/", 2);
    }
    if (!router_knows(request->instance, other, length)) {
        return false;
    }
    const char *host = http_header(request, "Host");
    struct buffer location = {0};
    if (host != NULL) {
        buffer_append_format(&location, "http://%s", host);
    }
    buffer_append_string(&location, other);
    if (*request->raw_query != '\0') {
        buffer_append_format(&location, "?%s", request->raw_query);
    }
    if (!location.failed) {
        http_add_header(request, "Location", location.data);
    }
    buffer_free(&location);
    http_respond_static(request, 307, NULL, "", 0);
    return true;
}

static void refuse_path(struct http_request *request, enum router_result result, const char *allow) {
    if (result == ROUTER_NO_MEMORY) {
        http_respond(request, 500, NULL);
    } else if (result == ROUTER_NO_METHOD) {
        http_add_header(request, "Allow", allow);
        http_respond_error(request, 405, "Method Not Allowed");
    } else if (!redirect_slash(request)) {
        http_respond_error(request, 404, "Not Found");
    }
}

/* The head is there: who may do what with which route? May already answer. */
static void begin_handling(struct http_request *request) {
    char allow[ALLOW_SIZE];
    if (cors_answer_preflight(request)) {
        return;
    }
    enum router_result result = router_find(request, allow, sizeof allow);
    request->is_upgrade = websocket_is_asked_for(request);
    if (request->is_upgrade) {
        if (result != ROUTER_FOUND || request->route->upgrade == NULL) {
            websocket_refuse(request, 403, "");
        }
    } else if (result != ROUTER_FOUND) {
        refuse_path(request, result, allow);
    } else if (!request->route->is_open && !http_is_authorized(request)) {
        http_respond_error(request, 401, "Invalid API key");
    } else if (request->route->body == HTTP_BODY_STREAMED) {
        request->route->reader->begin(request);
    }
}

/* True if the answer cannot wait for the body to be read and dropped: it is long, or the client waits for a word. */
static bool is_body_unwanted(const struct http_request *request) {
    if (request->response == NULL) {
        return false;
    }
    const char *length = http_header(request, "Content-Length");
    return http_header(request, "Expect") != NULL || http_header(request, "Transfer-Encoding") != NULL ||
           (length != NULL && strtoull(length, NULL, 10) > DROPPED_BODY_MAX_BYTES);
}

static void buffer_body(struct http_request *request, const char *bytes, size_t length) {
    if (request->body.length + length > HTTP_JSON_BODY_MAX_BYTES) {
        buffer_free(&request->body);
        http_respond_error(request, 413, "Request body is larger than %d bytes", HTTP_JSON_BODY_MAX_BYTES);
    } else if (!buffer_append(&request->body, bytes, length)) {
        buffer_free(&request->body);
        http_respond(request, 500, NULL);
    }
}

/* Returns how much of the piece is dealt with. */
static size_t take_body(struct http_request *request, const char *bytes, size_t length) {
    if (request->response != NULL || request->is_upgrade || request->route->body == HTTP_BODY_IGNORED) {
        return length;
    }
    if (request->route->body == HTTP_BODY_JSON) {
        buffer_body(request, bytes, length);
        return length;
    }
    request->is_resume_due = false;
    size_t taken = request->route->reader->take(request, bytes, length);
    return request->response != NULL ? length : taken;
}

/* libmicrohttpd 0.9.75 (edge-triggered epoll) takes a short read to mean that nothing is left, and so misses a client's
 * end that came with its last bytes: the request would lie open for ever. A resumed connection is read again. */
static void look_for_end(struct http_request *request) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    char byte;
    if (info != NULL && recv(info->connect_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
        http_suspend(request);
        http_resume(request);
    }
}

static void handle(struct http_request *request) {
    request->is_handled = true;
    if (request->is_upgrade) {
        request->route->upgrade(request);
    } else if (request->route->body != HTTP_BODY_JSON || http_parse_json_body(request)) {
        request->route->handle(request);
    }
}

static enum MHD_Result serve(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                             const char *version, const char *upload_data, size_t *upload_data_size, void **con_cls) {
    (void)cls;
    (void)url;
    (void)version;
    struct http_request *request = *con_cls;
    if (request == NULL) {
        return MHD_NO; /* no memory for it when it began */
    }
    if (!request->is_begun) {
        request->is_begun = true;
        request->method = method;
        limit_silence(connection, 0);
        begin_handling(request);
        return is_body_unwanted(request) ? http_send(request) : MHD_YES;
    }
    if (*upload_data_size > 0) {
        size_t taken = take_body(request, upload_data, *upload_data_size);
        *upload_data_size -= taken;
        if (*upload_data_size > 0) {
            http_suspend(request);
        } else {
            look_for_end(request);
        }
        return MHD_YES;
    }
    if (request->response == NULL && !request->is_handled) {
        handle(request);
    }
    if (request->response != NULL) {
        return http_send(request);
    }
    request->is_resume_due = false;
    http_suspend(request);
    return MHD_YES;
}

/* libmicrohttpd decodes nothing: the router, the proxy and the query need what was sent. */
static size_t keep_encoded(void *cls, struct MHD_Connection *connection, char *text) {
    (void)cls;
    (void)connection;
    return strlen(text);
}

static int listen_on(const char *host, unsigned port, struct error *err) {
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr *address = (struct sockaddr *)&v4;
    socklen_t length = sizeof v4;
    if (strcmp(host, "localhost") == 0) {
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        address = (struct sockaddr *)&v6;
        length = sizeof v6;
    } else if (inet_pton(AF_INET, host, &v4.sin_addr) != 1) {
        error_set(err, ERROR_INVALID, "host `%s`: expected an IP address or localhost", host);
        return -1;
    }
    cleanup_close int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 || bind(fd, address, length) != 0 ||
        listen(fd, LISTEN_BACKLOG) != 0) {
        error_set_errno(err, ERROR_INTERNAL, "listen on %s port %u", host, port);
        return -1;
    }
    return steal_fd(&fd);
}

static void run_daemon(struct loop_watch *watch, uint32_t events) {
    (void)events;
    MHD_run(loop_owner(watch, struct http_server, watch)->daemon);
}

/* Half of the descriptors there are: shells, commands and files need some too. */
static unsigned connection_limit(void) {
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 2 * CONNECTIONS_MAX ? (unsigned)limit.rlim_cur / 2
                                                                                         : CONNECTIONS_MAX;
}

struct http_server *http_server_start(struct instance *instance, const char *host, unsigned port, struct error *err) {
    cleanup_close int listener = host != NULL ? listen_on(host, port, err) : -1;
    if (listener < 0 && host != NULL) {
        return NULL;
    }
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE;
    flags |= host == NULL ? MHD_USE_NO_LISTEN_SOCKET : 0;
    struct http_server *server = calloc(1, sizeof *server);
    if (server == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    server->instance = instance;
    server->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, serve, server, MHD_OPTION_URI_LOG_CALLBACK, begin_request, server,
                         MHD_OPTION_NOTIFY_COMPLETED, end_request, server, MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded,
                         NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_CONNECTION_TIMEOUT, SILENCE_MAX_SECONDS,
                         MHD_OPTION_CONNECTION_LIMIT, connection_limit(),
                         listener >= 0 ? MHD_OPTION_LISTEN_SOCKET : MHD_OPTION_END, listener, MHD_OPTION_END);
    if (server->daemon == NULL) {
        error_set_errno(err, ERROR_INTERNAL, "start the HTTP server");
        free(server);
        return NULL;
    }
    steal_fd(&listener); /* the daemon's now */
    server->watch.fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    server->watch.ready = run_daemon;
    if (!loop_watch_set(instance->loop, &server->watch, EPOLLIN)) {
        error_set_errno(err, ERROR_INTERNAL, "watch the HTTP server");
        http_server_stop(server);
        return NULL;
    }
    return server;
}

bool http_server_adopt(struct http_server *server, int fd) {
    static const struct sockaddr nobody = {.sa_family = AF_UNIX};
    if (MHD_add_connection(server->daemon, fd, &nobody, sizeof nobody) != MHD_YES) {
        return false;
    }
    http_server_run_soon(server);
    return true;
}

void http_server_stop(struct http_server *server) {
    if (server == NULL) {
        return;
    }
    loop_watch_remove(server->instance->loop, &server->watch);
    /* libmicrohttpd does not stop while it has suspended connections. */
    for (struct http_request *request = server->requests; request != NULL; request = request->next) {
        http_respond_error(request, 503, "The instance is stopping");
    }
    MHD_stop_daemon(server->daemon);
    free(server);
}

void http_server_run_soon(struct http_server *server) {
    server->is_run_due = true;
}

/* Runs libmicrohttpd once at most, also when it has more to do at once (a big download to a fast client): shells and
 * commands have their turn in between. */
int http_server_work(struct http_server *server) {
    if (server->is_run_due) {
        server->is_run_due = false; /* before: what runs may resume another one */
        MHD_run(server->daemon);
    }
    MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
    if (!server->is_run_due && MHD_get_timeout(server->daemon, &timeout_ms) != MHD_YES) {
        return -1;
    }
    server->is_run_due = timeout_ms == 0;
    return timeout_ms > 60000 ? 60000 : (int)timeout_ms;
}
