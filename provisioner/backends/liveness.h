/* liveness.h - whether an instance that was ready still answers, and for how long it is borne if not. One thread only.
 *
 * A refused connection is the end: nobody listens any more. Silence is not: a machine without memory makes everybody on
 * it silent for a while, a network loses packets, and a kill would cost the user what runs there. A silent instance is
 * asked on, until it answers or UNRESPONSIVE_MS have passed. What counts is the time that probes have
 * waited, not the clock's: if it was we who stood still, the instance's time begins when we go on. A probe that could
 * not be made (ERROR_CAPACITY) says nothing. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_LIVENESS_H
#define TERMINALS_PROVISIONER_BACKENDS_LIVENESS_H

#include <stdbool.h>

#include "provisioner/health_probe.h"

#define UNRESPONSIVE_MS 60000

/* What differs between the backends. */
struct liveness_kind {
    /* Asks the instance, by health_probe_start(). */
    struct health_probe *(*probe)(const void *instance, int timeout_ms, health_probe_done *done, void *argument);
    /* Nobody listens there, or it has been silent for too long: ends it, which tells those who wait, and may forget it
     * there and then. */
    void (*end)(void *instance);
    const char *(*name)(const void *instance); /* for the log, which says when a silence begins and ends */
};

/* Part of an instance, zero but for the first two. */
struct liveness {
    const struct liveness_kind *kind;
    void *instance;
    struct health_probe *probe;   /* under way, or NULL */
    int silent_ms;                /* for so long probes have waited in vain since it answered last */
    struct waiting_check *checks; /* a list: who waits to be told whether it answers */
};

/* Only while the instance is ready. What backend.h says of check(). */
void liveness_check(struct liveness *liveness, void (*checked)(void *argument, bool alive), void *argument);

/* It runs, but has been silent for so long. Goes on asking until it answers, or ends it after UNRESPONSIVE_MS. Only
 * while the instance is ready, or about to be. */
void liveness_watch(struct liveness *liveness, int silent_ms);

/* Tells all who wait, each once. They wait no more by then: from inside the call somebody may check again, or forget
 * the instance. */
void liveness_answer(struct liveness *liveness, bool alive);

/* Asks no more. Who waits goes on waiting. */
void liveness_cancel(struct liveness *liveness);

/* Asks no more, and forgets who waits without telling them. */
void liveness_drop(struct liveness *liveness);

#endif
