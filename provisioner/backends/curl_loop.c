#include "provisioner/backends/curl_loop.h"

#include <stdlib.h>
#include <utlist.h>

struct curl_loop {
    struct event_base *base;
    struct curl_loop_callbacks callbacks;
    CURLM *multi;
    struct event *timer;
    struct curl_watch *watches;
    bool is_curl_ready;
};

/* A socket of libcurl's. */
struct curl_watch {
    struct event *event;
    struct curl_watch *prev, *next;
};

/* libcurl's own callbacks must not call libcurl: what they were told is passed on from here. */
static void deliver(struct curl_loop *loop) {
    int left;
    CURLMsg *message;
    loop->callbacks.progressed(loop->callbacks.argument);
    while ((message = curl_multi_info_read(loop->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            loop->callbacks.ended(loop->callbacks.argument, message->easy_handle, message->data.result);
        }
    }
}

static void on_socket(evutil_socket_t fd, short what, void *argument) {
    struct curl_loop *loop = argument;
    int running;
    int events = ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) | ((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0);
    curl_multi_socket_action(loop->multi, fd, events, &running);
    deliver(loop);
}

static void on_timer(evutil_socket_t fd, short what, void *argument) {
    struct curl_loop *loop = argument;
    int running;
    (void)fd;
    (void)what;
    curl_multi_socket_action(loop->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    deliver(loop);
}

static int set_timer(CURLM *multi, long timeout_ms, void *argument) {
    struct curl_loop *loop = argument;
    (void)multi;
    if (timeout_ms < 0) {
        return evtimer_del(loop->timer);
    }
    const struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    return evtimer_add(loop->timer, &timeout);
}

static void watch_free(struct curl_loop *loop, struct curl_watch *watch) {
    DL_DELETE(loop->watches, watch);
    event_free(watch->event);
    free(watch);
}

static int set_socket(CURL *easy, curl_socket_t socket, int what, void *argument, void *socket_argument) {
    struct curl_loop *loop = argument;
    struct curl_watch *watch = socket_argument;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL) {
            curl_multi_assign(loop->multi, socket, NULL);
            watch_free(loop, watch);
        }
        return 0;
    }
    short events = (short)(((what & CURL_POLL_IN) != 0 ? EV_READ : 0) | ((what & CURL_POLL_OUT) != 0 ? EV_WRITE : 0));
    if (watch == NULL) {
        watch = calloc(1, sizeof *watch);
        if (watch == NULL) {
            return -1;
        }
        watch->event = event_new(loop->base, socket, events | EV_PERSIST, on_socket, loop);
        if (watch->event == NULL) {
            free(watch);
            return -1;
        }
        DL_APPEND(loop->watches, watch);
        curl_multi_assign(loop->multi, socket, watch);
    } else {
        event_del(watch->event);
        event_assign(watch->event, loop->base, socket, events | EV_PERSIST, on_socket, loop);
    }
    return event_add(watch->event, NULL);
}

void curl_loop_limit_connections(struct curl_loop *loop, long most) {
    curl_multi_setopt(loop->multi, CURLMOPT_MAX_HOST_CONNECTIONS, most);
}

bool curl_loop_add(struct curl_loop *loop, CURL *easy) {
    return curl_multi_add_handle(loop->multi, easy) == CURLM_OK;
}

void curl_loop_remove(struct curl_loop *loop, CURL *easy) {
    curl_multi_remove_handle(loop->multi, easy);
}

struct curl_loop *curl_loop_open(struct event_base *base, const struct curl_loop_callbacks *callbacks) {
    struct curl_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return NULL;
    }
    loop->base = base;
    loop->callbacks = *callbacks;
    loop->is_curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    loop->multi = loop->is_curl_ready ? curl_multi_init() : NULL;
    loop->timer = evtimer_new(base, on_timer, loop);
    if (loop->multi == NULL || loop->timer == NULL) {
        curl_loop_close(loop);
        return NULL;
    }
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
    curl_multi_setopt(loop->multi, CURLMOPT_SOCKETDATA, loop);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(loop->multi, CURLMOPT_TIMERDATA, loop);
    return loop;
}

void curl_loop_close(struct curl_loop *loop) {
    if (loop == NULL) {
        return;
    }
    if (loop->multi != NULL) {
        curl_multi_cleanup(loop->multi);
    }
    while (loop->watches != NULL) {
        watch_free(loop, loop->watches);
    }
    if (loop->timer != NULL) {
        event_free(loop->timer);
    }
    if (loop->is_curl_ready) {
        curl_global_cleanup();
    }
    free(loop);
}
