#include "cli/health.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ASK_AGAIN_MS   25
#define ANSWER_SECONDS 5

/* Who is asked, in this order, and how a good answer begins ('?' is any character). */
static const struct question {
    const char *text;
    const char *good;
} questions[] = {
    {"{\"id\":1,\"op\":\"ping\"}\n", "{"},
    {"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "HTTP/1.? 200"},
};

#define QUESTIONS (sizeof questions / sizeof questions[0])

struct health {
    struct event_base *base;
    struct event *timer;
    struct bufferevent *connection; /* NULL between two questions */
    struct sockaddr_un peers[QUESTIONS];
    size_t current; /* the question that is not answered yet */
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

static void ask_in(struct health *health, int pause_ms) {
    const struct timeval pause = {.tv_usec = pause_ms * 1000};
    hang_up(health);
    event_add(health->timer, &pause);
}

static bool begins_like(const char *text, const char *pattern, size_t length) {
    for (size_t i = 0; i < length; i++) {
        if (pattern[i] != '?' && pattern[i] != text[i]) {
            return false;
        }
    }
    return true;
}

static void on_answer(struct bufferevent *connection, void *argument) {
    struct health *health = argument;
    const char *good = questions[health->current].good;
    char begin[64];
    size_t wanted = strlen(good);
    if (evbuffer_copyout(bufferevent_get_input(connection), begin, wanted) < (ev_ssize_t)wanted) {
        return; /* more will come, or the end */
    }
    if (!begins_like(begin, good, wanted)) {
        ask_in(health, ASK_AGAIN_MS);
    } else if (++health->current < QUESTIONS) {
        ask_in(health, 0);
    } else {
        hang_up(health);
        health->ready(health->argument);
    }
}

static void on_event(struct bufferevent *connection, short events, void *argument) {
    struct health *health = argument;
    const char *text = questions[health->current].text;
    if ((events & BEV_EVENT_CONNECTED) == 0 || bufferevent_write(connection, text, strlen(text)) != 0) {
        ask_in(health, ASK_AGAIN_MS);
    }
}

static void ask(evutil_socket_t fd, short events, void *argument) {
    (void)fd;
    (void)events;
    struct health *health = argument;
    const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    health->connection = bufferevent_socket_new(health->base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (health->connection == NULL) {
        ask_in(health, ASK_AGAIN_MS);
        return;
    }
    bufferevent_setcb(health->connection, on_answer, NULL, on_event, health);
    bufferevent_set_timeouts(health->connection, &patience, &patience);
    bufferevent_enable(health->connection, EV_READ | EV_WRITE);
    /* Of a failure on_event() is told, or, where not even a socket could be had, we see it here. */
    if (bufferevent_socket_connect(health->connection, (struct sockaddr *)&health->peers[health->current],
                                   sizeof health->peers[health->current]) != 0) {
        ask_in(health, ASK_AGAIN_MS);
    }
}

static bool find_peer(struct health *health, size_t question, const char *run_dir, const char *socket_name,
                      struct error *err) {
    struct sockaddr_un *peer = &health->peers[question];
    *peer = (struct sockaddr_un){.sun_family = AF_UNIX};
    int written = snprintf(peer->sun_path, sizeof peer->sun_path, "%s/%s", run_dir, socket_name);
    return (written > 0 && (size_t)written < sizeof peer->sun_path) ||
           error_set(err, ERROR_INVALID, "TERMINALS_RUN_DIR `%s` is too long", run_dir);
}

struct health *health_watch(struct event_base *base, const struct settings *settings, void (*ready)(void *argument),
                            void *argument, struct error *err) {
    struct health *health = calloc(1, sizeof *health);
    if (health == NULL) {
        error_set(err, ERROR_INTERNAL, "no memory");
        return NULL;
    }
    *health = (struct health){.base = base, .ready = ready, .argument = argument};
    health->timer = evtimer_new(base, ask, health);
    if (health->timer == NULL) {
        error_set(err, ERROR_INTERNAL, "no memory");
        health_free(health);
        return NULL;
    }
    /* HAProxy by its own socket, which speaks no TLS and is open exactly when its port is. */
    if (!find_peer(health, 0, settings->run_dir, "provisioner.sock", err) ||
        !find_peer(health, 1, settings->run_dir, "haproxy-local.sock", err)) {
        health_free(health);
        return NULL;
    }
    ask_in(health, 0);
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
    free(health);
}
