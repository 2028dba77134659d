/* kubernetes_backend.h - an opened backend `kubernetes` or `kubernetes-operator`, shared by its parts. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_BACKEND_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_BACKEND_H

#include <event2/event.h>

#include "common/kubernetes_settings.h"
#include "common/settings.h"
#include "provisioner/backend.h"
#include "provisioner/backends/kubernetes_client.h"
#include "provisioner/backends/kubernetes_pods.h"

#define KUBERNETES_CALL_TIMEOUT_MS 30000

struct kubernetes_instance;
struct kubernetes_roundup;
struct kubernetes_purge;
struct kubernetes_unanswered;

struct backend {
    struct event_base *base;
    struct backend_events events;
    const struct settings *settings;
    struct kubernetes_settings parsed;
    struct kubernetes_client *client;
    struct kubernetes_watch *pods;
    bool has_operator;                  /* instances are Terminal resources, and terminals-operator makes the rest */
    struct kubernetes_watch *terminals; /* these four only with an operator */
    char *terminals_api;
    char *terminals_version;
    struct event *touch_timer;
    struct kubernetes_roundup *roundup;
    struct kubernetes_purge *purges;
    struct kubernetes_unanswered *unanswered;
    struct kubernetes_instance *instances; /* by instance id */
    unsigned round;                        /* counts the walks over all instances */
    unsigned freed;                        /* counts what was taken from the table */
    struct kubernetes_instance *holders;   /* by name: whose pod, or what is left of it, has the name now */
};

/* Of all that is watched: UP if each of them is, AWAY if one is. */
enum kubernetes_link_state kubernetes_link_state(const struct backend *backend);
void kubernetes_away_error(const struct backend *backend, struct error *err); /* why it is not UP */

#endif
