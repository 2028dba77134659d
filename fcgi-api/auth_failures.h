/* auth_failures.h - tells the audit log of refused credentials without ever delaying a request.
 *
 * A flood of bad tokens must not become a flood of audit rows: the first failure of an address is told at once, what
 * follows of the same kind is counted and told as one every 10 s. At most 64 addresses are kept apart at a time; what
 * goes beyond is counted together. And however many addresses there are, and for however long: AUTH_FAILURES_BURST
 * rows, then one every AUTH_FAILURES_REFILL_MS (8,640 a day), the longest-waiting first; what waits is counted
 * meanwhile. What the provisioner cannot take, as while it restarts, is told again for a minute. Failures are for the
 * audit log only: losing some when the process ends harms no state. Thread-safe. */
#ifndef TERMINALS_FCGI_API_AUTH_FAILURES_H
#define TERMINALS_FCGI_API_AUTH_FAILURES_H

#include "fcgi-api/api.h"
#include "fcgi-api/request.h"

#define AUTH_FAILURES_BURST     200
#define AUTH_FAILURES_REFILL_MS 10000

struct auth_failures;

/* NULL: no memory. */
struct auth_failures *auth_failures_new(void);
void auth_failures_free(struct auth_failures *failures);

/* Notes that `request` was refused with `err`. Never blocks; NULL `failures` is fine. */
void auth_failures_add(struct auth_failures *failures, const struct request *request, const struct error *err);

/* Sends, with `provisioner`, what is due and what comes, until auth_failures_stop(). Runs in a thread of its own. */
void auth_failures_run(struct auth_failures *failures, const struct provisioner *provisioner);
void auth_failures_stop(struct auth_failures *failures);

#endif
