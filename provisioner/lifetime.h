/* lifetime.h - stopping what has run as long as its policy allows, used or not, and saying so in its shells before.
 *
 * The time counts from when the instance was ready and survives provisioners. Shells are warned through the instance
 * API's POST /execute, with a command that writes to the terminals of the instance's own interactive shells: that works
 * in ours and in the Python Open Terminal alike. */
#ifndef TERMINALS_PROVISIONER_LIFETIME_H
#define TERMINALS_PROVISIONER_LIFETIME_H

#include "provisioner/tenants.h"

#define LIFETIME_LOOK_SECONDS 2     /* how exact it is */
#define LIFETIME_WARNING_MS   60000 /* before the end; half of the lifetime, where that is less */

/* Looks at all instances once: warns, stops. */
void lifetime_look(struct provisioner *provisioner);

/* When the instance is stopped at the latest, in Unix milliseconds; 0: no limit. */
int64_t lifetime_end_ms(const struct tenant *tenant);

/* The instance has just become ready, or is a predecessor's of which nobody knows since when it runs. */
void lifetime_begin(struct tenant *tenant);

/* It does not run any more: forgets a warning under way. */
void lifetime_forget(struct tenant *tenant);

#endif
