/* silence.h - an instance runs and does not answer: for how long is that borne?
 *
 * A refused connection is the end: nobody listens any more. Silence is not: a machine without memory makes everybody on
 * it silent for a while, a network loses packets, and a kill would cost the user what runs there. A silent instance is
 * asked on, until it answers or UNRESPONSIVE_MS have passed. What counts is the time that probes
 * have waited, not the clock's: if it was we who stood still, the instance's time begins when we go on. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_SILENCE_H
#define TERMINALS_PROVISIONER_BACKENDS_SILENCE_H

#include <stdbool.h>

#include "common/error.h"

#define UNRESPONSIVE_MS  60000
#define SILENCE_CHECK_MS 2000 /* for a check's probe: somebody waits */
#define SILENCE_WATCH_MS 5000 /* for each probe after that */

/* SILENCE_BORNE: to be asked on. SILENCE_TOO_LONG: it is at its end. */
enum silence { SILENCE_NONE, SILENCE_BORNE, SILENCE_TOO_LONG };

/* What a probe of a ready instance has said; `err` and `is_refused` are health_probe_done's. *silent_ms is for how long
 * probes before it have waited in vain, 0 where the last one was answered, and is brought up to date: the probe had
 * SILENCE_CHECK_MS then, else SILENCE_WATCH_MS. A probe that could not be made (ERROR_CAPACITY) says nothing. `name` is
 * for the log, which says when a silence begins and ends. */
enum silence silence_after(int *silent_ms, const struct error *err, bool is_refused, const char *name);

#endif
