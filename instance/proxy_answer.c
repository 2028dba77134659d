/* proxy_answer.c - what the program says, to the client. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "instance/proxy.h"

void proxy_update_watch(struct proxy *proxy) {
    uint32_t events = 0;
    if (!proxy->is_connected || proxy->out.length > 0) {
        events |= EPOLLOUT;
    }
    if (proxy->is_connected && proxy->in.length < PROXY_BUFFERED_MAX_BYTES) {
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

void proxy_fail(struct proxy *proxy, const char *reason) {
    if (!proxy->has_answered) {
        proxy->has_answered = true;
        http_respond_error(proxy->request, 502, "%s: localhost:%u", reason, proxy->port);
    }
    end_connection(proxy);
}

static ssize_t read_answer(void *state, char *out, size_t size) {
    struct proxy *proxy = state;
    size_t used = 0;
    ptrdiff_t length = http1_read_body(&proxy->body, proxy->in.data, proxy->in.length, &used, out, size);
    buffer_consume(&proxy->in, used);
    proxy_update_watch(proxy);
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
            proxy_fail(proxy, "No valid answer from");
        }
        return false;
    }
    struct http1_head head;
    bool is_head = strcmp(http_method(proxy->request), "HEAD") == 0;
    bool is_switch = proxy->is_upgrade && proxy->in.length > 11 && memcmp(proxy->in.data + 9, "101", 3) == 0;
    bool is_interim = !is_switch && proxy->in.length > 9 && proxy->in.data[9] == '1';
    if (!http1_parse_head(proxy->in.data, length, is_head, &head, is_interim ? ignore_field : pass_field, proxy)) {
        proxy_fail(proxy, "No valid answer from");
        return false;
    }
    buffer_consume(&proxy->in, length);
    if (is_interim) {
        return take_head(proxy); /* 100 Continue and the like: the real one follows */
    }
    proxy->has_answered = true;
    if (is_switch) {
        proxy_answer_upgrade(proxy);
        return true;
    }
    proxy->body = (struct http1_body){.framing = head.framing, .left = head.length};
    proxy->body.is_complete = head.framing == HTTP1_LENGTH && head.length == 0;
    http_respond_source(proxy->request, head.status, NULL,
                        head.framing == HTTP1_LENGTH ? head.length : HTTP_LENGTH_UNKNOWN, read_answer, proxy, NULL);
    return true;
}

void proxy_read_answer(struct proxy *proxy) {
    while (!proxy->has_ended && proxy->in.length < PROXY_BUFFERED_MAX_BYTES) {
        char *room = buffer_reserve(&proxy->in, PROXY_READ_BYTES);
        ssize_t length = room != NULL ? recv(proxy->watch.fd, room, PROXY_READ_BYTES, 0) : 0;
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
