/* provisioner.h - what the parts of the provisioner share: one of everything, on one thread and one event loop. */
#ifndef TERMINALS_PROVISIONER_PROVISIONER_H
#define TERMINALS_PROVISIONER_PROVISIONER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/settings.h"
#include "provisioner/backend.h"
#include "provisioner/haproxy_runtime.h"
#include "provisioner/home_folder.h"
#include "provisioner/maps.h"
#include "provisioner/stats.h"
#include "provisioner/store.h"
#include "provisioner/vault.h"

struct tenant;
struct sweep;
struct identity;
struct ipc_server;
struct audit_row;
struct audit_retention;
struct backlog;
struct siem_queue;
struct stored_policy;
struct lifecycle;
struct refresh;
struct pre_stop;
struct room;
struct instance_command;
struct reset_run;
struct node;
struct remote_call;
struct survey;
struct survey_question;
struct stats_history;
struct problems;
struct gc;

struct provisioner {
    const struct settings *settings;
    struct event_base *base;
    char *run_dir;     /* absolute */
    struct node *node; /* NULL: alone */
    struct store *store;
    struct vault *vault;
    struct home_folders *homes; /* NULL where the backend has none */
    struct haproxy_runtime *haproxy;
    struct map *routes;
    struct map *identities;
    const struct backend_operations *operations;
    struct backend *backend;
    struct ipc_server *server;

    struct tenant *tenants_by_route;    /* in order of creation */
    struct tenant *tenants_by_instance; /* those with an instance */
    struct identity *api_keys;          /* identities.c */
    struct identity *users_tokens;
    struct event *identities_timer; /* pending while there are some */
    int64_t identities_swept_ms;
    bool identities_are_stale;      /* what another node has changed could not be read */
    struct stored_policy *policies; /* policies.c */
    size_t policies_bytes;
    struct lifecycle *lifecycles; /* lifecycles.c */

    bool warm_is_impossible; /* warm.c: it has been tried */
    int warm_failures;       /* handovers in a row that failed */

    struct tenant *start_queue; /* first come, first served */
    size_t queued_starts;
    size_t running_starts;
    bool queue_is_running; /* starts.c: no recursion */

    struct tenant *adoption_queue; /* those the backend has not been asked about yet */
    size_t adoptions_left;         /* all that are undecided */
    size_t running_adoptions;      /* those the backend is asked about now */
    bool queue_of_adoptions_is_running;
    bool is_swept;         /* the backend knows all there is, and has ended what nobody owns */
    bool routes_are_built; /* until then routes.map holds what the predecessor left */
    struct event *adoption_step;
    struct event *adoption_timer;

    struct event *flush_timer;
    struct event *sweep_timer;
    struct event *lifetime_timer;
    struct sweep *sweep; /* the one under way, or NULL */
    struct refresh *refreshes;
    struct room *rooms;          /* quota.c */
    struct reset_run *reset_run; /* the one under way, or NULL */

    struct audit_row *staged_audit; /* audit.h */
    size_t staged_audit_count;
    int64_t audit_retry_ms;            /* monotonic; until then the database is not asked for each event */
    struct backlog *backlog;           /* of what the database does not take */
    struct audit_retention *retention; /* NULL: rows are kept for ever */
    struct siem_queue *siem;           /* NULL: no webhook */

    struct remote_call *remote_calls; /* node_service.c: of other nodes, being served */
    struct survey *surveys;           /* survey.c: what the others are being asked */
    int64_t surveys_made;
    struct survey_question *survey_questions; /* that this node is being asked */
    int64_t not_idle_before_ms; /* monotonic; a node or an HAProxy is gone that may have served anybody until then */
    char (*known_others)[33];   /* that lived at the last survey */
    size_t known_others_count;
    struct gc *gc; /* the one under way, or NULL */

    bool is_closing;       /* callbacks of what is being closed do nothing */
    bool is_shutting_down; /* nothing is started any more */
    size_t stops_left;     /* of provisioner_stop_all() */
    struct event *shutdown_timer;

    int64_t changes; /* provisioner_note_change() */
    struct stats stats;
    struct stats_history *history;
    struct problems *problems;
};

/* A tenant or a policy is another than before (its times of access do not count): whoever shows them need not read
 * them again until this number is another. It goes on growing when a successor takes over, since it begins with the
 * time. */
static inline void provisioner_note_change(struct provisioner *provisioner) {
    provisioner->changes++;
}

/* Opens everything in the order in which it depends on each other; on failure *provisioner needs provisioner_close()
 * all the same. `settings` must outlive it, and so must `node`: the one that leads, or NULL where this is the only
 * provisioner of its database. */
bool provisioner_open(struct provisioner *provisioner, const struct settings *settings,
                      const struct backend_operations *operations, struct event_base *base, struct node *node,
                      struct error *err);

/* Opens the database, the encryption key and the tenants only: for what is done while no provisioner runs. The same
 * holds on failure. */
bool provisioner_open_state(struct provisioner *provisioner, const struct settings *settings,
                            const struct backend_operations *operations, struct node *node, struct error *err);

/* WebSockets that are open, on all nodes. */
int64_t provisioner_websockets(const struct provisioner *provisioner);

/* Saves what is unsaved and frees everything. Instances go on running. */
void provisioner_close(struct provisioner *provisioner);

/* Stops all instances, for so long as that takes or SHUTDOWN_TIMEOUT_SECONDS, then leaves the event loop. */
#define SHUTDOWN_TIMEOUT_SECONDS 20
void provisioner_stop_all(struct provisioner *provisioner);

#endif
