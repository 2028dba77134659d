#include "instance/self_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "instance/http1.h"
#include "instance/http_server.h"
#include "instance/loop.h"

#define READ_BYTES (16 * 1024)

struct self_call {
    struct instance *instance;
    struct loop_watch watch;
    struct buffer out; /* holds the key: wiped when it is sent */
    size_t sent;
    struct buffer in;
    bool has_head;
    struct http1_body framing;
    struct self_call_answer answer;
    void (*done)(void *state, struct self_call_answer *answer);
    void *state;
};

static void forget_request(struct self_call *call) {
    if (call->out.data != NULL) {
        explicit_bzero(call->out.data, call->out.length);
    }
    buffer_free(&call->out);
}

void self_call_cancel(struct self_call *call) {
    loop_watch_remove(call->instance->loop, &call->watch);
    close(call->watch.fd);
    forget_request(call);
    buffer_free(&call->in);
    buffer_free(&call->answer.body);
    free(call);
}

static void finish(struct self_call *call, const char *problem) {
    if (problem != NULL) {
        call->answer.status = 0;
        buffer_free(&call->answer.body);
        buffer_append_string(&call->answer.body, problem);
    }
    call->done(call->state, &call->answer);
    self_call_cancel(call);
}

static void take_field(void *state, const char *name, const char *value) {
    struct self_call *call = state;
    if (strcasecmp(name, "Content-Type") == 0) {
        strncpy(call->answer.content_type, value, sizeof call->answer.content_type - 1);
    }
}

/* "HTTP/1.1 100 Continue" is never sent: we do not expect it. */
static bool take_head(struct self_call *call) {
    size_t length = http1_find_head_end(call->in.data, call->in.length);
    struct http1_head head;
    if (length == 0) {
        return true;
    }
    if (!http1_parse_head(call->in.data, length, false, &head, take_field, call)) {
        return false;
    }
    buffer_consume(&call->in, length);
    call->has_head = true;
    call->answer.status = head.status;
    call->framing = (struct http1_body){.framing = head.framing, .left = head.length};
    call->framing.is_complete = head.framing == HTTP1_LENGTH && head.length == 0;
    return true;
}

static bool take_body(struct self_call *call) {
    size_t used = 1;
    while (call->in.length > 0 && used > 0 && !call->framing.is_complete) {
        char *room = buffer_reserve(&call->answer.body, READ_BYTES);
        ptrdiff_t length =
            room != NULL ? http1_read_body(&call->framing, call->in.data, call->in.length, &used, room, READ_BYTES)
                         : -1;
        if (length < 0) {
            return false;
        }
        call->answer.body.length += (size_t)length;
        buffer_consume(&call->in, used);
    }
    return true;
}

static void read_answer(struct self_call *call) {
    char *room = buffer_reserve(&call->in, READ_BYTES);
    ssize_t length = room != NULL ? recv(call->watch.fd, room, READ_BYTES, 0) : 0;
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    call->in.length += length > 0 ? (size_t)length : 0;
    bool is_good = length > 0 && (call->has_head || take_head(call)) && (!call->has_head || take_body(call));
    if (!is_good) {
        finish(call, "The call was not answered");
    } else if (call->answer.body.length > SELF_CALL_ANSWER_MAX_BYTES) {
        finish(call, "The answer is larger than a tool can give");
    } else if (call->has_head && call->framing.is_complete) {
        finish(call, NULL);
    }
}

static void on_ready(struct loop_watch *watch, uint32_t events) {
    struct self_call *call = loop_owner(watch, struct self_call, watch);
    while (call->sent < call->out.length) {
        ssize_t length = send(watch->fd, call->out.data + call->sent, call->out.length - call->sent, MSG_NOSIGNAL);
        if (length < 0 && errno != EINTR) {
            break; /* EAGAIN, or it does not want our body: its answer may still be there to read */
        }
        call->sent += length > 0 ? (size_t)length : 0;
    }
    if (call->sent == call->out.length && call->out.data != NULL) {
        forget_request(call);
        call->sent = 0;
        loop_watch_set(call->instance->loop, watch, EPOLLIN);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        read_answer(call);
    }
}

struct self_call *self_call_start(struct instance *instance, const char *method, const char *target, const char *json,
                                  void (*done)(void *state, struct self_call_answer *answer), void *state) {
    struct self_call *call = calloc(1, sizeof *call);
    int ends[2];
    if (call == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
        free(call);
        return NULL;
    }
    *call = (struct self_call){
        .instance = instance, .watch = {.fd = ends[0], .ready = on_ready}, .done = done, .state = state};
    buffer_append_format(&call->out, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, target);
    if (instance->api_key != NULL) {
        buffer_append_format(&call->out, "Authorization: Bearer %s\r\n", instance->api_key);
    }
    if (json != NULL) {
        buffer_append_format(&call->out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(json));
    }
    buffer_append_string(&call->out, "\r\n");
    buffer_append_string(&call->out, json != NULL ? json : "");
    bool is_adopted = !call->out.failed && http_server_adopt(instance->server, ends[1]);
    if (!is_adopted || !loop_watch_set(instance->loop, &call->watch, EPOLLIN | EPOLLOUT)) {
        if (!is_adopted) {
            close(ends[1]);
        }
        self_call_cancel(call);
        return NULL;
    }
    return call;
}
