#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/text.h"
#include "gate/answer.h"
#include "gate/connection.h"
#include "gate/fcgi_codec.h"
#include "gate/user_limit.h"

#define NOT_REACHABLE        "Terminal instance not reachable"
#define USER_AGENT_MAX_BYTES 512

static bool add_span(struct json_object *object, const char *name, struct span value) {
    if (value.bytes == NULL) {
        return true;
    }
    cleanup_free char *text = strndup(value.bytes, value.length);
    if (text == NULL) {
        return false;
    }
    text_make_utf8(text); /* header values may hold any bytes, JSON only UTF-8 */
    return json_add_string(object, name, text);
}

static struct span at_most(struct span span, size_t length) {
    span.length = span.length < length ? span.length : length;
    return span;
}

/* "GET /path" for the access log, never with the query, which may hold a token. */
static bool note_log_line(struct connection *connection) {
    const struct http_head *head = &connection->request->head;
    struct span rest = head->target;
    struct span path = {0};
    if (!connection->gate->settings->access_log) {
        return true;
    }
    span_take(&rest, '?', &path);
    return asprintf(&connection->log_line, "%.*s %.*s", (int)head->method.length, head->method.bytes, (int)path.length,
                    path.bytes) >= 0;
}

bool routing_note_client(struct connection *connection) {
    const struct http_head *head = &connection->request->head;
    struct span request_id = http_head_value(head, "X-Request-Id");
    connection->actor = json_object_new_object();
    connection->request_id = strndup(request_id.bytes != NULL ? request_id.bytes : "", request_id.length);
    return connection->actor != NULL && connection->request_id != NULL &&
           add_span(connection->actor, "request_id", request_id) &&
           add_span(connection->actor, "ip", http_head_value(head, "X-Terminals-Client")) &&
           add_span(connection->actor, "user_agent",
                    at_most(http_head_value(head, "User-Agent"), USER_AGENT_MAX_BYTES)) &&
           note_log_line(connection);
}

/* Every header of the name becomes a parameter: the authorizer must see that one came twice. */
static void append_headers(struct buffer *params, const struct http_head *head, const char *header,
                           const char *parameter) {
    for (size_t i = 0; i < head->header_count; i++) {
        if (span_equals_ignoring_case(head->headers[i].name, header)) {
            fcgi_append_param(params, parameter, head->headers[i].value.bytes, head->headers[i].value.length);
        }
    }
}

static bool append_params(struct buffer *params, const struct connection *connection) {
    static const struct {
        const char *header;
        const char *parameter;
    } passed[] = {
        {"Authorization", "HTTP_AUTHORIZATION"},
        {"X-User-Id", "HTTP_X_USER_ID"},
        {"X-Terminal-Context-Id", "HTTP_X_TERMINAL_CONTEXT_ID"},
        {"User-Agent", "HTTP_USER_AGENT"},
        {"X-Terminals-Policy", "TERMINALS_POLICY"},
        {"X-Terminals-Client", "TERMINALS_CLIENT"},
        {"X-Request-Id", "TERMINALS_REQUEST_ID"},
    };
    const struct http_head *head = &connection->request->head;
    fcgi_append_param(params, "REQUEST_METHOD", head->method.bytes, head->method.length);
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        append_headers(params, head, passed[i].header, passed[i].parameter);
    }
    if (connection->terminal != NULL) {
        return terminal_append_params(params, connection);
    }
    return fcgi_append_param(params, "REQUEST_URI", head->target.bytes, head->target.length) && !params->failed;
}

/* The key goes into a head, so it must not be able to end a line there. */
static bool is_header_value(const char *text) {
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text >= 0x7f) {
            return false;
        }
    }
    return true;
}

static char *copy_or_empty(const char *text) {
    return strdup(text != NULL ? text : "");
}

/* Remembers where the provisioner sends us. */
static bool take_destination(struct connection *connection, struct json_object *answer, struct error *err) {
    const char *address = json_get_string(answer, "address");
    const char *key = json_get_string(answer, "key");
    const char *route_key = json_get_string(answer, "route_key");
    int64_t port = json_get_int(answer, "port", 0);
    if (address == NULL || port < 1 || port > 65535 || (key != NULL && !is_header_value(key)) || route_key == NULL ||
        strlen(route_key) != DIGEST_HEX_LENGTH) {
        return error_set(err, ERROR_BACKEND, "The provisioner's answer makes no sense");
    }
    free(connection->address);
    free(connection->instance_id);
    secret_free(connection->instance_key);
    connection->address = strdup(address);
    connection->instance_id = copy_or_empty(json_get_string(answer, "instance_id"));
    connection->instance_key = copy_or_empty(key);
    connection->port = (int)port;
    memcpy(connection->route_key, route_key, DIGEST_HEX_SIZE);
    return (connection->address != NULL && connection->instance_id != NULL && connection->instance_key != NULL) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

static void ask_provisioner(struct connection *connection, const char *op);

/* The event that brought the end of the head may have brought the client's end too, and no other event will tell. */
static void look_for_hang_up(struct connection *connection) {
    endpoint_wake(&connection->client);
}

/* Refused at this moment: the instance died since the provisioner last looked. Once it may look again; a terminal's
 * sessions died with it, so there is nothing to look for. */
static void connect_failed(struct connection *connection, const char *why) {
    endpoint_close(&connection->instance);
    evtimer_del(&connection->timer);
    log_info(connection->request_id, "connect to instance %s: %s", connection->instance_id, why);
    if (connection->terminal == NULL && !connection->was_recovered) {
        connection->was_recovered = true;
        ask_provisioner(connection, "recover");
    } else {
        connection_fail(connection, ERROR_BACKEND, NOT_REACHABLE);
    }
}

static void connected(struct connection *connection) {
    evtimer_del(&connection->timer);
    if (connection->terminal != NULL) {
        terminal_connected(connection);
    } else {
        exchange_start(connection);
    }
}

void routing_connect_event(struct connection *connection) {
    int problem = 0;
    socklen_t length = sizeof problem;
    if (getsockopt(connection->instance.fd, SOL_SOCKET, SO_ERROR, &problem, &length) != 0) {
        problem = errno;
    }
    if (problem != 0) {
        char reason[128];
        connect_failed(connection, strerror_r(problem, reason, sizeof reason));
    } else if (connection->instance.writable) {
        connected(connection);
    }
}

void routing_connect_timeout(struct connection *connection) {
    log_warning(connection->request_id, "connect to instance %s: no answer", connection->instance_id);
    connection_fail(connection, ERROR_BACKEND, NOT_REACHABLE);
}

/* The address of an instance is always numeric: a name would have to be looked up, and that waits. */
static bool parse_address(const struct connection *connection, struct sockaddr_storage *address, socklen_t *length) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, connection->address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)connection->port);
        *length = sizeof *v4;
        return true;
    }
    if (inet_pton(AF_INET6, connection->address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)connection->port);
        *length = sizeof *v6;
        return true;
    }
    return false;
}

/* A node that dies or is cut off ends no connection: a silent shell would stay open for a day (tcp(7)). */
static void notice_when_it_vanishes(int fd) {
    const int on = 1;
    const int idle_s = 60;
    const int interval_s = 15;
    const int count = 4;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static void connect_to_instance(struct connection *connection) {
    struct sockaddr_storage address;
    socklen_t length = 0;
    if (!parse_address(connection, &address, &length)) {
        connection_fail(connection, ERROR_BACKEND, NOT_REACHABLE);
        return;
    }
    cleanup_close int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd < 0) {
        log_error(connection->request_id, "open a socket to an instance: %s", strerrorname_np(errno));
        connection_fail(connection, ERROR_CAPACITY, "Too many connections at the moment");
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* a keystroke must not wait for the one before */
    notice_when_it_vanishes(fd);
    connection->state = STATE_CONNECTING;
    if (connect(fd, (const struct sockaddr *)&address, length) != 0 && errno != EINPROGRESS) {
        char reason[128];
        connect_failed(connection, strerror_r(errno, reason, sizeof reason));
        return;
    }
    if (!endpoint_open(&connection->instance, connection->gate->base, steal_fd(&fd), connection_on_instance,
                       connection)) {
        connection_fail(connection, ERROR_INTERNAL, "The event loop takes no more connections");
        return;
    }
    connection_set_timer(connection, connection->gate->settings->proxy_connect_timeout_seconds * 1000);
}

static void on_resolved(void *context, struct json_object *answer, const struct error *err) {
    struct connection *connection = context;
    connection->call = NULL;
    evtimer_del(&connection->timer);
    struct error problem = {0};
    if (answer == NULL) {
        if (err->told[0] != '\0') {
            log_debug(connection->request_id, "%s", err->message); /* the provisioner has logged it */
        }
        connection_fail(connection, err->code, error_for_clients(err));
    } else if (!take_destination(connection, answer, &problem)) {
        connection_fail(connection, problem.code, problem.message);
    } else {
        connect_to_instance(connection);
    }
}

static bool describe(const struct connection *connection, struct json_object *request, const char *op) {
    if (!json_add(request, "actor", json_object_get(connection->actor))) {
        return false;
    }
    if (strcmp(op, "recover") == 0) {
        return json_add_string(request, "route_key", connection->route_key);
    }
    return json_add_string(request, "user_id", connection->user) &&
           json_add_string(request, "policy_id", connection->policy) &&
           json_add_string(request, "context_id", connection->context);
}

static void ask_provisioner(struct connection *connection, const char *op) {
    struct json_object *request = ipc_request(op);
    if (request == NULL || !describe(connection, request, op)) {
        json_object_put(request);
        connection_fail(connection, ERROR_INTERNAL, "out of memory");
        return;
    }
    connection->state = STATE_RESOLVING;
    connection->call = provisioner_call_start(connection->gate->provisioner, request, on_resolved, connection);
    if (connection->call == NULL) {
        connection_fail(connection, ERROR_INTERNAL, "out of memory");
        return;
    }
    if (connection->terminal != NULL) {
        /* A start has no limit here: the provisioner's own applies. Looking one up is quick or broken. */
        connection_set_timer(connection, connection->gate->limits.lookup);
    }
}

void routing_recover(struct connection *connection) {
    const struct http_head *head = &connection->request->head;
    struct span route = http_head_value(head, "X-Terminals-Route");
    if (route.length != DIGEST_HEX_LENGTH || http_head_count(head, "X-Terminals-Route") != 1) {
        connection_answer(connection, 400, "This socket is for HAProxy's recovery only");
        return;
    }
    memcpy(connection->route_key, route.bytes, DIGEST_HEX_LENGTH);
    connection->was_recovered = true;
    if (!text_is_utf8(connection->route_key)) {
        connection_answer(connection, 400, "This socket is for HAProxy's recovery only");
        return;
    }
    look_for_hang_up(connection);
    ask_provisioner(connection, "recover");
}

static void refused(struct connection *connection, const struct authorizer_answer *answer) {
    if (connection->terminal != NULL) {
        terminal_close(connection, close_code_from_authorizer_status(answer->status));
        return;
    }
    if (connection->log_line != NULL) {
        log_info(connection->request_id, "%s answered %d", connection->log_line, answer->status);
    }
    if (!answer_append_refusal(&connection->output, answer, connection->is_head_method)) {
        connection_free(connection);
        return;
    }
    connection_close(connection, connection->gate->limits.linger);
}

static bool is_body_too_large(const struct connection *connection) {
    uint64_t limit = (uint64_t)connection->gate->settings->max_body_bytes;
    const struct http_head *head = &connection->request->head;
    return limit > 0 && head->body == HTTP_BODY_LENGTH && head->content_length > limit;
}

static void on_authorized(void *context, const struct authorizer_answer *answer, const struct error *err) {
    struct connection *connection = context;
    connection->ask = NULL;
    if (answer == NULL) {
        log_warning(connection->request_id, "no authorization: %s", err->message);
        connection_fail(connection, err->code, err->message);
        return;
    }
    if (answer->status != 200) {
        refused(connection, answer);
        return;
    }
    connection->user = strdup(answer->user);
    connection->policy = strdup(answer->policy);
    connection->context = strdup(answer->context);
    if (connection->user == NULL || connection->policy == NULL || connection->context == NULL ||
        !json_add_string(connection->actor, "user_id", answer->user)) {
        connection_fail(connection, ERROR_INTERNAL, "out of memory");
    } else if (is_body_too_large(connection)) {
        connection_answer(connection, 413, "The body is larger than allowed");
    } else if (connection->terminal != NULL && !user_limit_allows(connection)) {
        terminal_close(connection, CLOSE_TOO_MANY);
    } else {
        ask_provisioner(connection, connection->terminal != NULL ? "lookup" : "resolve");
    }
}

void routing_authorize(struct connection *connection) {
    cleanup_buffer struct buffer params = {0};
    connection->state = STATE_AUTHORIZING;
    if (append_params(&params, connection)) {
        connection->ask = authorizer_ask_start(connection->gate->base, connection->gate->authorizer_path, &params,
                                               &connection->gate->limits, on_authorized, connection);
    }
    if (params.data != NULL) {
        explicit_bzero(params.data, params.capacity); /* it holds a token */
    }
    if (connection->ask == NULL) {
        connection_fail(connection, ERROR_INTERNAL, "out of memory");
        return;
    }
    look_for_hang_up(connection);
}
