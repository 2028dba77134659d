/* kubernetes_terminal.h - the custom resource `Terminal`: what the provisioner asks for and terminals-operator makes
 * true.
 *
 * The group and version are settings; names and fields are upstream's. `spec` says what shall be; `status` what is, and
 * when the instance was last used. Of the status the operator writes all but `lastActivityAt`, the provisioner that one
 * alone (and `phase: Pending` where it wakes one); both by merge patches of the status subresource, so that neither
 * overwrites the other. The operator's say which version of the Terminal they are about, and fail if it has changed
 * since: what it says after a wake-up was decided after it. (`observedGeneration` would not tell: a wake-up is no
 * change of the spec, so the generation stays.) */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_TERMINAL_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/settings.h"
#include "provisioner/backends/kubernetes_manifest.h"
#include "provisioner/backends/kubernetes_watch.h"

#define KUBERNETES_TERMINALS     "terminals" /* in paths and in rules of RBAC */
#define KUBERNETES_TERMINAL_KIND "Terminal"

#define KUBERNETES_PHASE_PENDING      "Pending"
#define KUBERNETES_PHASE_PROVISIONING "Provisioning"
#define KUBERNETES_PHASE_RUNNING      "Running"
#define KUBERNETES_PHASE_IDLE         "Idle"
#define KUBERNETES_PHASE_ERROR        "Error"
/* The reason of the condition `Ready` where trying later may help: a quota, an API server that is busy. */
#define KUBERNETES_REASON_CAPACITY "NoCapacity"
/* Its reasons for what became of the pod of the Terminal's name, which whoever watches pods knows better: that it is
 * this one, and not the one before it. */
#define KUBERNETES_REASON_POD_ENDED "PodEnded"
#define KUBERNETES_REASON_POD_STUCK "PodCannotStart"

struct kubernetes_terminal {
    struct kubernetes_item item;
    struct json_object *json; /* all of it */
    /* Borrowed from that; NULL where there is none. */
    struct json_object *metadata;
    struct json_object *spec;
    struct json_object *status;
    bool is_going;      /* somebody deletes it, and a finalizer keeps it */
    int64_t created_ms; /* Unix time; of the resource */
    int64_t active_ms;  /* `lastActivityAt`; 0: never said */
};

/* "apis/<group>/<version>" and "<group>/<version>"; the caller frees it. NULL: no memory. */
char *kubernetes_terminals_api(const struct settings *settings);
char *kubernetes_terminals_api_version(const struct settings *settings);

/* All of the namespace. `api` is borrowed as long as the watch is open. Its items are struct kubernetes_terminal. */
struct kubernetes_watch_kind kubernetes_terminals_kind(const char *api);

/* NULL for NULL. */
const struct kubernetes_terminal *kubernetes_terminal_of(const struct kubernetes_item *item);
/* NULL: there is none of that name. Valid until the event loop goes on. */
const struct kubernetes_terminal *kubernetes_terminals_find(const struct kubernetes_watch *terminals, const char *name);

/* Of its status, "" where nothing is said. */
const char *kubernetes_terminal_phase(const struct kubernetes_terminal *terminal);

/* Whose it is: user and context of its spec, the policy of its label. Borrowed from it; `key` is "". user_id is NULL
 * where it says nobody. */
struct instance_spec kubernetes_terminal_identity(const struct kubernetes_terminal *terminal);

/* Whether it is for this user, policy and context. */
bool kubernetes_terminal_matches(const struct kubernetes_terminal *terminal, const struct instance_spec *spec);

/* What the operator is asked for. NULL with *err: what kubernetes_pod_manifest() would say too. */
struct json_object *kubernetes_terminal_manifest(const struct kubernetes_plan *plan, const char *api_version,
                                                 struct error *err);

/* {"status": {"lastActivityAt": …}}, a merge patch; with a `phase`, unless that is NULL. NULL: no memory. */
struct json_object *kubernetes_terminal_activity(int64_t unix_ms, const char *phase);

#endif
