#include "provisioner/haproxy_exchange.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/cleanup.h"

struct haproxy_exchange {
    struct bufferevent *connection;
    haproxy_exchange_done *done;
    void *argument;
};

void haproxy_exchange_cancel(struct haproxy_exchange *exchange) {
    if (exchange != NULL) {
        bufferevent_free(exchange->connection);
        free(exchange);
    }
}

/* Frees everything first, so that `done` may start the next exchange or free what owns this one. */
static void finish(struct haproxy_exchange *exchange, const char *answer) {
    haproxy_exchange_done *done = exchange->done;
    void *argument = exchange->argument;
    haproxy_exchange_cancel(exchange);
    done(argument, answer);
}

/* The connection has ended. An empty answer is no answer: HAProxy says at least a line feed to every command. */
static void on_event(struct bufferevent *connection, short what, void *argument) {
    struct haproxy_exchange *exchange = argument;
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        return;
    }
    struct evbuffer *input = bufferevent_get_input(connection);
    size_t length = evbuffer_get_length(input);
    cleanup_free char *answer = (what & BEV_EVENT_EOF) != 0 && length > 0 ? malloc(length + 1) : NULL;
    if (answer != NULL) {
        evbuffer_remove(input, answer, length);
        answer[length] = '\0';
    }
    finish(exchange, answer);
}

/* The command is out. The end of our side makes the master close what it has handed on to a worker (`@!pid …`) when
 * that has answered; it would wait for another command instead. */
static void on_written(struct bufferevent *connection, void *argument) {
    (void)argument;
    if (shutdown(bufferevent_getfd(connection), SHUT_WR) != 0) {
        errno = 0; /* it is gone already, which on_event() hears of */
    }
}

static bool write_command(struct bufferevent *connection, const char *command) {
    struct evbuffer *output = bufferevent_get_output(connection);
    return evbuffer_add(output, command, strlen(command)) == 0 && evbuffer_add(output, "\n", 1) == 0;
}

struct haproxy_exchange *haproxy_exchange_start(struct event_base *base, const char *socket_path, const char *command,
                                                haproxy_exchange_done *done, void *argument) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(socket_path) >= sizeof address.sun_path) {
        return NULL;
    }
    strcpy(address.sun_path, socket_path);
    struct haproxy_exchange *exchange = calloc(1, sizeof *exchange);
    if (exchange == NULL) {
        return NULL;
    }
    exchange->done = done;
    exchange->argument = argument;
    exchange->connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (exchange->connection == NULL) {
        free(exchange);
        return NULL;
    }
    const struct timeval silence = {HAPROXY_SILENCE_MAX_MS / 1000, HAPROXY_SILENCE_MAX_MS % 1000 * 1000};
    bufferevent_setcb(exchange->connection, NULL, on_written, on_event, exchange);
    bufferevent_set_timeouts(exchange->connection, &silence, &silence);
    bufferevent_enable(exchange->connection, EV_READ);
    if (!write_command(exchange->connection, command) ||
        bufferevent_socket_connect(exchange->connection, (struct sockaddr *)&address, sizeof address) != 0) {
        haproxy_exchange_cancel(exchange);
        return NULL;
    }
    return exchange;
}
