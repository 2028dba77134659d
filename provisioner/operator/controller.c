#include "provisioner/operator/controller.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/heartbeat.h"
#include "common/log.h"
#include "provisioner/backends/kubernetes_pods.h"
#include "provisioner/backends/kubernetes_terminal.h"
#include "provisioner/operator/child.h"
#include "provisioner/operator/reconcile.h"

#define MARK_SIZE 160
#define PROCESS   "operator"

/* --- what happens puts names into the queue ----------------------------------------------------------------------- */

/* Without all five nobody knows what is missing and what is not. */
static bool knows_all(const struct controller *controller) {
    for (int i = 0; i < WATCH_COUNT; i++) {
        if (kubernetes_watch_state(controller->watches[i]) != KUBERNETES_LINK_UP) {
            return false;
        }
    }
    return true;
}

static void decide_whether_to_work(struct controller *controller) {
    work_queue_set_open(controller->queue, lease_leads(controller->lease) && knows_all(controller));
}

static void on_link_changed(void *argument, enum kubernetes_link_state state) {
    (void)state;
    decide_whether_to_work(argument);
}

static void on_leads_changed(void *argument, bool leads) {
    (void)leads;
    decide_whether_to_work(argument);
}

static void on_terminal(void *argument, const struct kubernetes_item *item, bool is_gone) {
    struct controller *controller = argument;
    const struct kubernetes_terminal *terminal = kubernetes_terminal_of(item);
    char mark[MARK_SIZE];
    snprintf(mark, sizeof mark, "%s/%" PRId64 "/%" PRId64 "/%d", is_gone ? "" : item->uid,
             json_get_int(terminal->metadata, "generation", 0), terminal->active_ms, terminal->is_going);
    work_queue_add(controller->queue, item->name, mark);
}

static void on_child(void *argument, const struct kubernetes_item *item, bool is_gone) {
    struct controller *controller = argument;
    (void)is_gone;
    work_queue_add(controller->queue, item->name, NULL);
}

static void on_listed(void *argument, int64_t began_ms) {
    (void)began_ms; /* each item has been told */
    decide_whether_to_work(argument);
}

/* --- the heartbeat ------------------------------------------------------------------------------------------------ */

/* For `terminals check operator`. From the event loop: one that hangs is not heard. Who does not lead is as well as who
 * does. */
static void on_heartbeat(evutil_socket_t fd, short what, void *argument) {
    struct controller *controller = argument;
    struct error err = {0};
    (void)fd;
    (void)what;
    bool is_written = heartbeat_write(controller->settings->run_dir, PROCESS, knows_all(controller), &err);
    if (!is_written && !controller->has_no_heartbeat) {
        log_warning(NULL, "no health check will find this operator: %s", err.message);
    }
    controller->has_no_heartbeat = !is_written;
}

static bool open_heartbeat(struct controller *controller) {
    const struct timeval interval = {HEARTBEAT_INTERVAL_MS / 1000, HEARTBEAT_INTERVAL_MS % 1000 * 1000};
    controller->heartbeat = event_new(controller->base, -1, EV_PERSIST, on_heartbeat, controller);
    if (controller->heartbeat == NULL || event_add(controller->heartbeat, &interval) != 0) {
        return false;
    }
    event_active(controller->heartbeat, EV_TIMEOUT, 0); /* the first at once */
    return true;
}

/* --- open and close ----------------------------------------------------------------------------------------------- */

static bool open_watches(struct controller *controller) {
    const struct kubernetes_watch_callbacks terminals = {controller, on_link_changed, on_terminal, on_listed};
    const struct kubernetes_watch_callbacks children = {controller, on_link_changed, on_child, on_listed};
    const struct kubernetes_watch_kind kinds[WATCH_COUNT] = {
        [WATCH_TERMINALS] = kubernetes_terminals_kind(controller->api),
        [WATCH_PODS] = kubernetes_pods_kind,
        [WATCH_SERVICES] = child_kind("services"),
        [WATCH_SECRETS] = child_kind("secrets"),
        [WATCH_CLAIMS] = child_kind("persistentvolumeclaims"),
    };
    for (int i = 0; i < WATCH_COUNT; i++) {
        controller->watches[i] = kubernetes_watch_open(controller->client, controller->base, &kinds[i],
                                                       i == WATCH_TERMINALS ? &terminals : &children);
        if (controller->watches[i] == NULL) {
            return false;
        }
    }
    return true;
}

static bool open_parts(struct controller *controller, const char *identity, struct error *err) {
    const struct settings *settings = controller->settings;
    controller->api = kubernetes_terminals_api(settings);
    controller->api_version = kubernetes_terminals_api_version(settings);
    controller->queue = work_queue_open(controller->base, reconcile_run, controller);
    controller->recorder =
        event_recorder_open(controller->client, settings->kubernetes_namespace, controller->api_version);
    controller->lease = lease_open(controller->client, controller->base, identity, settings->kubernetes_lease_seconds,
                                   on_leads_changed, controller);
    return (controller->api != NULL && controller->api_version != NULL && controller->queue != NULL &&
            controller->recorder != NULL && controller->lease != NULL && open_watches(controller) &&
            open_heartbeat(controller)) ||
           error_set(err, ERROR_INTERNAL, "out of memory");
}

bool controller_open(struct controller *controller, const struct settings *settings, const char *identity,
                     struct event_base *base, struct error *err) {
    *controller = (struct controller){.settings = settings, .base = base};
    if (!kubernetes_settings_read(settings, &controller->parsed, err)) {
        return false;
    }
    controller->client = kubernetes_client_connect(settings, base, err);
    return controller->client != NULL && open_parts(controller, identity, err);
}

void controller_close(struct controller *controller) {
    if (controller->heartbeat != NULL) {
        event_free(controller->heartbeat);
    }
    work_queue_close(controller->queue);
    lease_close(controller->lease);
    event_recorder_close(controller->recorder);
    for (int i = 0; i < WATCH_COUNT; i++) {
        kubernetes_watch_close(controller->watches[i]);
    }
    kubernetes_client_close(controller->client);
    kubernetes_settings_free(&controller->parsed);
    free(controller->api);
    free(controller->api_version);
}
