#include "provisioner/provisioner.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "provisioner/activity.h"
#include "provisioner/adoption.h"
#include "provisioner/audit.h"
#include "provisioner/audit_retention.h"
#include "provisioner/backend_events.h"
#include "provisioner/backlog.h"
#include "provisioner/front.h"
#include "provisioner/gc.h"
#include "provisioner/idle.h"
#include "provisioner/ipc_server.h"
#include "provisioner/lifecycles.h"
#include "provisioner/lifetime.h"
#include "provisioner/node.h"
#include "provisioner/operations.h"
#include "provisioner/policies.h"
#include "provisioner/pre_stop.h"
#include "provisioner/problems.h"
#include "provisioner/quota.h"
#include "provisioner/refresh.h"
#include "provisioner/resets.h"
#include "provisioner/restore.h"
#include "provisioner/siem_queue.h"
#include "provisioner/stats_history.h"
#include "provisioner/stops.h"
#include "provisioner/survey.h"
#include "provisioner/tenants.h"
#include "provisioner/warm.h"

static bool open_state(struct provisioner *provisioner, struct error *err) {
    return front_open_vault(provisioner, err) && policies_load(provisioner, err) && lifecycles_load(provisioner, err) &&
           tenants_load(provisioner, err) && node_renew(provisioner->node, err);
}

static bool open_homes(struct provisioner *provisioner, struct error *err) {
    if (!restore_recover(provisioner->store, provisioner->settings, err)) {
        return false;
    }
    if (!provisioner->operations->shares_one_instance && provisioner->operations->purge == NULL) {
        provisioner->homes = home_folders_open(provisioner->settings->data_dir, provisioner->base, err);
        if (provisioner->homes == NULL) {
            return false;
        }
    }
    if (!resets_load(provisioner, err)) {
        return false;
    }
    if (provisioner->homes != NULL) {
        home_folders_empty_trash(provisioner->homes);
    }
    return true;
}

/* What the database did not take from a predecessor. */
static bool open_backlog(struct provisioner *provisioner, struct error *err) {
    provisioner->backlog = backlog_open(provisioner->run_dir, err);
    return provisioner->backlog != NULL && audit_load_backlog(provisioner, err) &&
           activity_load_backlog(provisioner, err);
}

static bool open_audit(struct provisioner *provisioner, struct error *err) {
    if (provisioner->settings->audit_retention_days > 0) {
        provisioner->retention = audit_retention_open(provisioner, err);
        if (provisioner->retention == NULL) {
            return false;
        }
    }
    if (provisioner->settings->siem_webhook_url == NULL) {
        return siem_queue_forget(provisioner, err);
    }
    provisioner->siem = siem_queue_open(provisioner, err);
    return provisioner->siem != NULL;
}

static bool open_backend(struct provisioner *provisioner, struct error *err) {
    const struct backend_events events = backend_events(provisioner);
    provisioner->backend = provisioner->operations->open(provisioner->settings, provisioner->base, &events, err);
    return provisioner->backend != NULL;
}

static void on_flush_timer(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    activity_flush(argument);
}

static void on_swept(void *argument, const struct sweep_result *result, const struct error *err) {
    (void)argument;
    (void)result;
    (void)err; /* logged by the sweep */
}

static void on_reset(void *argument, const struct resets_result *result) {
    (void)argument;
    (void)result; /* logged by the run */
}

static void on_sweep_timer(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct provisioner *provisioner = argument;
    audit_retention_begin(provisioner->retention);
    resets_run(provisioner, on_reset, NULL);
    idle_sweep(provisioner, on_swept, NULL);
}

static void on_lifetime_timer(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    lifetime_look(argument);
    warm_tend(argument);
}

static struct event *start_timer(struct provisioner *provisioner, int64_t seconds, event_callback_fn callback) {
    const struct timeval interval = {.tv_sec = seconds};
    struct event *timer = event_new(provisioner->base, -1, EV_PERSIST, callback, provisioner);
    if (timer != NULL && event_add(timer, &interval) < 0) {
        event_free(timer);
        timer = NULL;
    }
    return timer;
}

static bool start_timers(struct provisioner *provisioner, struct error *err) {
    int64_t interval_s = provisioner->settings->cleanup_interval_seconds;
    provisioner->flush_timer = start_timer(provisioner, ACTIVITY_FLUSH_SECONDS, on_flush_timer);
    provisioner->lifetime_timer = start_timer(provisioner, LIFETIME_LOOK_SECONDS, on_lifetime_timer);
    if (interval_s > 0) {
        provisioner->sweep_timer = start_timer(provisioner, interval_s, on_sweep_timer);
    }
    return (provisioner->flush_timer != NULL && provisioner->lifetime_timer != NULL &&
            (interval_s == 0 || provisioner->sweep_timer != NULL)) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool open_observers(struct provisioner *provisioner, struct error *err) {
    provisioner->problems = problems_open(provisioner, err);
    provisioner->history = provisioner->problems == NULL ? NULL : stats_history_open(provisioner, err);
    return provisioner->history != NULL;
}

bool provisioner_open_state(struct provisioner *provisioner, const struct settings *settings,
                            const struct backend_operations *operations, struct node *node, struct error *err) {
    *provisioner =
        (struct provisioner){.settings = settings, .operations = operations, .node = node, .changes = clock_unix_ms()};
    return front_open_store(provisioner, err) && open_state(provisioner, err);
}

bool provisioner_open(struct provisioner *provisioner, const struct settings *settings,
                      const struct backend_operations *operations, struct event_base *base, struct node *node,
                      struct error *err) {
    bool has_state = provisioner_open_state(provisioner, settings, operations, node, err);
    provisioner->base = base;
    return has_state && open_backlog(provisioner, err) && open_homes(provisioner, err) &&
           open_audit(provisioner, err) && node_renew(node, err) && front_open_haproxy(provisioner, err) &&
           open_backend(provisioner, err) && node_renew(node, err) && adoption_begin(provisioner, err) &&
           front_open_server(provisioner, operations_handle, err) && start_timers(provisioner, err) &&
           open_observers(provisioner, err);
}

int64_t provisioner_websockets(const struct provisioner *provisioner) {
    int64_t own = provisioner->server == NULL ? 0 : ipc_server_websockets(provisioner->server);
    return own + node_others_websockets(provisioner->node);
}

static void free_event(struct event **event) {
    if (*event != NULL) {
        event_free(*event);
        *event = NULL;
    }
}

void provisioner_close(struct provisioner *provisioner) {
    provisioner->is_closing = true;
    if (provisioner->store != NULL && provisioner->backlog != NULL) {
        activity_flush(provisioner);
    }
    free_event(&provisioner->flush_timer);
    free_event(&provisioner->sweep_timer);
    free_event(&provisioner->lifetime_timer);
    free_event(&provisioner->adoption_step);
    free_event(&provisioner->adoption_timer);
    free_event(&provisioner->shutdown_timer);
    stats_history_close(provisioner->history);
    problems_close(provisioner->problems);
    front_close_server(provisioner);
    if (provisioner->backend != NULL) {
        provisioner->operations->close(provisioner->backend);
    }
    gc_close(provisioner->gc);
    front_close_haproxy(provisioner);
    survey_free_all(provisioner);
    idle_free(provisioner);
    home_folders_close(provisioner->homes);
    tenants_free_all(provisioner);
    refresh_free_all(provisioner);
    quota_free_all(provisioner);
    resets_free(provisioner);
    lifecycles_free(provisioner);
    policies_free(provisioner);
    audit_retention_close(provisioner->retention);
    siem_queue_close(provisioner->siem);
    audit_free_staged(provisioner);
    backlog_close(provisioner->backlog);
    front_close_store(provisioner);
}

/* --- shutting down -------------------------------------------------------------------------------------------------
 */

static void on_one_stopped(void *argument, struct tenant *tenant, const struct error *err) {
    (void)tenant;
    struct provisioner *provisioner = argument;
    if (err != NULL) {
        log_error(NULL, "stop an instance: %s", err->message);
    }
    if (--provisioner->stops_left == 0) {
        event_base_loopbreak(provisioner->base);
    }
}

static void on_shutdown_timer(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct provisioner *provisioner = argument;
    log_error(NULL, "%zu instances have not stopped within %d s: the next start deals with them",
              provisioner->stops_left, SHUTDOWN_TIMEOUT_SECONDS);
    event_base_loopbreak(provisioner->base);
}

void provisioner_stop_all(struct provisioner *provisioner) {
    const struct timeval timeout = {.tv_sec = SHUTDOWN_TIMEOUT_SECONDS};
    if (provisioner->is_shutting_down) {
        return;
    }
    provisioner->is_shutting_down = true;
    free_event(&provisioner->sweep_timer);
    provisioner->shutdown_timer = event_new(provisioner->base, -1, 0, on_shutdown_timer, provisioner);
    if (provisioner->shutdown_timer == NULL || event_add(provisioner->shutdown_timer, &timeout) < 0) {
        log_error(NULL, "out of memory: instances are left running");
        event_base_loopbreak(provisioner->base);
        return;
    }
    provisioner->stops_left = 1; /* ours, until all have been asked */
    TENANTS_EACH(provisioner, tenant) {
        if (tenant->is_live) {
            provisioner->stops_left++;
            pre_stop_hurry(tenant);
            stops_want(provisioner, tenant, "tenant_stopped", NULL, on_one_stopped, provisioner);
        }
    }
    on_one_stopped(provisioner, NULL, NULL);
}
