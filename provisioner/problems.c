#include "provisioner/problems.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "provisioner/census.h"
#include "provisioner/ipc_server.h"
#include "provisioner/siem_queue.h"
#include "provisioner/starts.h"
#include "provisioner/tenants.h"

#define DETAIL_SIZE 512

enum severity { FINE, WARNING, ERROR };

/* A disk is nearly full where less than the share *and* less than the bytes are free: large ones have room at 95 %. */
#define DISK_WARNING_PERCENT 10
#define DISK_WARNING_BYTES   (10LL << 30)
#define DISK_ERROR_PERCENT   2
#define DISK_ERROR_BYTES     (1LL << 30)

static enum severity look_at_haproxy(struct provisioner *provisioner, char detail[DETAIL_SIZE]) {
    snprintf(detail, DETAIL_SIZE, "HAProxy does not answer on its runtime socket");
    return haproxy_runtime_is_up(provisioner->haproxy) ? FINE : ERROR;
}

static enum severity look_at_gate(struct provisioner *provisioner, char detail[DETAIL_SIZE]) {
    snprintf(detail, DETAIL_SIZE, "terminals-gate is not connected: no instance is started for a request");
    return ipc_server_has_reporter(provisioner->server) ? FINE : ERROR;
}

static enum severity look_at_database(struct provisioner *provisioner, char detail[DETAIL_SIZE]) {
    struct error err;
    if (!store_is_failing(provisioner->store, &err)) {
        return FINE;
    }
    snprintf(detail, DETAIL_SIZE, "%s", err.message);
    return ERROR;
}

static enum severity look_at_backend(struct provisioner *provisioner, char detail[DETAIL_SIZE]) {
    struct error err;
    if (provisioner->operations->is_away == NULL || !provisioner->operations->is_away(provisioner->backend, &err)) {
        return FINE;
    }
    snprintf(detail, DETAIL_SIZE, "%s", err.message);
    return ERROR;
}

static enum severity look_at_tenants(struct provisioner *provisioner, char detail[DETAIL_SIZE]) {
    struct census census;
    census_take(provisioner, &census);
    long long count = census.by_status[INSTANCE_ERROR];
    snprintf(detail, DETAIL_SIZE, "%lld instance%s failed at the last start", count, count == 1 ? "" : "s");
    return count > 0 ? WARNING : FINE;
}

static enum severity look_at_starts(struct provisioner *provisioner, char detail[DETAIL_SIZE]) {
    snprintf(detail, DETAIL_SIZE, "%zu instances wait for their turn to start; no more than %d may",
             provisioner->queued_starts, STARTS_QUEUE_MAX);
    if (provisioner->queued_starts >= STARTS_QUEUE_MAX) {
        return ERROR;
    }
    return provisioner->queued_starts >= STARTS_QUEUE_MAX / 2 ? WARNING : FINE;
}

/* How full the file system is that a folder is on; FINE where there is no such folder here. */
static enum severity look_at_folder(const char *folder, char detail[DETAIL_SIZE]) {
    struct statvfs disk;
    if (folder == NULL || statvfs(folder, &disk) < 0 || disk.f_blocks == 0) {
        return FINE;
    }
    int64_t bytes = (int64_t)(disk.f_bavail * disk.f_frsize);
    int percent = (int)(disk.f_bavail * 100 / disk.f_blocks);
    snprintf(detail, DETAIL_SIZE, "%lld MiB (%d %%) are free below `%.300s`", (long long)bytes >> 20, percent, folder);
    if (percent < DISK_ERROR_PERCENT && bytes < DISK_ERROR_BYTES) {
        return ERROR;
    }
    return percent < DISK_WARNING_PERCENT && bytes < DISK_WARNING_BYTES ? WARNING : FINE;
}

static enum severity look_at_disk(struct provisioner *provisioner, char detail[DETAIL_SIZE]) {
    char of_database[DETAIL_SIZE];
    enum severity homes = look_at_folder(provisioner->settings->data_dir, detail);
    enum severity database = look_at_folder(store_folder(provisioner->store), of_database);
    if (database > homes) {
        snprintf(detail, DETAIL_SIZE, "%s", of_database);
    }
    return database > homes ? database : homes;
}

static enum severity look_at_backlog(struct provisioner *provisioner, char detail[DETAIL_SIZE]) {
    snprintf(detail, DETAIL_SIZE, "%zu rows of the audit log wait for the database", provisioner->staged_audit_count);
    return provisioner->staged_audit_count > 0 ? WARNING : FINE;
}

static enum severity look_at_siem(struct provisioner *provisioner, char detail[DETAIL_SIZE]) {
    int64_t waiting = 0;
    if (!siem_queue_is_stuck(provisioner->siem, &waiting)) {
        return FINE;
    }
    snprintf(detail, DETAIL_SIZE, "the SIEM webhook does not take events; %lld wait", (long long)waiting);
    return WARNING;
}

static const struct {
    const char *what;
    enum severity (*look)(struct provisioner *provisioner, char detail[DETAIL_SIZE]);
} kinds[] = {
    {"haproxy", look_at_haproxy},       {"gate", look_at_gate},          {"database", look_at_database},
    {"backend", look_at_backend},       {"start_queue", look_at_starts}, {"disk", look_at_disk},
    {"audit_backlog", look_at_backlog}, {"siem", look_at_siem},          {"tenants_in_error", look_at_tenants},
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

struct problems {
    struct provisioner *provisioner;
    struct event *timer;
    struct {
        enum severity severity;
        int64_t since_ms;
        char detail[DETAIL_SIZE];
    } found[KIND_COUNT];
};

static void look(struct problems *problems) {
    for (size_t i = 0; i < KIND_COUNT; i++) {
        enum severity before = problems->found[i].severity;
        problems->found[i].severity = kinds[i].look(problems->provisioner, problems->found[i].detail);
        if (before == FINE) {
            problems->found[i].since_ms = clock_unix_ms();
        }
    }
}

static void on_timer(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    look(argument);
}

struct problems *problems_open(struct provisioner *provisioner, struct error *err) {
    const struct timeval interval = {.tv_sec = PROBLEMS_LOOK_SECONDS};
    struct problems *problems = calloc(1, sizeof *problems);
    if (problems != NULL) {
        problems->provisioner = provisioner;
        problems->timer = event_new(provisioner->base, -1, EV_PERSIST, on_timer, problems);
    }
    if (problems == NULL || problems->timer == NULL || event_add(problems->timer, &interval) < 0) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        problems_close(problems);
        return NULL;
    }
    return problems;
}

void problems_close(struct problems *problems) {
    if (problems != NULL && problems->timer != NULL) {
        event_free(problems->timer);
    }
    free(problems);
}

static const char *severity_name(enum severity severity) {
    return severity == ERROR ? "error" : severity == WARNING ? "warning" : NULL;
}

void problems_each(struct problems *problems, void (*each)(void *argument, const char *what, const char *severity),
                   void *argument) {
    look(problems);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        each(argument, kinds[i].what, severity_name(problems->found[i].severity));
    }
}

struct json_object *problems_json(struct problems *problems) {
    cleanup_json struct json_object *list = json_object_new_array();
    bool ok = list != NULL;
    look(problems);
    for (size_t i = 0; ok && i < KIND_COUNT; i++) {
        if (problems->found[i].severity == FINE) {
            continue;
        }
        char since[CLOCK_RFC3339_SIZE];
        clock_format_rfc3339(problems->found[i].since_ms, since);
        cleanup_json struct json_object *problem = json_object_new_object();
        ok = problem != NULL && json_add_string(problem, "severity", severity_name(problems->found[i].severity)) &&
             json_add_string(problem, "what", kinds[i].what) &&
             json_add_string(problem, "detail", problems->found[i].detail) &&
             json_add_string(problem, "since", since) && json_object_array_add(list, json_object_get(problem)) == 0;
    }
    return ok ? steal_pointer(&list) : NULL;
}
