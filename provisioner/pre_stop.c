#include "provisioner/pre_stop.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "provisioner/audit.h"
#include "provisioner/instance_command.h"
#include "provisioner/policies.h"

#define DETAIL_SIZE 256

struct pre_stop {
    struct instance_command *command;
    struct event *timer;
    int64_t began_ms;
    int64_t ends_ms; /* its time is over */
    void (*done)(struct tenant *tenant);
};

void pre_stop_cancel(struct tenant *tenant) {
    struct pre_stop *pre_stop = tenant->pre_stop;
    tenant->pre_stop = NULL;
    if (pre_stop != NULL) {
        instance_command_cancel(pre_stop->command);
        if (pre_stop->timer != NULL) {
            event_free(pre_stop->timer);
        }
        free(pre_stop);
    }
}

/* Says how it went, in the log now and in the audit log together with the stop. */
static void tell(struct tenant *tenant, bool went_well, const char *detail) {
    const char *request_id = json_get_string(tenant->actor, "request_id");
    if (went_well) {
        log_info(request_id, "instance %s: pre_stop: %s", tenant->record.instance_name, detail);
    } else {
        log_warning(request_id, "instance %s: pre_stop: %s", tenant->record.instance_name, detail);
    }
    audit_stage(tenant->provisioner,
                audit_row_of_tenant(tenant, "pre_stop", went_well ? NULL : "warning", detail, tenant->actor));
}

static void finish(struct tenant *tenant, bool went_well, const char *detail) {
    void (*done)(struct tenant *) = tenant->pre_stop->done;
    tell(tenant, went_well, detail);
    pre_stop_cancel(tenant);
    done(tenant);
}

static void on_ended(void *argument, int64_t exit_code, const char *failure) {
    struct tenant *tenant = argument;
    char detail[DETAIL_SIZE];
    tenant->pre_stop->command = NULL;
    long long took_ms = clock_monotonic_ms() - tenant->pre_stop->began_ms;
    if (failure != NULL) {
        snprintf(detail, sizeof detail, "%s (after %lld ms)", failure, took_ms);
    } else {
        snprintf(detail, sizeof detail, "exit status %lld after %lld ms", (long long)exit_code, took_ms);
    }
    finish(tenant, failure == NULL && exit_code == 0, detail);
}

static void on_time_over(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct tenant *tenant = argument;
    char detail[DETAIL_SIZE];
    snprintf(detail, sizeof detail, "it was not done after %lld ms",
             (long long)(clock_monotonic_ms() - tenant->pre_stop->began_ms));
    finish(tenant, false, detail);
}

static bool set_timer(struct pre_stop *pre_stop, int64_t after_ms) {
    const struct timeval after = {.tv_sec = after_ms / 1000, .tv_usec = after_ms % 1000 * 1000};
    pre_stop->ends_ms = clock_monotonic_ms() + after_ms;
    return event_add(pre_stop->timer, &after) == 0;
}

bool pre_stop_begin(struct tenant *tenant, void (*done)(struct tenant *tenant)) {
    struct provisioner *provisioner = tenant->provisioner;
    const struct stored_policy *stored = policies_find(provisioner, tenant->record.policy_id, NULL);
    if (stored == NULL || tenant->is_warm || stored->policy.pre_stop_command == NULL ||
        provisioner->operations->shares_one_instance || tenant->key == NULL || tenant->record.host[0] == '\0') {
        return false;
    }
    int64_t limit_ms = stored->policy.pre_stop_timeout_seconds * 1000;
    if (provisioner->is_shutting_down && limit_ms > PRE_STOP_SHUTDOWN_MS) {
        limit_ms = PRE_STOP_SHUTDOWN_MS;
    }
    struct pre_stop *pre_stop = calloc(1, sizeof *pre_stop);
    tenant->pre_stop = pre_stop;
    if (pre_stop == NULL) {
        tell(tenant, false, "not run: out of memory");
        return false;
    }
    *pre_stop = (struct pre_stop){.began_ms = clock_monotonic_ms(), .done = done};
    pre_stop->timer = event_new(provisioner->base, -1, 0, on_time_over, tenant);
    /* Our own timer ends it; the call's limit is only there for the case that it never comes. */
    pre_stop->command =
        instance_command_start(tenant, stored->policy.pre_stop_command, (int)limit_ms + 1000, on_ended, tenant);
    if (pre_stop->timer == NULL || pre_stop->command == NULL || !set_timer(pre_stop, limit_ms)) {
        pre_stop_cancel(tenant);
        tell(tenant, false, "not run: out of memory or descriptors");
        return false;
    }
    return true;
}

void pre_stop_hurry(struct tenant *tenant) {
    struct pre_stop *pre_stop = tenant->pre_stop;
    if (pre_stop != NULL && pre_stop->ends_ms - clock_monotonic_ms() > PRE_STOP_SHUTDOWN_MS &&
        !set_timer(pre_stop, PRE_STOP_SHUTDOWN_MS)) {
        log_warning(NULL, "instance %s: no memory to cut its pre_stop short", tenant->record.instance_name);
    }
}
