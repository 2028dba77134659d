/* resets.h - emptying the folders of those whose policy says so, when it is time.
 *
 * A reset is due for a tenant when a time of its policy's schedule has come that is later than the tenant itself and
 * than the last due time done with for it; several that were missed are one. It stops the instance, active or not;
 * then moves the folder to the trash under the mark `reset-<tenant id>-<due time>`, which is one rename; then writes
 * down that this due time is done with, together with the audit row; then removes the trash. Killed before the rename,
 * nothing has happened, and the successor does it all. Killed after it, the mark says what was done, and the successor
 * writes that down before it touches any trash. */
#ifndef TERMINALS_PROVISIONER_RESETS_H
#define TERMINALS_PROVISIONER_RESETS_H

#include "provisioner/provisioner.h"

/* What could not be done is tried again after this time: each try may stop an active instance. */
#define RESETS_RETRY_MS (60 * 60 * 1000)

struct resets_result {
    size_t reset; /* folders emptied, or found not to be there */
    size_t failed;
};

typedef void resets_done(void *argument, const struct resets_result *result);

/* Does what is due, or joins those who do it already, and calls `done` when it is recorded (what was in the folders may
 * still be on its way out then), or after TERMINALS_IDLE_CLEANUP_TIMEOUT_SECONDS with what was done by then. */
void resets_run(struct provisioner *provisioner, resets_done *done, void *argument);

/* At the start, with the tenants there and before any trash is emptied: reads which resets are done with, and writes
 * down what a predecessor had moved and was killed before it could. */
bool resets_load(struct provisioner *provisioner, struct error *err);

/* Whether a folder of the trash is called as resets call theirs. */
bool resets_is_mark(const char *mark);

/* At the end, when nobody reports to it any more. */
void resets_free(struct provisioner *provisioner);

#endif
