#include "provisioner/refresh.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "provisioner/activity.h"
#include "provisioner/audit.h"
#include "provisioner/routes.h"
#include "provisioner/stops.h"
#include "provisioner/survey.h"
#include "provisioner/tenant_batch.h"
#include "provisioner/tenant_files.h"

struct refresh {
    struct provisioner *provisioner;
    bool only_idle;
    bool reset;
    const char *action; /* what the audit log calls a stop */
    struct json_object *actor;
    struct refresh_result result;
    struct tenant_batch *batch; /* those that match */
    int64_t began_ms;
    struct event *timer;
    refresh_done *done;
    void *argument;
    struct refresh *prev, *next_refresh;
};

static void refresh_free(struct refresh *refresh) {
    DL_DELETE2(refresh->provisioner->refreshes, refresh, prev, next_refresh);
    if (refresh->timer != NULL) {
        event_free(refresh->timer);
    }
    tenant_batch_free(refresh->batch);
    json_object_put(refresh->actor);
    free(refresh);
}

static void finish(struct refresh *refresh, const struct error *err) {
    refresh->done(refresh->argument, &refresh->result, err);
    refresh_free(refresh);
}

/* --- one tenant after the other ----------------------------------------------------------------------------------- */

static void on_emptied(void *argument, const struct error *err) {
    struct refresh *refresh = argument;
    if (err != NULL) {
        log_error(json_get_string(refresh->actor, "request_id"), "reset: %s", err->message);
    } else {
        refresh->result.reset++;
    }
    tenant_batch_one_done(refresh->batch);
}

/* The tenant's instance does not run. The folder is out of the way when this returns, before any new start. */
static void empty_folder(struct refresh *refresh, struct tenant *tenant) {
    struct provisioner *provisioner = refresh->provisioner;
    if (!refresh->reset || !tenant_files_exist(provisioner) || tenant->is_being_deleted) {
        tenant_batch_one_done(refresh->batch);
        return;
    }
    audit_append_tenant(provisioner, tenant, "tenant_reset", NULL, NULL, refresh->actor);
    tenant_files_remove(provisioner, tenant, true, on_emptied, refresh);
}

static void on_stopped(void *argument, struct tenant *tenant, const struct error *err) {
    struct refresh *refresh = argument;
    if (tenant == NULL) {
        log_error(json_get_string(refresh->actor, "request_id"), "refresh: %s",
                  err == NULL ? "the tenant was deleted" : err->message);
        tenant_batch_one_done(refresh->batch);
        return;
    }
    refresh->result.refreshed++;
    empty_folder(refresh, tenant);
}

/* Whether somebody has used it since its route was taken away, or is at it now. */
static bool is_active(const struct refresh *refresh, const struct tenant *tenant) {
    return tenant->record.status != INSTANCE_RUNNING || !tenant->is_draining || tenant->has_requests ||
           tenant_gate_active_ms(tenant) >= refresh->began_ms;
}

static void put_back(struct refresh *refresh, struct tenant *tenant) {
    if (tenant->is_draining) {
        tenant->is_draining = false;
        route_publish(refresh->provisioner, tenant);
    }
}

static void do_one(void *argument, struct tenant *tenant) {
    struct refresh *refresh = argument;
    char route_key[DIGEST_HEX_SIZE];
    memcpy(route_key, tenant->record.route_key, sizeof route_key);
    if (!tenant->is_live) {
        empty_folder(refresh, tenant);
    } else if (refresh->only_idle && is_active(refresh, tenant)) {
        put_back(refresh, tenant);
        refresh->result.skipped_active++;
        tenant_batch_one_done(refresh->batch);
    } else {
        stops_want(refresh->provisioner, tenant, refresh->action, refresh->actor, on_stopped, refresh);
        /* Still draining: its stop could not be written down. */
        tenant = tenants_find(refresh->provisioner, route_key);
        if (tenant != NULL) {
            put_back(refresh, tenant);
        }
    }
}

/* What is still to do is not done: who drains gets his route back. */
static void give_up(struct refresh *refresh, const struct error *err) {
    for (size_t i = 0; i < tenant_batch_count(refresh->batch); i++) {
        struct tenant *tenant = tenant_batch_tenant(refresh->batch, i);
        if (tenant != NULL && tenant->is_live) {
            put_back(refresh, tenant);
        }
    }
    finish(refresh, err);
}

static void on_finished(void *argument, const struct error *err) {
    if (err == NULL) {
        finish(argument, NULL);
    } else {
        give_up(argument, err);
    }
}

/* --- the steps before --------------------------------------------------------------------------------------------- */

static bool knows_activity(bool ok, struct error *err) {
    return ok || error_set(err, ERROR_BACKEND, "%s", SURVEY_FAILED);
}

static void on_second_look(void *argument, bool ok, const struct route_activity *routes, size_t count) {
    struct refresh *refresh = argument;
    struct error err;
    if (refresh->provisioner->is_closing) {
        return;
    }
    if (!knows_activity(ok, &err)) {
        give_up(refresh, &err);
        return;
    }
    activity_merge(refresh->provisioner, routes, count);
    tenant_batch_run(refresh->batch);
}

static void on_gate_reported(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct refresh *refresh = argument;
    survey_activity(refresh->provisioner, on_second_look, refresh);
}

static void on_flushed(void *argument) {
    struct refresh *refresh = argument;
    struct provisioner *provisioner = refresh->provisioner;
    struct error err;
    if (provisioner->is_closing) {
        return;
    }
    int64_t pause_ms = survey_gate_report_ms(provisioner);
    const struct timeval pause = {.tv_sec = pause_ms / 1000, .tv_usec = pause_ms % 1000 * 1000};
    refresh->timer = event_new(provisioner->base, -1, 0, on_gate_reported, refresh);
    if (refresh->timer == NULL || event_add(refresh->timer, &pause) < 0) {
        error_set(&err, ERROR_INTERNAL, "out of memory");
        give_up(refresh, &err);
    }
}

static void on_first_look(void *argument, bool ok, const struct route_activity *routes, size_t count) {
    struct refresh *refresh = argument;
    struct provisioner *provisioner = refresh->provisioner;
    struct error err;
    if (provisioner->is_closing) {
        return;
    }
    if (!knows_activity(ok, &err)) {
        finish(refresh, &err);
        return;
    }
    activity_merge(provisioner, routes, count);
    refresh->began_ms = clock_monotonic_ms();
    for (size_t i = 0; i < tenant_batch_count(refresh->batch); i++) {
        struct tenant *tenant = tenant_batch_tenant(refresh->batch, i);
        if (tenant != NULL && tenant->record.status == INSTANCE_RUNNING && !tenant->is_being_adopted &&
            !tenant->has_requests) {
            tenant->is_draining = true;
            route_withdraw(provisioner, tenant);
        }
    }
    survey_flush(provisioner, on_flushed, refresh);
}

static bool is_wanted(const char *wanted, const char *name) {
    return wanted == NULL || strcmp(wanted, name) == 0;
}

static bool choose(struct refresh *refresh, const struct refresh_filter *filter) {
    struct provisioner *provisioner = refresh->provisioner;
    const struct tenant_batch_calls calls = {do_one, on_finished, refresh};
    refresh->batch = tenant_batch_new(provisioner, &calls);
    if (refresh->batch == NULL) {
        return false;
    }
    TENANTS_EACH(provisioner, tenant) {
        const struct tenant_record *record = &tenant->record;
        if ((tenant->is_live || filter->reset) && !tenant->is_being_deleted && !tenant->is_warm &&
            is_wanted(filter->user_id, record->user_id) && is_wanted(filter->policy_id, record->policy_id) &&
            is_wanted(filter->context_id, record->context_id)) {
            tenant_batch_add(refresh->batch, tenant);
        }
    }
    refresh->result.matched = tenant_batch_count(refresh->batch);
    return true;
}

void refresh_begin(struct provisioner *provisioner, const struct refresh_filter *filter, struct json_object *actor,
                   refresh_done *done, void *argument) {
    struct error err;
    struct refresh *refresh = NULL;
    if (provisioner->is_shutting_down) {
        error_set(&err, ERROR_CAPACITY, "Terminals is shutting down");
    } else if (filter->only_idle && !provisioner->routes_are_built) {
        error_set(&err, ERROR_CAPACITY, "what runs is still being taken over: try again in a moment");
    } else {
        error_set(&err, ERROR_INTERNAL, "out of memory");
        refresh = calloc(1, sizeof *refresh);
    }
    if (refresh == NULL) {
        done(argument, &(struct refresh_result){0}, &err);
        return;
    }
    *refresh = (struct refresh){.provisioner = provisioner,
                                .only_idle = filter->only_idle,
                                .reset = filter->reset,
                                .action = filter->action == NULL ? "tenant_stopped" : filter->action,
                                .actor = json_object_get(actor),
                                .done = done,
                                .argument = argument};
    DL_APPEND2(provisioner->refreshes, refresh, prev, next_refresh);
    if (!choose(refresh, filter)) {
        finish(refresh, &err);
    } else if (refresh->only_idle && refresh->result.matched > 0) {
        survey_activity(provisioner, on_first_look, refresh);
    } else {
        tenant_batch_run(refresh->batch);
    }
}

void refresh_free_all(struct provisioner *provisioner) {
    struct error err;
    error_set(&err, ERROR_CAPACITY, "Terminals is shutting down");
    while (provisioner->refreshes != NULL) {
        finish(provisioner->refreshes, &err);
    }
}
