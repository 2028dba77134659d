#include "provisioner/serve.h"

#include <event2/event.h>
#include <signal.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/unix_listener.h"
#include "provisioner/follower.h"
#include "provisioner/ipc_server.h"
#include "provisioner/leader.h"
#include "provisioner/node.h"
#include "provisioner/operations.h"
#include "provisioner/provisioner.h"
#include "provisioner/run_folder.h"

struct life {
    const struct settings *settings;
    const struct backend_operations *operations;
    struct event_base *base;
    struct ipc_server *server;       /* of a node */
    struct node *node;               /* NULL: alone */
    struct provisioner *provisioner; /* NULL: follows */
    struct event *sigterm;
    struct event *sigint;
    bool is_over; /* a signal came */
};

static void on_sigterm(evutil_socket_t signal_number, short what, void *argument) {
    (void)signal_number;
    (void)what;
    struct life *life = argument;
    life->is_over = true;
    if (life->provisioner != NULL && life->provisioner->is_shutting_down) {
        return; /* it is stopping the instances, which takes a bounded time */
    }
    log_info(NULL, "terminated: instances are left running");
    event_base_loopbreak(life->base);
}

static void on_sigint(evutil_socket_t signal_number, short what, void *argument) {
    (void)signal_number;
    (void)what;
    struct life *life = argument;
    life->is_over = true;
    if (life->provisioner == NULL || node_has_others(life->node)) {
        log_info(NULL, "interrupted: instances are left to the other nodes");
        event_base_loopbreak(life->base);
        return;
    }
    if (!life->provisioner->is_shutting_down) {
        log_info(NULL, "interrupted: all instances are being stopped");
    }
    provisioner_stop_all(life->provisioner);
}

/* From here on a signal is heard by the loop when it runs next; one that comes before ends us as if we had been killed.
 */
static bool watch_signals(struct life *life, struct error *err) {
    life->sigterm = evsignal_new(life->base, SIGTERM, on_sigterm, life);
    life->sigint = evsignal_new(life->base, SIGINT, on_sigint, life);
    return (life->sigterm != NULL && life->sigint != NULL && event_add(life->sigterm, NULL) == 0 &&
            event_add(life->sigint, NULL) == 0) ||
           error_set(err, ERROR_INTERNAL, "watch the signals");
}

static void unwatch_signals(struct life *life) {
    if (life->sigterm != NULL) {
        event_free(life->sigterm);
    }
    if (life->sigint != NULL) {
        event_free(life->sigint);
    }
}

static bool run(struct life *life, struct error *err) {
    return event_base_dispatch(life->base) >= 0 || error_set(err, ERROR_INTERNAL, "run the event loop");
}

static bool serve_alone(struct life *life, struct error *err) {
    struct provisioner provisioner;
    bool ok = provisioner_open(&provisioner, life->settings, life->operations, life->base, NULL, err);
    if (ok) {
        log_info(NULL, "ready: backend %s, run folder `%s`", life->operations->name, life->settings->run_dir);
        life->provisioner = &provisioner;
        ok = watch_signals(life, err) && run(life, err);
        life->provisioner = NULL;
    }
    provisioner_close(&provisioner);
    return ok;
}

/* --- as a node ---------------------------------------------------------------------------------------------------- */

/* `waiting` (may be NULL) is what was asked while it followed. */
static bool lead(struct life *life, struct node_calls *waiting, struct error *err) {
    struct provisioner provisioner;
    bool ok = provisioner_open(&provisioner, life->settings, life->operations, life->base, life->node, err);
    if (ok) {
        log_info(NULL, "ready: leads, backend %s, run folder `%s`", life->operations->name, life->settings->run_dir);
        life->provisioner = &provisioner;
        ipc_server_set_handler(life->server, operations_handle, &provisioner);
        leader_begin(&provisioner);
        if (waiting != NULL) {
            node_calls_hand_over(waiting, operations_handle, &provisioner);
        }
    }
    node_calls_close(waiting);
    ok = ok && run(life, err);
    life->provisioner = NULL;
    leader_end(&provisioner);
    ipc_server_drop_peers(life->server); /* they ask again, whoever leads then */
    provisioner_close(&provisioner);
    if (!node_leads(life->node)) {
        node_follow(life->node);
    }
    return ok;
}

static bool follow(struct life *life, struct node_calls **waiting, struct error *err) {
    struct follower *follower = follower_open(life->settings, life->operations, life->base, life->node, err);
    if (follower == NULL) {
        return false;
    }
    log_info(NULL, "ready: follows, run folder `%s`", life->settings->run_dir);
    bool ok = run(life, err);
    if (follower_problem(follower) != NULL) {
        *err = *follower_problem(follower);
        ok = false;
    }
    *waiting = ok && !life->is_over ? follower_take_calls(follower) : NULL;
    if (*waiting == NULL) {
        ipc_server_drop_peers(life->server);
    }
    follower_close(follower);
    return ok;
}

/* Until there is a role; nothing is read from the socket before the loop runs. */
static void handle_none(void *argument, struct ipc_call *call, struct json_object *request) {
    (void)argument;
    (void)request;
    ipc_call_fail(call, &(struct error){.code = ERROR_CAPACITY, .message = "Terminals is starting"});
}

static bool open_node(struct life *life, struct error *err) {
    cleanup_buffer struct buffer path = {0};
    if (!buffer_append_format(&path, "%s/provisioner.sock", life->settings->run_dir)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    int listener = unix_listener_open("provisioner", path.data, err);
    life->server = listener < 0 ? NULL : ipc_server_open(listener, life->base, handle_none, NULL, err);
    life->node =
        life->server == NULL ? NULL : node_open(life->settings, life->operations, life->base, life->server, err);
    return life->node != NULL;
}

static bool serve_as_node(struct life *life, struct error *err) {
    struct node_calls *waiting = NULL;
    /* Between two roles, too: a node that has just been elected has a lease that the others would wait for. */
    bool ok = open_node(life, err) && watch_signals(life, err);
    while (ok && !life->is_over) {
        if (node_leads(life->node)) {
            ok = lead(life, waiting, err);
            waiting = NULL;
            if (ok && !life->is_over && life->operations->is_bound_to_node) {
                ok = error_set(err, ERROR_CAPACITY, "another provisioner has taken the database");
            }
        } else {
            ok = follow(life, &waiting, err);
        }
    }
    node_calls_close(waiting);
    node_close(life->node);
    ipc_server_close(life->server);
    return ok;
}

/* With timers as fine as they are set. libevent's usual ones go by a clock that ticks every 4 ms
 * (CLOCK_MONOTONIC_COARSE with HZ=250): of an instance that is asked every millisecond whether it is ready, each start
 * would wait half of that for nothing. */
static struct event_base *make_base(void) {
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0) {
        base = event_base_new_with_config(config);
    }
    if (config != NULL) {
        event_config_free(config);
    }
    return base;
}

bool serve(const struct settings *settings, const struct backend_operations *operations, struct error *err) {
    cleanup_close int lock = run_folder_lock(settings->run_dir, err);
    if (lock < 0) {
        return false;
    }
    struct life life = {.settings = settings, .operations = operations, .base = make_base()};
    if (life.base == NULL) {
        return error_set(err, ERROR_INTERNAL, "open the event loop");
    }
    bool ok = strncmp(settings->database_url, "postgres", strlen("postgres")) == 0 ? serve_as_node(&life, err)
                                                                                   : serve_alone(&life, err);
    unwatch_signals(&life);
    /* What a bufferevent has put off keeps it from its end, which the base would not bring about: one more round does.
     */
    event_base_loop(life.base, EVLOOP_NONBLOCK);
    event_base_free(life.base);
    return ok;
}
