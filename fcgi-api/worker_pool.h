/* worker_pool.h - threads that answer FastCGI requests from one listening socket, one request a connection (libfcgi).
 *
 * Connections wait in the socket's backlog until a thread is free, where they outlive this process. A peer that sends
 * or reads nothing for 5 s is dropped, so that it cannot keep a thread. A request may be put aside (token_waiter.h); it
 * then keeps its connection, and no thread. */
#ifndef TERMINALS_FCGI_API_WORKER_POOL_H
#define TERMINALS_FCGI_API_WORKER_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "fcgi-api/answer.h"
#include "fcgi-api/api.h"
#include "fcgi-api/request.h"

struct worker_pool;

/* Answers one request; called from many threads at once, each with a provisioner of its own. */
typedef void worker_answer(const struct api *api, const struct provisioner *provisioner, struct request *request,
                           struct answer *answer);

struct worker_pool_options {
    const char *name; /* of the socket, for the log */
    int listener;     /* borrowed; becomes non-blocking */
    int stop_fd;      /* borrowed; readable: accept nothing more */
    size_t threads;
    size_t put_aside_max; /* requests that may wait at a time */
    worker_answer *answer;
    const struct api *api;
    const char *provisioner_path;
};

/* Starts all threads. NULL with *err. The process must have called FCGX_Init(). */
struct worker_pool *worker_pool_start(const struct worker_pool_options *options, struct error *err);

/* Waits, until `deadline_ms` (clock_monotonic_ms()), for the threads to end after stop_fd became readable, and frees
 * the pool if they all did; else returns false and leaves it as it is: the process is to end. Nothing may
 * resume a request any more; those that were resumed and found no thread are dropped. */
bool worker_pool_join(struct worker_pool *pool, int64_t deadline_ms);

#endif
