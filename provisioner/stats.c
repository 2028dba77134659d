#include "provisioner/stats.h"

#include <stdlib.h>
#include <string.h>

#define MILLISECONDS_IN_S 1000.0

void stats_start_succeeded(struct stats *stats, int64_t duration_ms) {
    histogram_observe(&stats->cold_starts, &histogram_bounds_of_starts, (double)duration_ms / MILLISECONDS_IN_S);
    stats->starts_succeeded++;
    stats->durations_ms[stats->next] = duration_ms;
    stats->next = (stats->next + 1) % STATS_COLD_STARTS_KEPT;
    if (stats->kept < STATS_COLD_STARTS_KEPT) {
        stats->kept++;
    }
}

void stats_start_failed(struct stats *stats, enum error_code cause) {
    stats->starts_failed++;
    stats->failures[cause]++;
}

void stats_warm_start_succeeded(struct stats *stats, int64_t duration_ms) {
    histogram_observe(&stats->warm_starts, &histogram_bounds_of_starts, (double)duration_ms / MILLISECONDS_IN_S);
}

enum stats_action stats_action_of(const char *action) {
    static const char *const names[STATS_OTHER_ACTION] = {
        [STATS_IDLE_CLEANUP] = "idle_cleanup",   [STATS_LIFETIME_CLEANUP] = "lifetime_cleanup",
        [STATS_QUOTA_CLEANUP] = "quota_cleanup", [STATS_SCHEDULED_RESET] = "scheduled_reset",
        [STATS_TENANT_RESET] = "tenant_reset",   [STATS_AUTH_FAILED] = "auth_failed",
    };
    int found = 0;
    while (found < STATS_OTHER_ACTION && strcmp(names[found], action) != 0) {
        found++;
    }
    return (enum stats_action)found;
}

static int compare(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

int64_t stats_percentile_of_last(const struct stats *stats, size_t count, int percent) {
    count = count < stats->kept ? count : stats->kept;
    if (count == 0) {
        return -1;
    }
    int64_t sorted[STATS_COLD_STARTS_KEPT];
    for (size_t i = 0; i < count; i++) {
        sorted[i] = stats->durations_ms[(stats->next + STATS_COLD_STARTS_KEPT - 1 - i) % STATS_COLD_STARTS_KEPT];
    }
    qsort(sorted, count, sizeof sorted[0], compare);
    size_t rank = (count * (size_t)percent + 99) / 100;
    return sorted[rank == 0 ? 0 : rank - 1];
}

int64_t stats_percentile(const struct stats *stats, int percent) {
    return stats_percentile_of_last(stats, STATS_COLD_STARTS_KEPT, percent);
}

struct json_object *stats_cold_starts_json(const struct stats *stats) {
    static const struct {
        const char *name;
        int percent;
    } percentiles[] = {{"p50_ms", 50}, {"p95_ms", 95}, {"p99_ms", 99}};
    cleanup_json struct json_object *object = json_object_new_object();
    bool ok = object != NULL && json_add_int(object, "total", stats->starts_succeeded + stats->starts_failed) &&
              json_add_int(object, "succeeded", stats->starts_succeeded) &&
              json_add_int(object, "failed", stats->starts_failed);
    for (size_t i = 0; ok && i < sizeof percentiles / sizeof percentiles[0]; i++) {
        int64_t value = stats_percentile(stats, percentiles[i].percent);
        ok = value < 0 ? json_add_string(object, percentiles[i].name, NULL)
                       : json_add_int(object, percentiles[i].name, value);
    }
    struct json_object *result = ok ? object : NULL;
    if (ok) {
        object = NULL;
    }
    return result;
}
