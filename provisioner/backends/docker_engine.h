/* docker_engine.h - the HTTP client of a Docker engine's API, on the event loop (libcurl's multi interface).
 *
 * Any number of calls may be under way; each is told its answer once, from the event loop and never from inside
 * docker_call_start(). A call may be cancelled, and others started, from inside such a callback. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_DOCKER_ENGINE_H
#define TERMINALS_PROVISIONER_BACKENDS_DOCKER_ENGINE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"
#include "common/json.h"

struct docker_engine;
struct docker_call;

/* `host` is `unix:///path` or `tcp://name:port`. Connects to nobody yet. NULL with *err. */
struct docker_engine *docker_engine_open(const char *host, struct event_base *base, struct error *err);

/* Cancels all calls. */
void docker_engine_close(struct docker_engine *engine);

/* From the engine's answer to GET /version: every later call speaks version 1.41 of the API if the engine does, else
 * the nearest it has. Before that 1.41 is assumed. */
void docker_engine_set_version(struct docker_engine *engine, const char *newest, const char *oldest);

/* Borrowed during the call. */
struct docker_request {
    const char *method;       /* "GET", "POST", "DELETE" */
    const char *path;         /* "/containers/json?all=1": behind the version, escaped already */
    struct json_object *body; /* NULL: none */
    int timeout_ms;           /* until the whole answer is there; 0: never, for streams */
    bool without_version;     /* the path is the whole path: GET /version */
    /* For an answer with status 200 that comes as lines (events, progress of a pull): called for each line, which ends
     * with a NUL and is the callee's to change; the answer then has no body. NULL: the answer comes whole. */
    void (*line)(void *argument, char *line, size_t length);
};

/* Borrowed during the callback. */
struct docker_answer {
    int status; /* 0: no whole answer came, and `failure` says why */
    const char *failure;
    struct json_object *json; /* the body, if it is JSON; else NULL */
    const char *body;         /* followed by a NUL; "" without one */
    size_t length;
};

typedef void docker_done(void *argument, const struct docker_answer *answer);

/* NULL: no memory. */
struct docker_call *docker_call_start(struct docker_engine *engine, const struct docker_request *request,
                                      docker_done *done, void *argument);

/* Not after `done`. NULL is fine. The engine may do what it was asked all the same. */
void docker_call_cancel(struct docker_call *call);

/* An answer as an error about `what` ("create container `x`"): ERROR_CAPACITY if the engine could not be asked, else
 * ERROR_BACKEND with the engine's own message. Returns false. */
bool docker_answer_error(const struct docker_answer *answer, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The engine's own message in an error answer, "" if it said none. */
const char *docker_answer_message(const struct docker_answer *answer);

/* `text` percent-encoded for a path or a query (RFC 3986 §2.1); the caller frees it. NULL: no memory. */
char *docker_escape(const char *text);

#endif
