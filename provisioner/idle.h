/* idle.h - stopping what nobody uses, without ever failing a request.
 *
 * One sweep: ask HAProxy who is active; take the routes of the idle ones away; wait until HAProxy holds none of them
 * and the gate has had time to report; ask again; stop those that are still idle, and give the others their route back.
 * A request that comes in between is a resolve, and calls the drain off. */
#ifndef TERMINALS_PROVISIONER_IDLE_H
#define TERMINALS_PROVISIONER_IDLE_H

#include "provisioner/provisioner.h"

struct sweep_result {
    size_t checked; /* instances that ran */
    size_t stopped;
    size_t kept;
};

/* The gate reports at most once a second (docs/internals.md); a little more than that. */
#define IDLE_GATE_REPORT_MS 1200

/* Runs a sweep, or joins the one under way, and calls `done` at its end. `err` is NULL unless no sweep could be made:
 * then nothing was stopped. */
void idle_sweep(struct provisioner *provisioner,
                void (*done)(void *argument, const struct sweep_result *result, const struct error *err),
                void *argument);

/* At the end: gives up a sweep under way. */
void idle_free(struct provisioner *provisioner);

#endif
