/* controller.h - terminals-operator: makes true what `Terminal` resources say, and nothing else.
 *
 * Level-triggered: whatever happens to a Terminal, or to an object of its name, puts the name into a queue
 * (work_queue.h); who takes it out compares what is with what shall be, and does one thing after the other
 * (reconcile.h). What is, comes from five watches, so that nothing is asked of the API server for it. One of several
 * operators leads (lease.h); the others watch, too, and are ready. All on one thread and one event loop. */
#ifndef TERMINALS_PROVISIONER_OPERATOR_CONTROLLER_H
#define TERMINALS_PROVISIONER_OPERATOR_CONTROLLER_H

#include <event2/event.h>

#include "common/kubernetes_settings.h"
#include "common/settings.h"
#include "provisioner/backends/kubernetes_client.h"
#include "provisioner/backends/kubernetes_watch.h"
#include "provisioner/operator/event_recorder.h"
#include "provisioner/operator/lease.h"
#include "provisioner/operator/work_queue.h"

#define CONTROLLER_CALL_TIMEOUT_MS 30000

enum controller_watch { WATCH_TERMINALS, WATCH_PODS, WATCH_SERVICES, WATCH_SECRETS, WATCH_CLAIMS, WATCH_COUNT };

struct controller {
    const struct settings *settings;
    struct kubernetes_settings parsed;
    struct event_base *base;
    char *api;         /* of Terminals: "apis/<group>/<version>" */
    char *api_version; /* "<group>/<version>" */
    struct kubernetes_client *client;
    struct kubernetes_watch *watches[WATCH_COUNT];
    struct lease *lease;
    struct work_queue *queue;
    struct event_recorder *recorder;
    struct event *heartbeat;
    bool has_no_heartbeat; /* it could not be written, which has been said */
};

/* `settings` and `base` must outlive it. `identity` tells operators apart: the name of the pod. False with *err; to be
 * closed all the same. */
bool controller_open(struct controller *controller, const struct settings *settings, const char *identity,
                     struct event_base *base, struct error *err);
void controller_close(struct controller *controller);

#endif
