/* stats.h - how many starts there were and how long they took. */
#ifndef TERMINALS_PROVISIONER_STATS_H
#define TERMINALS_PROVISIONER_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "common/json.h"

#define STATS_COLD_STARTS_KEPT 1000

struct stats {
    int64_t starts_succeeded;
    int64_t starts_failed;
    int64_t warm_hits;                            /* starts that a warm instance served */
    int64_t warm_misses;                          /* starts of policies that keep some warm, when none was ready */
    int64_t durations_ms[STATS_COLD_STARTS_KEPT]; /* a ring: the last ones that succeeded */
    size_t next;
    size_t kept;
};

void stats_start_succeeded(struct stats *stats, int64_t duration_ms);
void stats_start_failed(struct stats *stats);

/* The smallest duration that `percent` of those kept do not exceed (nearest rank); -1 if there are none. */
int64_t stats_percentile(const struct stats *stats, int percent);

/* The same of the last `count` only. */
int64_t stats_percentile_of_last(const struct stats *stats, size_t count, int percent);

/* {"total", "succeeded", "failed", "p50_ms", "p95_ms", "p99_ms"}; the last three null without a start. NULL: no
 * memory. */
struct json_object *stats_cold_starts_json(const struct stats *stats);

#endif
