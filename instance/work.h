/* work.h - takes something slow (a big file, a deep tree) off the loop's thread and comes back to it with the result.
 */
#ifndef TERMINALS_INSTANCE_WORK_H
#define TERMINALS_INSTANCE_WORK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "instance/http.h"

/* Embedded as the first member in what the work needs and finds out. */
struct work {
    void (*run)(struct work *work);     /* on a thread of its own: touches nothing but its own object */
    void (*respond)(struct work *work); /* on the loop's thread, if the request is still there: answers it */
    void (*release)(struct work *work); /* on the loop's thread, once, when both the work and the request are over */
    struct http_request *request;
    atomic_bool is_abandoned; /* the client went away: `run` may look at it and stop early */
    struct work_thread *thread;
};

/* Does the work for `request`, whose state it becomes (http_set_state): on a thread of its own if it may take long,
 * else (or when no thread can be had) here and now. */
void work_do(struct http_request *request, struct work *work, bool may_take_long);

/* Releases what is done, when the instance stops: the requests are over by then. What still runs is left alone: it ends
 * with the process. */
void work_release_done(struct instance *instance);

#endif
