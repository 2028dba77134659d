#include "provisioner/metrics.h"

#include <string.h>

#include "common/version.h"
#include "provisioner/exposition.h"
#include "provisioner/ipc_server.h"
#include "provisioner/memory.h"
#include "provisioner/policies.h"
#include "provisioner/policy_census.h"
#include "provisioner/problems.h"
#include "provisioner/siem_queue.h"
#include "provisioner/tenants.h"

#define LABELS(...) ((const struct exposition_label[]){__VA_ARGS__, {NULL, NULL}})

static void write_gauge(struct buffer *out, const char *name, const char *help, int64_t value) {
    exposition_family(out, name, "gauge", help);
    exposition_sample(out, name, NULL, value);
}

/* --- what there is ------------------------------------------------------------------------------------------------ */

static void write_policy(void *argument, const char *policy_id, const struct census *census) {
    for (int state = 0; state < INSTANCE_STATE_COUNT; state++) {
        const char *status = instance_state_name((enum instance_state)state);
        exposition_sample(argument, "terminals_instances", LABELS({"status", status}, {"policy", policy_id}),
                          census->by_status[state]);
    }
}

static int64_t count_warm(struct provisioner *provisioner) {
    int64_t ready = 0;
    TENANTS_EACH_LIVE(provisioner, tenant) {
        ready += tenant->is_warm && tenant->record.status == INSTANCE_RUNNING && tenant->taken_by == NULL;
    }
    return ready;
}

static void write_instances(struct provisioner *provisioner, struct buffer *out) {
    exposition_family(out, "terminals_build_info", "gauge", "Which Terminals this is, and on what it runs.");
    exposition_sample(out, "terminals_build_info",
                      LABELS({"version", TERMINALS_VERSION}, {"backend", provisioner->operations->name},
                             {"database", store_kind_name(provisioner->store)}),
                      1);
    exposition_family(out, "terminals_instances", "gauge",
                      "Tenants by the state of their instance and their policy; the policies with the fewest are "
                      "`other`.");
    out->failed = !policy_census_each(provisioner, write_policy, out) || out->failed;
    write_gauge(out, "terminals_warm_instances", "Instances that are kept ready for whoever comes.",
                count_warm(provisioner));
    write_gauge(out, "terminals_policies", "Policies.", (int64_t)policies_count(provisioner));
    write_gauge(out, "terminals_websockets", "Open WebSockets of shells.", ipc_server_websockets(provisioner->server));
    write_gauge(out, "terminals_resident_memory_bytes",
                "Resident memory of the processes of Terminals that the provisioner can see.",
                memory_of_processes(provisioner));
}

/* --- what happened ------------------------------------------------------------------------------------------------ */

static void write_starts(const struct provisioner *provisioner, struct buffer *out) {
    const struct stats *stats = &provisioner->stats;
    const char *backend = provisioner->operations->name;
    exposition_family(out, "terminals_starts_total", "counter", "Starts of instances that succeeded.");
    exposition_sample(out, "terminals_starts_total", LABELS({"kind", "cold"}), stats->starts_succeeded);
    exposition_sample(out, "terminals_starts_total", LABELS({"kind", "warm"}), stats->warm_hits);
    exposition_family(out, "terminals_warm_misses_total", "counter",
                      "Starts of policies that keep instances warm, when none was ready.");
    exposition_sample(out, "terminals_warm_misses_total", NULL, stats->warm_misses);
    exposition_family(out, "terminals_start_failures_total", "counter", "Starts of instances that failed, by cause.");
    for (int code = ERROR_NONE + 1; code < ERROR_CODE_COUNT; code++) {
        exposition_sample(out, "terminals_start_failures_total", LABELS({"cause", error_code_name(code)}),
                          stats->failures[code]);
    }
    exposition_family(out, "terminals_start_duration_seconds", "histogram",
                      "From when an instance was asked for until it answered.");
    exposition_histogram(out, "terminals_start_duration_seconds", LABELS({"backend", backend}, {"kind", "cold"}),
                         &stats->cold_starts, &histogram_bounds_of_starts);
    exposition_histogram(out, "terminals_start_duration_seconds", LABELS({"backend", backend}, {"kind", "warm"}),
                         &stats->warm_starts, &histogram_bounds_of_starts);
}

static void write_events(const struct provisioner *provisioner, struct buffer *out) {
    static const struct {
        const char *name;
        const char *label;
        const char *value;
        enum stats_action action;
        const char *help; /* of the first of a name */
    } events[] = {
        {"terminals_reaps_total", "reason", "idle", STATS_IDLE_CLEANUP, "Instances that were stopped to save room."},
        {"terminals_reaps_total", "reason", "lifetime", STATS_LIFETIME_CLEANUP, NULL},
        {"terminals_reaps_total", "reason", "quota", STATS_QUOTA_CLEANUP, NULL},
        {"terminals_resets_total", "kind", "scheduled", STATS_SCHEDULED_RESET,
         "Folders that were emptied, scheduled ones that failed included."},
        {"terminals_resets_total", "kind", "admin", STATS_TENANT_RESET, NULL},
        {"terminals_auth_failure_events_total", NULL, NULL, STATS_AUTH_FAILED,
         "Rows of the audit log about refused credentials, each of which may stand for many."},
    };
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (events[i].help != NULL) {
            exposition_family(out, events[i].name, "counter", events[i].help);
        }
        exposition_sample(out, events[i].name,
                          events[i].label == NULL ? NULL : LABELS({events[i].label, events[i].value}),
                          provisioner->stats.actions[events[i].action]);
    }
}

/* --- what waits, and what is wrong -------------------------------------------------------------------------------- */

static void write_queues(const struct provisioner *provisioner, struct buffer *out) {
    int64_t waiting = 0;
    siem_queue_is_stuck(provisioner->siem, &waiting);
    write_gauge(out, "terminals_start_queue_length", "Starts that wait for their turn.",
                (int64_t)provisioner->queued_starts);
    write_gauge(out, "terminals_starts_running", "Starts under way.", (int64_t)provisioner->running_starts);
    write_gauge(out, "terminals_adoption_queue_length",
                "Instances of a predecessor of which it is not known yet whether they run.",
                (int64_t)provisioner->adoptions_left);
    write_gauge(out, "terminals_audit_backlog_length", "Rows of the audit log that wait for the database.",
                (int64_t)provisioner->staged_audit_count);
    write_gauge(out, "terminals_siem_queue_length",
                "Rows of the audit log that wait for the SIEM webhook while it takes none.", waiting);
}

static void write_maps(const struct provisioner *provisioner, struct buffer *out) {
    const struct {
        const char *name;
        const struct map *map;
    } maps[] = {{"routes", provisioner->routes}, {"identities", provisioner->identities}};
    exposition_family(out, "terminals_map_entries", "gauge", "Entries of HAProxy's maps.");
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        exposition_sample(out, "terminals_map_entries", LABELS({"map", maps[i].name}), (int64_t)map_count(maps[i].map));
    }
    exposition_family(out, "terminals_map_push_duration_seconds", "histogram",
                      "How long it took to tell HAProxy of changes of a map, each time.");
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        exposition_histogram(out, "terminals_map_push_duration_seconds", LABELS({"map", maps[i].name}),
                             map_pushes(maps[i].map), &histogram_bounds_of_latencies);
    }
}

static void write_database(const struct provisioner *provisioner, struct buffer *out) {
    const char *name = "terminals_database_duration_seconds";
    exposition_family(out, name, "histogram", "How long the database took for what is written.");
    exposition_histogram(out, name, LABELS({"operation", "commit"}), store_commits(provisioner->store),
                         &histogram_bounds_of_latencies);
    exposition_histogram(out, name, LABELS({"operation", "statement"}), store_statements(provisioner->store),
                         &histogram_bounds_of_latencies);
}

static void write_problem(void *argument, const char *what, const char *severity) {
    static const char *const severities[] = {"error", "warning"};
    for (size_t i = 0; i < sizeof severities / sizeof severities[0]; i++) {
        exposition_sample(argument, "terminals_problem", LABELS({"what", what}, {"severity", severities[i]}),
                          severity != NULL && strcmp(severity, severities[i]) == 0);
    }
}

static void write_problems(const struct provisioner *provisioner, struct buffer *out) {
    exposition_family(out, "terminals_problem", "gauge", "1 while this is wrong (docs/api.md, /stats).");
    problems_each(provisioner->problems, write_problem, out);
}

void metrics_write(struct provisioner *provisioner, struct buffer *out) {
    write_instances(provisioner, out);
    write_starts(provisioner, out);
    write_events(provisioner, out);
    write_queues(provisioner, out);
    write_maps(provisioner, out);
    write_database(provisioner, out);
    write_problems(provisioner, out);
}
