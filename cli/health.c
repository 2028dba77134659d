#include "cli/health.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ASK_AGAIN_MS      25
#define ANSWER_SECONDS    5
#define STATUS_LINE_BYTES 12 /* "HTTP/1.1 200" */

struct health {
    struct event_base *base;
    struct event *timer;
    struct bufferevent *connection; /* NULL between two questions */
    struct addrinfo *address;
    void (*ready)(void *argument);
    void *argument;
};

const char *health_reachable_host(const struct settings *settings) {
    if (strcmp(settings->host, "0.0.0.0") == 0 || strcmp(settings->host, "*") == 0) {
        return "127.0.0.1";
    }
    return strcmp(settings->host, "::") == 0 ? "::1" : settings->host;
}

static void hang_up(struct health *health) {
    if (health->connection != NULL) {
        bufferevent_free(health->connection);
        health->connection = NULL;
    }
}

static void ask_again(struct health *health) {
    const struct timeval pause = {.tv_usec = ASK_AGAIN_MS * 1000};
    hang_up(health);
    event_add(health->timer, &pause);
}

static void on_answer(struct bufferevent *connection, void *argument) {
    struct health *health = argument;
    char line[STATUS_LINE_BYTES];
    struct evbuffer *input = bufferevent_get_input(connection);
    if (evbuffer_copyout(input, line, sizeof line) < STATUS_LINE_BYTES) {
        return;
    }
    if (memcmp(line, "HTTP/1.", 7) == 0 && memcmp(line + 8, " 200", 4) == 0) {
        hang_up(health);
        health->ready(health->argument);
    } else {
        ask_again(health);
    }
}

static void on_event(struct bufferevent *connection, short events, void *argument) {
    static const char question[] = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    if ((events & BEV_EVENT_CONNECTED) == 0 || bufferevent_write(connection, question, sizeof question - 1) != 0) {
        ask_again(argument);
    }
}

static void ask(evutil_socket_t fd, short events, void *argument) {
    (void)fd;
    (void)events;
    struct health *health = argument;
    const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    health->connection = bufferevent_socket_new(health->base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (health->connection == NULL) {
        ask_again(health);
        return;
    }
    bufferevent_setcb(health->connection, on_answer, NULL, on_event, health);
    bufferevent_set_timeouts(health->connection, &patience, &patience);
    bufferevent_enable(health->connection, EV_READ | EV_WRITE);
    /* A failure is told to on_event(), maybe before this returns. */
    bufferevent_socket_connect(health->connection, health->address->ai_addr, (int)health->address->ai_addrlen);
}

struct health *health_watch(struct event_base *base, const struct settings *settings, void (*ready)(void *argument),
                            void *argument, struct error *err) {
    struct health *health = calloc(1, sizeof *health);
    if (health == NULL) {
        error_set(err, ERROR_INTERNAL, "no memory");
        return NULL;
    }
    char port[16];
    snprintf(port, sizeof port, "%d", (int)settings->port);
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int status = getaddrinfo(health_reachable_host(settings), port, &hints, &health->address);
    *health = (struct health){.base = base,
                              .timer = evtimer_new(base, ask, health),
                              .address = status == 0 ? health->address : NULL,
                              .ready = ready,
                              .argument = argument};
    if (health->address == NULL || health->timer == NULL) {
        error_set(err, ERROR_INVALID, "find the address of TERMINALS_HOST `%s`", settings->host);
        health_free(health);
        return NULL;
    }
    ask_again(health);
    return health;
}

void health_free(struct health *health) {
    if (health == NULL) {
        return;
    }
    hang_up(health);
    if (health->timer != NULL) {
        event_free(health->timer);
    }
    if (health->address != NULL) {
        freeaddrinfo(health->address);
    }
    free(health);
}
