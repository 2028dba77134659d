#include "provisioner/provisioner.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/unix_listener.h"
#include "provisioner/activity.h"
#include "provisioner/adoption.h"
#include "provisioner/audit.h"
#include "provisioner/audit_retention.h"
#include "provisioner/backend_events.h"
#include "provisioner/backlog.h"
#include "provisioner/gc.h"
#include "provisioner/identities.h"
#include "provisioner/idle.h"
#include "provisioner/ipc_server.h"
#include "provisioner/lifecycles.h"
#include "provisioner/lifetime.h"
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
#include "provisioner/tenants.h"
#include "provisioner/warm.h"

/* An absolute path stays as it is, links and all: HAProxy calls its maps by the very same text. */
static bool set_run_dir(struct provisioner *provisioner, struct error *err) {
    const char *run_dir = provisioner->settings->run_dir;
    cleanup_buffer struct buffer path = {0};
    cleanup_free char *here = run_dir[0] == '/' ? strdup("") : getcwd(NULL, 0);
    if (here == NULL) {
        return error_set_errno(err, ERROR_INTERNAL, "find the working directory");
    }
    while (strncmp(run_dir, "./", 2) == 0) {
        run_dir += 2;
    }
    buffer_append_format(&path, "%s%s%s", here, run_dir[0] == '/' ? "" : "/", run_dir);
    provisioner->run_dir = buffer_take(&path);
    return provisioner->run_dir != NULL || error_set(err, ERROR_INTERNAL, "out of memory");
}

/* A path in the run folder; the buffer is the caller's to free. */
static bool run_path(const struct provisioner *provisioner, const char *name, struct buffer *path, struct error *err) {
    return buffer_append_format(path, "%s/%s", provisioner->run_dir, name) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

static bool open_state(struct provisioner *provisioner, struct error *err) {
    const struct settings *settings = provisioner->settings;
    cleanup_buffer struct buffer key_file = {0};
    provisioner->store = store_open(settings->database_url, settings->database_password, err);
    if (provisioner->store == NULL) {
        return false;
    }
    const char *folder = store_folder(provisioner->store);
    bool ok = folder != NULL ? buffer_append_format(&key_file, "%s/encryption.key", folder)
                             : buffer_append_format(&key_file, "%s/../encryption.key", provisioner->run_dir);
    if (!ok) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    provisioner->vault = vault_open(provisioner->store, settings->encryption_key, key_file.data, err);
    return provisioner->vault != NULL && policies_load(provisioner, err) && lifecycles_load(provisioner, err) &&
           tenants_load(provisioner, err);
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

/* A map is known to HAProxy by its path, which must be absolute. */
static struct map *open_map(struct provisioner *provisioner, const char *name, struct error *err) {
    cleanup_buffer struct buffer file = {0};
    if (!run_path(provisioner, name, &file, err)) {
        return NULL;
    }
    struct map *map = map_open(file.data, provisioner->haproxy);
    if (map == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return map;
}

static bool open_haproxy(struct provisioner *provisioner, struct error *err) {
    cleanup_buffer struct buffer socket = {0};
    cleanup_buffer struct buffer master = {0};
    if (!run_path(provisioner, "haproxy.sock", &socket, err) ||
        !run_path(provisioner, "haproxy-master.sock", &master, err)) {
        return false;
    }
    provisioner->haproxy = haproxy_runtime_open(socket.data, master.data, provisioner->base);
    if (provisioner->haproxy == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    provisioner->identities = open_map(provisioner, "identities.map", err);
    provisioner->routes = provisioner->identities == NULL ? NULL : open_map(provisioner, "routes.map", err);
    return provisioner->routes != NULL && identities_load(provisioner, err);
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

static bool open_server(struct provisioner *provisioner, struct error *err) {
    cleanup_buffer struct buffer path = {0};
    int listener =
        run_path(provisioner, "provisioner.sock", &path, err) ? unix_listener_open("provisioner", path.data, err) : -1;
    if (listener < 0) {
        return false;
    }
    provisioner->server = ipc_server_open(listener, provisioner->base, operations_handle, provisioner, err);
    return provisioner->server != NULL;
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
                            const struct backend_operations *operations, struct error *err) {
    *provisioner = (struct provisioner){.settings = settings, .operations = operations, .changes = clock_unix_ms()};
    return set_run_dir(provisioner, err) && open_state(provisioner, err);
}

bool provisioner_open(struct provisioner *provisioner, const struct settings *settings,
                      const struct backend_operations *operations, struct event_base *base, struct error *err) {
    bool has_state = provisioner_open_state(provisioner, settings, operations, err);
    provisioner->base = base;
    return has_state && open_backlog(provisioner, err) && open_homes(provisioner, err) &&
           open_audit(provisioner, err) && open_haproxy(provisioner, err) && open_backend(provisioner, err) &&
           adoption_begin(provisioner, err) && open_server(provisioner, err) && start_timers(provisioner, err) &&
           open_observers(provisioner, err);
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
    ipc_server_close(provisioner->server);
    provisioner->server = NULL;
    if (provisioner->backend != NULL) {
        provisioner->operations->close(provisioner->backend);
    }
    gc_close(provisioner->gc);
    if (provisioner->routes != NULL) {
        map_close(provisioner->routes);
    }
    if (provisioner->identities != NULL) {
        map_close(provisioner->identities);
    }
    if (provisioner->haproxy != NULL) {
        haproxy_runtime_close(provisioner->haproxy);
    }
    idle_free(provisioner);
    home_folders_close(provisioner->homes);
    tenants_free_all(provisioner);
    refresh_free_all(provisioner);
    quota_free_all(provisioner);
    resets_free(provisioner);
    identities_free(provisioner);
    lifecycles_free(provisioner);
    policies_free(provisioner);
    vault_close(provisioner->vault);
    audit_retention_close(provisioner->retention);
    siem_queue_close(provisioner->siem);
    audit_free_staged(provisioner);
    backlog_close(provisioner->backlog);
    store_close(provisioner->store);
    free(provisioner->run_dir);
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
