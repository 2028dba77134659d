#include "provisioner/stats_history.h"

#include <event2/event.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "provisioner/census.h"
#include "provisioner/haproxy_stat.h"
#include "provisioner/memory.h"

#define UNKNOWN (-1)

/* What happened since the one before, and how it was then. */
struct sample {
    int64_t at_ms;
    struct census census;
    int64_t requests; /* UNKNOWN: HAProxy could not be asked, now or ever before */
    int64_t cold_starts;
    int64_t failures;
    int64_t p50_ms; /* UNKNOWN: there was no start */
    int64_t p95_ms;
    int64_t memory_bytes;
};

struct stats_history {
    struct provisioner *provisioner;
    struct event *timer;
    bool is_asking;
    int64_t requests_before; /* HAProxy's count, which begins anew with each of its processes; UNKNOWN: none yet */
    int64_t succeeded_before;
    int64_t failed_before;
    struct sample samples[STATS_HISTORY_SAMPLES_MAX]; /* a ring */
    size_t next;
    size_t kept;
};

static int64_t requests_since(struct stats_history *history, int64_t count) {
    int64_t before = history->requests_before;
    if (count == UNKNOWN) {
        return UNKNOWN;
    }
    history->requests_before = count;
    if (before == UNKNOWN) {
        return UNKNOWN;
    }
    return count < before ? count : count - before;
}

static void keep(struct stats_history *history, int64_t requests) {
    struct provisioner *provisioner = history->provisioner;
    const struct stats *stats = &provisioner->stats;
    struct sample *sample = &history->samples[history->next];
    size_t starts = (size_t)(stats->starts_succeeded - history->succeeded_before);
    *sample = (struct sample){
        .at_ms = clock_unix_ms(),
        .requests = requests_since(history, requests),
        .cold_starts = (int64_t)starts,
        .failures = stats->starts_failed - history->failed_before,
        .p50_ms = stats_percentile_of_last(stats, starts, 50),
        .p95_ms = stats_percentile_of_last(stats, starts, 95),
        .memory_bytes = memory_of_processes(provisioner),
    };
    census_take(provisioner, &sample->census);
    history->succeeded_before = stats->starts_succeeded;
    history->failed_before = stats->starts_failed;
    history->next = (history->next + 1) % STATS_HISTORY_SAMPLES_MAX;
    if (history->kept < STATS_HISTORY_SAMPLES_MAX) {
        history->kept++;
    }
}

static void on_haproxy_stat(void *argument, const char *answer) {
    struct stats_history *history = argument;
    history->is_asking = false;
    keep(history, answer == NULL ? UNKNOWN : haproxy_stat_requests(answer));
}

void stats_history_take(struct stats_history *history) {
    if (history->is_asking) {
        return;
    }
    history->is_asking = true;
    if (haproxy_runtime_is_up(history->provisioner->haproxy)) {
        haproxy_runtime_command(history->provisioner->haproxy, HAPROXY_STAT_COMMAND, on_haproxy_stat, history);
    } else {
        on_haproxy_stat(history, NULL);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    stats_history_take(argument);
}

struct stats_history *stats_history_open(struct provisioner *provisioner, struct error *err) {
    const struct timeval interval = {.tv_sec = STATS_HISTORY_INTERVAL_SECONDS};
    struct stats_history *history = calloc(1, sizeof *history);
    if (history != NULL) {
        history->provisioner = provisioner;
        history->requests_before = UNKNOWN;
        history->timer = event_new(provisioner->base, -1, EV_PERSIST, on_timer, history);
    }
    if (history == NULL || history->timer == NULL || event_add(history->timer, &interval) < 0) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        stats_history_close(history);
        return NULL;
    }
    stats_history_take(history);
    return history;
}

void stats_history_close(struct stats_history *history) {
    if (history != NULL && history->timer != NULL) {
        event_free(history->timer);
    }
    free(history);
}

static bool add_number_or_null(struct json_object *object, const char *name, int64_t number) {
    return number == UNKNOWN ? json_add_string(object, name, NULL) : json_add_int(object, name, number);
}

static struct json_object *sample_json(const struct sample *sample) {
    char at[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(sample->at_ms, at);
    cleanup_json struct json_object *by_status = json_object_new_object();
    cleanup_json struct json_object *object = json_object_new_object();
    bool ok = by_status != NULL && object != NULL && census_add_to(&sample->census, by_status) &&
              json_add_string(object, "at", at) && json_add(object, "by_status", json_object_get(by_status)) &&
              add_number_or_null(object, "requests", sample->requests) &&
              json_add_int(object, "cold_starts", sample->cold_starts) &&
              json_add_int(object, "failures", sample->failures) &&
              add_number_or_null(object, "p50_ms", sample->p50_ms) &&
              add_number_or_null(object, "p95_ms", sample->p95_ms) &&
              json_add_int(object, "memory_bytes", sample->memory_bytes);
    return ok ? steal_pointer(&object) : NULL;
}

struct json_object *stats_history_json(const struct stats_history *history) {
    cleanup_json struct json_object *samples = json_object_new_array();
    cleanup_json struct json_object *object = json_object_new_object();
    size_t oldest = history->next + STATS_HISTORY_SAMPLES_MAX - history->kept;
    bool ok = samples != NULL && object != NULL;
    for (size_t i = 0; ok && i < history->kept; i++) {
        struct json_object *sample = sample_json(&history->samples[(oldest + i) % STATS_HISTORY_SAMPLES_MAX]);
        ok = sample != NULL && json_object_array_add(samples, sample) == 0;
        if (!ok) {
            json_object_put(sample);
        }
    }
    ok = ok && json_add_int(object, "interval_seconds", STATS_HISTORY_INTERVAL_SECONDS) &&
         json_add(object, "samples", json_object_get(samples));
    return ok ? steal_pointer(&object) : NULL;
}
