#include "provisioner/audit_retention.h"

#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"

#define DAY_MS (24LL * 3600 * 1000)

struct audit_retention {
    struct provisioner *provisioner;
    struct event *step;
    bool is_running;
    int64_t batch_rows;
    int64_t deleted; /* in this run */
};

static void finish(struct audit_retention *retention) {
    if (retention->deleted > 0) {
        log_info(NULL, "%lld rows of the audit log, older than %lld days, were deleted", (long long)retention->deleted,
                 (long long)retention->provisioner->settings->audit_retention_days);
    }
    retention->is_running = false;
    retention->deleted = 0;
}

static void adapt(struct audit_retention *retention, int64_t took_ms) {
    if (took_ms > RETENTION_STEP_MS && retention->batch_rows > 1) {
        retention->batch_rows /= 2;
    } else if (took_ms < RETENTION_STEP_MS / 2 && retention->batch_rows < RETENTION_BATCH_MAX_ROWS) {
        retention->batch_rows++;
    }
}

static void on_step(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct audit_retention *retention = argument;
    const struct provisioner *provisioner = retention->provisioner;
    const struct timeval pause = {.tv_usec = RETENTION_PAUSE_MS * 1000};
    int64_t before_ms = clock_unix_ms() - provisioner->settings->audit_retention_days * DAY_MS;
    int64_t deleted = 0;
    struct error err;
    int64_t began_ms = clock_monotonic_ms();
    int64_t wanted = retention->batch_rows;
    if (!store_delete_audit(provisioner->store, before_ms, wanted, &deleted, &err)) {
        log_warning(NULL, "delete old rows of the audit log: %s (tried again later)", err.message);
        finish(retention);
        return;
    }
    retention->deleted += deleted;
    adapt(retention, clock_monotonic_ms() - began_ms);
    if (deleted < wanted || event_add(retention->step, &pause) < 0) {
        finish(retention);
    }
}

struct audit_retention *audit_retention_open(struct provisioner *provisioner, struct error *err) {
    struct audit_retention *retention = calloc(1, sizeof *retention);
    if (retention != NULL) {
        retention->provisioner = provisioner;
        retention->batch_rows = 50;
        retention->step = event_new(provisioner->base, -1, 0, on_step, retention);
    }
    if (retention == NULL || retention->step == NULL) {
        free(retention);
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    return retention;
}

void audit_retention_close(struct audit_retention *retention) {
    if (retention != NULL) {
        event_free(retention->step);
        free(retention);
    }
}

void audit_retention_begin(struct audit_retention *retention) {
    if (retention != NULL && !retention->is_running) {
        retention->is_running = true;
        event_active(retention->step, EV_TIMEOUT, 0);
    }
}
