/* pre_stop.h - what a policy wants run inside an instance before it is stopped, whoever stops it and why.
 *
 * It runs once, while the tenant is `stopping` already: nobody reaches the instance any more, and a start that is
 * wanted waits. It can delay only its own tenant's stop, by its time limit at most, and prevents nothing. A provisioner
 * that is killed meanwhile has a successor that stops the instance without running it again. */
#ifndef TERMINALS_PROVISIONER_PRE_STOP_H
#define TERMINALS_PROVISIONER_PRE_STOP_H

#include "provisioner/tenants.h"

struct pre_stop;

/* While all instances are being stopped at once there is not more time than this. */
#define PRE_STOP_SHUTDOWN_MS 8000

/* Runs the command of the tenant's policy; `done` is called once, later, when it has ended or its time is over, and the
 * log and the audit log know how it went. False: there is nothing to run, and `done` is not called. */
bool pre_stop_begin(struct tenant *tenant, void (*done)(struct tenant *tenant));

/* The provisioner is shutting down: one under way gets PRE_STOP_SHUTDOWN_MS from now on at most. */
void pre_stop_hurry(struct tenant *tenant);

/* At the end. */
void pre_stop_cancel(struct tenant *tenant);

#endif
