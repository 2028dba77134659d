/* gate.h - the gate as a whole: what its connections share, its listeners, its end. One event loop, one thread. */
#ifndef TERMINALS_GATE_GATE_H
#define TERMINALS_GATE_GATE_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>

#include "common/error.h"
#include "common/settings.h"
#include "gate/activity.h"
#include "gate/limits.h"
#include "gate/pipe_pool.h"
#include "gate/provisioner_client.h"

struct connection;

/* Which socket a connection came in on, and so whom it must ask. */
enum gate_door {
    DOOR_MAIN,    /* gate.sock: the authorizer decides */
    DOOR_RECOVER, /* gate-recover.sock: HAProxy has decided already */
    DOOR_COUNT,
};

struct gate_listener {
    struct gate *gate;
    enum gate_door door;
    int fd; /* -1: closed */
    struct event event;
    struct event pause; /* ends a pause after a failed accept */
};

struct gate {
    struct event_base *base;
    const struct settings *settings;
    struct gate_limits limits;
    char *authorizer_path;
    struct provisioner_client *provisioner;
    struct activity *activity;
    struct pipe_pool *pipes;
    struct connection *connections; /* all that are open (utlist) */
    struct gate_listener listeners[DOOR_COUNT];
    struct event shutdown_timer;
    bool is_stopping;
};

/* A gate that listens nowhere yet. Its sockets are those of settings->run_dir; `settings` and `base` must outlive it.
 * NULL with *err. */
struct gate *gate_new(struct event_base *base, const struct settings *settings, const struct gate_limits *limits,
                      struct error *err);

/* Opens both listeners (common/unix_listener.h). */
bool gate_listen(struct gate *gate, struct error *err);

/* Accepts no more, ends what is idle, lets exchanges under way finish for a moment, then leaves the loop. */
void gate_stop(struct gate *gate);

/* To be called when a connection has gone: a stopping gate ends with the last exchange. */
void gate_connection_gone(struct gate *gate);

/* Ends every connection at once. NULL is fine. */
void gate_free(struct gate *gate);

#endif
