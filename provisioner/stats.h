/* stats.h - what happened since the provisioner started: starts and how long they took, and rows of the audit log. */
#ifndef TERMINALS_PROVISIONER_STATS_H
#define TERMINALS_PROVISIONER_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "provisioner/histogram.h"

#define STATS_COLD_STARTS_KEPT 1000

/* Rows of the audit log by what they say; all that is in no table is the last. */
enum stats_action {
    STATS_IDLE_CLEANUP,
    STATS_LIFETIME_CLEANUP,
    STATS_QUOTA_CLEANUP,
    STATS_SCHEDULED_RESET,
    STATS_TENANT_RESET,
    STATS_AUTH_FAILED,
    STATS_OTHER_ACTION,
    STATS_ACTION_COUNT,
};

struct stats {
    int64_t failures[ERROR_CODE_COUNT]; /* of starts, by what was wrong */
    struct histogram cold_starts;       /* bounds: histogram_bounds_of_starts */
    struct histogram warm_starts;
    int64_t actions[STATS_ACTION_COUNT];
    int64_t starts_succeeded;
    int64_t starts_failed;
    int64_t warm_hits;                            /* starts that a warm instance served */
    int64_t warm_misses;                          /* starts of policies that keep some warm, when none was ready */
    int64_t durations_ms[STATS_COLD_STARTS_KEPT]; /* a ring: the last ones that succeeded */
    size_t next;
    size_t kept;
};

/* A cold start ended, well or not, or a warm instance was handed over. */
void stats_start_succeeded(struct stats *stats, int64_t duration_ms);
void stats_start_failed(struct stats *stats, enum error_code cause);
void stats_warm_start_succeeded(struct stats *stats, int64_t duration_ms);

/* Which of those counted an audit row's action is; STATS_OTHER_ACTION: none. */
enum stats_action stats_action_of(const char *action);

/* The smallest duration that `percent` of those kept do not exceed (nearest rank); -1 if there are none. */
int64_t stats_percentile(const struct stats *stats, int percent);

/* The same of the last `count` only. */
int64_t stats_percentile_of_last(const struct stats *stats, size_t count, int percent);

/* {"total", "succeeded", "failed", "p50_ms", "p95_ms", "p99_ms"}; the last three null without a start. NULL: no
 * memory. */
struct json_object *stats_cold_starts_json(const struct stats *stats);

#endif
