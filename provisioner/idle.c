#include "provisioner/idle.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "provisioner/activity.h"
#include "provisioner/policies.h"
#include "provisioner/routes.h"
#include "provisioner/stops.h"
#include "provisioner/survey.h"

#define INSTANCE_ID_SIZE 33

struct sweep_waiter {
    void (*done)(void *argument, const struct sweep_result *result, const struct error *err);
    void *argument;
    struct sweep_waiter *next;
};

struct sweep {
    struct provisioner *provisioner;
    struct sweep_result result;
    char (*candidates)[INSTANCE_ID_SIZE]; /* by id: a tenant may vanish meanwhile */
    size_t candidate_count;
    size_t stops_left;
    bool is_over; /* told; only waits for late stops before it is freed */
    struct event *timer;
    struct sweep_waiter *waiters;
};

static void sweep_free(struct sweep *sweep) {
    for (struct sweep_waiter *waiter = sweep->waiters, *next; waiter != NULL; waiter = next) {
        next = waiter->next;
        free(waiter);
    }
    if (sweep->timer != NULL) {
        event_free(sweep->timer);
    }
    free(sweep->candidates);
    free(sweep);
}

/* Tells everyone, and frees the sweep unless stops that took too long still point to it. */
static void finish(struct sweep *sweep, const struct error *err) {
    struct provisioner *provisioner = sweep->provisioner;
    sweep->is_over = true;
    provisioner->sweep = NULL;
    sweep->result.kept = sweep->result.checked - sweep->result.stopped;
    if (err != NULL) {
        log_warning(NULL, "no idle cleanup now: %s", err->message);
    } else if (sweep->result.stopped > 0) {
        log_info(NULL, "idle cleanup: %zu instances checked, %zu stopped", sweep->result.checked,
                 sweep->result.stopped);
    }
    for (struct sweep_waiter *waiter = sweep->waiters; waiter != NULL; waiter = waiter->next) {
        waiter->done(waiter->argument, &sweep->result, err);
    }
    if (sweep->stops_left == 0) {
        sweep_free(sweep);
    }
}

static bool wait_ms(struct sweep *sweep, int64_t milliseconds, event_callback_fn callback) {
    const struct timeval delay = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    if (sweep->timer != NULL) {
        event_free(sweep->timer);
    }
    sweep->timer = event_new(sweep->provisioner->base, -1, 0, callback, sweep);
    return sweep->timer != NULL && event_add(sweep->timer, &delay) == 0;
}

/* Never before the routes are built: what HAProxy holds until then is not ours to take away. */
static bool is_idle(const struct provisioner *provisioner, const struct tenant *tenant) {
    int64_t timeout_ms = policies_idle_timeout_ms(provisioner, tenant->record.policy_id);
    int64_t last_active_ms = tenant->last_active_ms > provisioner->not_idle_before_ms ? tenant->last_active_ms
                                                                                      : provisioner->not_idle_before_ms;
    return provisioner->routes_are_built && timeout_ms > 0 && !provisioner->operations->shares_one_instance &&
           clock_monotonic_ms() - last_active_ms >= timeout_ms;
}

/* --- the last step: stopping ------------------------------------------------------------------------------------- */

static void on_stopped(void *argument, struct tenant *tenant, const struct error *err) {
    struct sweep *sweep = argument;
    sweep->stops_left--;
    if (err != NULL) {
        log_warning(NULL, "stop an idle instance: %s", err->message);
    } else if (tenant != NULL && !sweep->is_over) {
        sweep->result.stopped++;
    }
    if (sweep->stops_left > 0) {
        return;
    }
    if (sweep->is_over) {
        sweep_free(sweep);
    } else {
        finish(sweep, NULL);
    }
}

static void on_stops_overdue(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct sweep *sweep = argument;
    log_warning(NULL, "idle cleanup: %zu instances have not stopped within %lld s", sweep->stops_left,
                (long long)sweep->provisioner->settings->idle_cleanup_timeout_seconds);
    finish(sweep, NULL);
}

static void put_back(struct provisioner *provisioner, struct tenant *tenant) {
    tenant->is_draining = false;
    route_publish(provisioner, tenant);
}

/* Stops the candidates that are still idle; without `know`, none. */
static void decide(struct sweep *sweep, bool know) {
    struct provisioner *provisioner = sweep->provisioner;
    sweep->stops_left = 1; /* ours, so that a stop that is done at once does not end the sweep in the middle */
    for (size_t i = 0; i < sweep->candidate_count; i++) {
        struct tenant *tenant = tenants_find_instance(provisioner, sweep->candidates[i]);
        if (tenant == NULL || !tenant->is_draining) {
            continue;
        }
        if (know && is_idle(provisioner, tenant)) {
            sweep->stops_left++;
            stops_want(provisioner, tenant, "idle_cleanup", NULL, on_stopped, sweep);
        }
        /* Still draining: kept, or its stop could not be written down. */
        tenant = tenants_find_instance(provisioner, sweep->candidates[i]);
        if (tenant != NULL && tenant->is_draining) {
            put_back(provisioner, tenant);
        }
    }
    if (sweep->stops_left > 1 &&
        !wait_ms(sweep, provisioner->settings->idle_cleanup_timeout_seconds * 1000, on_stops_overdue)) {
        log_warning(NULL, "idle cleanup: no memory for a timer, waits without a limit");
    }
    on_stopped(sweep, NULL, NULL);
}

/* --- the steps before --------------------------------------------------------------------------------------------- */

static void on_second_look(void *argument, bool ok, const struct route_activity *routes, size_t count) {
    struct sweep *sweep = argument;
    if (sweep->provisioner->is_closing) {
        return;
    }
    if (ok) {
        activity_merge(sweep->provisioner, routes, count);
    } else {
        log_warning(NULL, "idle cleanup: %s", SURVEY_FAILED);
    }
    decide(sweep, ok);
}

static void on_gate_reported(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct sweep *sweep = argument;
    survey_activity(sweep->provisioner, on_second_look, sweep);
}

static void on_flushed(void *argument) {
    struct sweep *sweep = argument;
    struct provisioner *provisioner = sweep->provisioner;
    if (provisioner->is_closing) {
        return;
    }
    if (!wait_ms(sweep, survey_gate_report_ms(provisioner), on_gate_reported)) {
        decide(sweep, false);
    }
}

static bool choose(struct sweep *sweep) {
    struct provisioner *provisioner = sweep->provisioner;
    sweep->candidates = calloc(HASH_CNT(by_instance, provisioner->tenants_by_instance) + 1, sizeof *sweep->candidates);
    if (sweep->candidates == NULL) {
        return false;
    }
    TENANTS_EACH_LIVE(provisioner, tenant) {
        if (tenant->record.status != INSTANCE_RUNNING || tenant->is_being_adopted || tenant->is_warm) {
            continue;
        }
        sweep->result.checked++;
        if (is_idle(provisioner, tenant)) {
            tenant->is_draining = true;
            route_withdraw(provisioner, tenant);
            memcpy(sweep->candidates[sweep->candidate_count++], tenant->record.instance_id, INSTANCE_ID_SIZE);
        }
    }
    return true;
}

static void on_first_look(void *argument, bool ok, const struct route_activity *routes, size_t count) {
    struct sweep *sweep = argument;
    struct provisioner *provisioner = sweep->provisioner;
    struct error err;
    if (provisioner->is_closing) {
        return;
    }
    if (!ok) {
        error_set(&err, ERROR_BACKEND, "%s", SURVEY_FAILED);
        finish(sweep, &err);
        return;
    }
    activity_merge(provisioner, routes, count);
    activity_flush(provisioner);
    if (!choose(sweep)) {
        error_set(&err, ERROR_INTERNAL, "out of memory");
        finish(sweep, &err);
    } else if (sweep->candidate_count == 0) {
        finish(sweep, NULL);
    } else {
        survey_flush(provisioner, on_flushed, sweep);
    }
}

void idle_sweep(struct provisioner *provisioner,
                void (*done)(void *argument, const struct sweep_result *result, const struct error *err),
                void *argument) {
    struct sweep_waiter *waiter = malloc(sizeof *waiter);
    bool is_new = provisioner->sweep == NULL;
    struct sweep *sweep = is_new ? calloc(1, sizeof *sweep) : provisioner->sweep;
    if (waiter == NULL || sweep == NULL) {
        struct error err;
        error_set(&err, ERROR_INTERNAL, "out of memory");
        free(waiter);
        if (is_new) {
            free(sweep);
        }
        done(argument, &(struct sweep_result){0}, &err);
        return;
    }
    *waiter = (struct sweep_waiter){done, argument, sweep->waiters};
    sweep->waiters = waiter;
    if (is_new) {
        sweep->provisioner = provisioner;
        provisioner->sweep = sweep;
        survey_activity(provisioner, on_first_look, sweep);
    }
}

void idle_free(struct provisioner *provisioner) {
    struct error err;
    if (provisioner->sweep != NULL) {
        error_set(&err, ERROR_CAPACITY, "Terminals is shutting down");
        finish(provisioner->sweep, &err);
    }
}
