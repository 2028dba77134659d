#include "gate/provisioner_client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define HASH_NONFATAL_OOM 1 /* uthash would exit() */
#include <uthash.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/ipc.h"
#include "common/log.h"
#include "gate/endpoint.h"

#define RETRY_FIRST_MS 10
#define RETRY_MAX_MS   500
#define TOLD_MAX       1000 /* messages without a reader that may wait */
#define SENT_MAX       5    /* how often a call is sent before it is suspected to be what kills its reader */
#define UNSENT_MAX     (4 * 1024 * 1024) /* a provisioner that does not read gets no more than this of the rest */

struct provisioner_call {
    int64_t id;
    struct json_object *request;
    provisioner_callback *callback; /* NULL: nobody waits for the answer */
    void *context;
    int64_t waits_since_ms; /* for the provisioner; meaningful while it is away */
    int sent_count;
    struct provisioner_client *client;
    UT_hash_handle hh;
};

struct provisioner_client {
    struct event_base *base;
    struct sockaddr_un address;
    struct endpoint endpoint;
    provisioner_greeting *greeting;
    void *greeting_context;
    struct event timer; /* the next attempt to connect, and calls that have waited long enough */
    bool is_heard;      /* it has said something over this connection */
    int retry_ms;
    int away_ms;
    int64_t next_id;
    struct buffer input;
    struct buffer output;
    struct provisioner_call *calls; /* by id, oldest first: uthash keeps the order of insertion */
    size_t told_count;
};

static void call_free(struct provisioner_call *call) {
    struct provisioner_client *client = call->client;
    HASH_DEL(client->calls, call);
    client->told_count -= call->callback == NULL;
    json_object_put(call->request);
    free(call);
}

/* Frees the call before it calls back, so that the callback may do what it likes. */
static void call_finish(struct provisioner_call *call, struct json_object *answer, const struct error *err) {
    provisioner_callback *callback = call->callback;
    void *context = call->context;
    call_free(call);
    if (callback != NULL) {
        callback(context, answer, err);
    }
}

void provisioner_call_cancel(struct provisioner_call *call) {
    if (call != NULL) {
        call_free(call);
    }
}

static void set_timer(struct provisioner_client *client, int delay_ms) {
    struct timeval delay = {.tv_sec = delay_ms / 1000, .tv_usec = delay_ms % 1000 * 1000};
    evtimer_add(&client->timer, &delay);
}

bool provisioner_client_is_connected(const struct provisioner_client *client) {
    return client->endpoint.fd >= 0;
}

static void disconnect(struct provisioner_client *client, const char *why) {
    log_warning(NULL, "lost terminals-provisioner: %s", why);
    endpoint_close(&client->endpoint);
    buffer_free(&client->input);
    buffer_free(&client->output);
    int64_t now = clock_monotonic_ms();
    for (struct provisioner_call *call = client->calls; call != NULL && client->is_heard; call = call->hh.next) {
        call->waits_since_ms = now;
    }
    client->is_heard = false;
    client->retry_ms = RETRY_FIRST_MS;
    set_timer(client, client->retry_ms);
}

/* Sends what fits. False when the connection is lost. */
static bool flush(struct provisioner_client *client) {
    while (client->output.length > 0 && client->endpoint.writable) {
        ssize_t sent = endpoint_send(&client->endpoint, client->output.data, client->output.length);
        if (sent < 0) {
            disconnect(client, "it closed the connection");
            return false;
        }
        buffer_consume(&client->output, (size_t)sent);
    }
    return true;
}

static bool enqueue(struct provisioner_client *client, struct provisioner_call *call) {
    call->sent_count++;
    return ipc_append_message(&client->output, call->request);
}

static void take_answer(struct provisioner_client *client, struct json_object *answer) {
    int64_t id = json_get_int(answer, "id", 0);
    struct provisioner_call *call = NULL;
    client->is_heard = true;
    HASH_FIND(hh, client->calls, &id, sizeof id, call);
    if (call == NULL) {
        return; /* its client went away meanwhile, or nobody wanted to know */
    }
    struct error err = {0};
    bool is_ok = ipc_answer_ok(answer, &err);
    if (!is_ok && call->callback == NULL) {
        log_warning(NULL, "terminals-provisioner refused a message: %s", err.message);
    }
    call_finish(call, is_ok ? answer : NULL, &err);
}

static void read_answers(struct provisioner_client *client) {
    while (client->endpoint.fd >= 0 && client->endpoint.readable) {
        char *room = buffer_reserve(&client->input, 4096);
        ssize_t received = room == NULL ? ENDPOINT_FAILED : endpoint_receive(&client->endpoint, room, 4096, 0);
        if (received == ENDPOINT_NOTHING) {
            return;
        }
        if (received < 0) {
            disconnect(client, room == NULL ? "out of memory" : "it closed the connection");
            return;
        }
        client->input.length += (size_t)received;
        struct error err = {0};
        cleanup_json struct json_object *answer = NULL;
        int taken;
        while ((taken = ipc_take_message(&client->input, IPC_LINE_MAX_BYTES, &answer, &err)) == 1) {
            take_answer(client, answer);
            json_object_put(answer);
            answer = NULL;
        }
        if (taken < 0) {
            disconnect(client, err.message);
        }
    }
}

static void on_endpoint(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    struct provisioner_client *client = context;
    endpoint_note(&client->endpoint, what);
    if (flush(client)) {
        read_answers(client);
    }
}

static bool try_to_connect(struct provisioner_client *client) {
    cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&client->address, sizeof client->address) != 0 ||
        !endpoint_open(&client->endpoint, client->base, steal_fd(&fd), on_endpoint, client)) {
        return false;
    }
    log_info(NULL, "connected to terminals-provisioner");
    return true;
}

/* Every call that waits, in the order they were made. One that was sent too often is given up: if it is what breaks
 * the provisioner, it must not break it for everybody for ever. */
static void send_all(struct provisioner_client *client) {
    struct provisioner_call *call;
    struct provisioner_call *next;
    HASH_ITER(hh, client->calls, call, next) {
        if (call->sent_count >= SENT_MAX) {
            struct error err;
            error_set(&err, ERROR_BACKEND, "The provisioner failed repeatedly on this request");
            call_finish(call, NULL, &err);
        } else if (!enqueue(client, call)) {
            disconnect(client, "out of memory");
            return;
        }
    }
}

static void expire(struct provisioner_client *client) {
    int64_t now = clock_monotonic_ms();
    struct provisioner_call *call;
    struct provisioner_call *next;
    HASH_ITER(hh, client->calls, call, next) {
        if (call->callback != NULL && now - call->waits_since_ms >= client->away_ms) {
            struct error err;
            error_set(&err, ERROR_CAPACITY, "The provisioner is not available at the moment");
            call_finish(call, NULL, &err);
        }
    }
}

/* That we are connected says nothing: who supervises the provisioner holds its socket, and may have nobody to listen
 * there. So it is away until it has answered once, and a call waits no longer than if nobody held the socket. */
static void wait_to_be_heard(struct provisioner_client *client) {
    set_timer(client, client->away_ms < RETRY_MAX_MS ? client->away_ms : RETRY_MAX_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *context) {
    (void)fd;
    (void)what;
    struct provisioner_client *client = context;
    if (provisioner_client_is_connected(client)) {
        if (!client->is_heard) {
            expire(client);
            wait_to_be_heard(client);
        }
        return;
    }
    if (try_to_connect(client)) {
        provisioner_client_tell(client, client->greeting(client->greeting_context), false);
        wait_to_be_heard(client);
        send_all(client);
        return;
    }
    expire(client);
    client->retry_ms = client->retry_ms * 2 < RETRY_MAX_MS ? client->retry_ms * 2 : RETRY_MAX_MS;
    set_timer(client, client->retry_ms);
}

static struct json_object *ping(void *context) {
    (void)context;
    return ipc_request("ping");
}

void provisioner_client_greet_with(struct provisioner_client *client, provisioner_greeting *greeting, void *context) {
    client->greeting = greeting;
    client->greeting_context = context;
}

struct provisioner_client *provisioner_client_new(struct event_base *base, const char *socket_path, int away_ms,
                                                  struct error *err) {
    struct provisioner_client *client = calloc(1, sizeof *client);
    if (client == NULL || strlen(socket_path) >= sizeof client->address.sun_path) {
        error_set(err, client == NULL ? ERROR_INTERNAL : ERROR_INVALID,
                  client == NULL ? "out of memory" : "the path of the provisioner's socket is too long");
        free(client);
        return NULL;
    }
    client->base = base;
    client->greeting = ping;
    client->away_ms = away_ms;
    client->endpoint = ENDPOINT_CLOSED;
    client->retry_ms = RETRY_FIRST_MS;
    client->address.sun_family = AF_UNIX;
    memcpy(client->address.sun_path, socket_path, strlen(socket_path)); /* NOLINT: calloc() left the NUL */
    evtimer_assign(&client->timer, base, on_timer, client);
    set_timer(client, 0);
    return client;
}

void provisioner_client_free(struct provisioner_client *client) {
    if (client == NULL) {
        return;
    }
    struct provisioner_call *call;
    struct provisioner_call *next;
    HASH_ITER(hh, client->calls, call, next) {
        call_free(call);
    }
    evtimer_del(&client->timer);
    endpoint_close(&client->endpoint);
    buffer_free(&client->input);
    buffer_free(&client->output);
    free(client);
}

struct provisioner_call *provisioner_call_start(struct provisioner_client *client, struct json_object *request,
                                                provisioner_callback *callback, void *context) {
    struct provisioner_call *call = request == NULL ? NULL : calloc(1, sizeof *call);
    if (call == NULL || !json_add_int(request, "id", client->next_id + 1)) {
        json_object_put(request);
        free(call);
        return NULL;
    }
    call->id = ++client->next_id;
    call->request = request;
    call->callback = callback;
    call->context = context;
    call->client = client;
    call->waits_since_ms = clock_monotonic_ms();
    HASH_ADD(hh, client->calls, id, sizeof call->id, call);
    if (call->hh.tbl == NULL) {
        json_object_put(request);
        free(call);
        return NULL;
    }
    client->told_count += callback == NULL;
    if (provisioner_client_is_connected(client)) {
        if (enqueue(client, call)) {
            endpoint_wake(&client->endpoint); /* sent from the loop: nothing calls back from here */
        } else {
            call_free(call);
            return NULL;
        }
    }
    return call;
}

void provisioner_client_tell(struct provisioner_client *client, struct json_object *message, bool must_arrive) {
    bool is_dropped = must_arrive ? client->told_count >= TOLD_MAX
                                  : !provisioner_client_is_connected(client) || client->output.length > UNSENT_MAX;
    if (is_dropped) {
        if (must_arrive) {
            log_warning(NULL, "too many messages wait for terminals-provisioner: one is dropped");
        }
        json_object_put(message);
    } else if (must_arrive) {
        provisioner_call_start(client, message, NULL, NULL);
    } else if (message != NULL && json_add_int(message, "id", ++client->next_id) &&
               ipc_append_message(&client->output, message)) {
        endpoint_wake(&client->endpoint);
        json_object_put(message);
    } else {
        json_object_put(message);
    }
}
