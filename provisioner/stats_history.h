/* stats_history.h - how things were in the last 24 hours: a sample a minute, in a ring, in memory only. */
#ifndef TERMINALS_PROVISIONER_STATS_HISTORY_H
#define TERMINALS_PROVISIONER_STATS_HISTORY_H

#include "common/json.h"
#include "provisioner/provisioner.h"

#define STATS_HISTORY_INTERVAL_SECONDS 60
#define STATS_HISTORY_SAMPLES_MAX      (24 * 60)

/* Takes the first sample at once. NULL with *err. */
struct stats_history *stats_history_open(struct provisioner *provisioner, struct error *err);
void stats_history_close(struct stats_history *history); /* NULL is fine */

/* Takes one: as soon as HAProxy has said how many requests there were. */
void stats_history_take(struct stats_history *history);

/* {"interval_seconds", "samples"}, the oldest first (docs/api.md). NULL: no memory. */
struct json_object *stats_history_json(const struct stats_history *history);

#endif
