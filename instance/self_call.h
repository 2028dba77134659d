/* self_call.h - a request of the instance to itself, over a socket pair and through its own HTTP server, so that a tool
 * does exactly what the call over the network does. One loop, not thread-safe. */
#ifndef TERMINALS_INSTANCE_SELF_CALL_H
#define TERMINALS_INSTANCE_SELF_CALL_H

#include "common/buffer.h"
#include "instance/instance.h"

#define SELF_CALL_ANSWER_MAX_BYTES (32 * 1024 * 1024)

struct self_call;

struct self_call_answer {
    int status;            /* 0: there is none, and the body says why */
    char content_type[96]; /* "" if none was sent */
    struct buffer body;
};

/* Starts "METHOD target" with a JSON body, or none when `json` is NULL. `done` is called exactly once, later, and may
 * take the body; after it the call is gone. NULL: no memory or no descriptors, and `done` is not called. */
struct self_call *self_call_start(struct instance *instance, const char *method, const char *target, const char *json,
                                  void (*done)(void *state, struct self_call_answer *answer), void *state);

/* Hangs up; `done` is not called. */
void self_call_cancel(struct self_call *call);

#endif
