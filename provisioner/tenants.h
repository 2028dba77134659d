/* tenants.h - everybody who has an instance, or had one: the records in memory, in step with the database.
 *
 * A tenant is one (user, policy, context). Records are found by route key and, while there is an instance, by its id.
 */
#ifndef TERMINALS_PROVISIONER_TENANTS_H
#define TERMINALS_PROVISIONER_TENANTS_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "common/error.h"
#include "common/json.h"
#include "provisioner/provisioner.h"
#include "provisioner/store.h"

/* Who a request is for, checked. Texts are borrowed. */
struct tenant_name {
    const char *user_id;
    const char *policy_id;
    const char *context_id;
    char route_key[DIGEST_HEX_SIZE];
};

/* Somebody who waits for a start, a stop or a deletion; told once. `tenant` is NULL on errors and when it is deleted.
 */
typedef void waiter_function(void *argument, struct tenant *tenant, const struct error *err);
struct waiter {
    waiter_function *done;
    void *argument;
    struct waiter *next;
};

struct tenant {
    struct tenant_record record;     /* owns its strings */
    struct provisioner *provisioner; /* for timers, which have one argument */
    char *key;                       /* the instance's, in the clear, while there is one */
    char *progress;                  /* of a start that takes long, for people; NULL: nothing to say */
    UT_hash_handle by_route;
    UT_hash_handle by_instance; /* hashed while is_live */

    bool is_warm;          /* nobody's: kept ready for whoever comes (warm.h) */
    char *taken_by;        /* a warm one that is being handed to this user */
    bool has_row;          /* the database knows it */
    bool is_live;          /* an instance exists or may exist: the backend knows record.instance_id */
    bool is_being_adopted; /* it is a predecessor's, and nobody knows yet whether it runs */
    bool awaits_adoption;  /* and the backend has not even been asked */
    bool is_queued;        /* waits for its turn to start */
    bool is_starting;      /* counts against START_CONCURRENCY */
    bool awaits_room;      /* a start is wanted, and waits for a place (quota.h) */
    bool makes_room;       /* it is being stopped, if it can be, for somebody who waits for its place */
    bool is_draining;      /* idle: its route is gone, and it is stopped unless somebody comes */
    bool pre_stop_is_due;  /* it was running when its stop was begun (pre_stop.h) */
    bool is_warned;        /* its shells know that its lifetime ends (lifetime.h) */
    bool is_being_deleted;
    bool is_abandoned; /* its start took too long and is being undone: it ends in `error` */
    bool purge;        /* with the deletion */
    bool row_is_stale; /* the database would not take the last change; tried again */
    bool access_is_unsaved;

    int64_t last_active_ms; /* monotonic */
    /* When the gate last reported an exchange that it relays, and bytes of a shell; 0: never. Monotonic. */
    int64_t exchange_active_ms;
    int64_t shell_active_ms;
    bool has_requests; /* HAProxy was pushing requests of it when it was last asked */
    int64_t drain_began_ms;
    int64_t start_requested_ms;
    int64_t last_reset_ms;  /* the newest due time done with (Unix; resets.h); 0: none */
    int64_t reset_retry_ms; /* not before this (monotonic), after one that failed; 0: any time */
    struct event *start_timer;
    struct error *start_failure; /* what starts_look_again() is about; NULL: nothing */
    struct pre_stop *pre_stop;   /* under way, or NULL */
    struct instance_command *warning;

    struct json_object *actor;  /* who caused the start, stop or deletion under way, for the audit log */
    struct audit_row *stop_row; /* what the audit log is to say once the stop under way is done; NULL: nothing */

    struct waiter *start_waiters;
    struct waiter *stop_waiters;
    struct waiter *delete_waiters;
    struct tenant *prev, *next; /* in the queue of starts or of adoptions */
};

/* Whom warm instances belong to: no user, whose ids have no control characters. */
#define TENANT_WARM_USER "\001warm"

/* `for` over all tenants in order of creation, or over those with an instance. The tenant in hand may be removed in the
 * body; nobody else may. */
/* NOLINTBEGIN(bugprone-macro-parentheses): the second argument is declared here, and names no expression */
#define TENANTS_EACH(provisioner_, tenant_)                                                                            \
    for (struct tenant *tenant_ = (provisioner_)->tenants_by_route, *tenant_##_next = tenant_after(tenant_);           \
         tenant_ != NULL; tenant_ = tenant_##_next, tenant_##_next = tenant_after(tenant_))
#define TENANTS_EACH_LIVE(provisioner_, tenant_)                                                                       \
    for (struct tenant *tenant_ = (provisioner_)->tenants_by_instance, *tenant_##_next = tenant_after_live(tenant_);   \
         tenant_ != NULL; tenant_ = tenant_##_next, tenant_##_next = tenant_after_live(tenant_))
/* NOLINTEND(bugprone-macro-parentheses) */

/* When the gate last reported anything of it. */
static inline int64_t tenant_gate_active_ms(const struct tenant *tenant) {
    return tenant->exchange_active_ms > tenant->shell_active_ms ? tenant->exchange_active_ms : tenant->shell_active_ms;
}

static inline struct tenant *tenant_after(const struct tenant *tenant) {
    return tenant == NULL ? NULL : tenant->by_route.next;
}

static inline struct tenant *tenant_after_live(const struct tenant *tenant) {
    return tenant == NULL ? NULL : tenant->by_instance.next;
}

/* NULL: there is none. */
struct tenant *tenants_find(struct provisioner *provisioner, const char *route_key);
struct tenant *tenants_find_instance(struct provisioner *provisioner, const char *instance_id);

/* A new record, stopped, in memory only: its first start saves it. NULL with *err. */
struct tenant *tenants_add(struct provisioner *provisioner, const struct tenant_name *name, struct error *err);

/* Reads all tenants from the database. */
bool tenants_load(struct provisioner *provisioner, struct error *err);

/* Forgets a tenant (not its row) and frees it. It has no waiters any more. */
void tenants_remove(struct provisioner *provisioner, struct tenant *tenant);

/* At the end: tells everyone who still waits that it is over. */
void tenants_free_all(struct provisioner *provisioner);

/* Makes the change that `event` means and saves it; nothing is changed if that fails. For what is about to be done. */
bool tenant_begin(struct provisioner *provisioner, struct tenant *tenant, enum instance_event event, struct error *err);

/* The same for what has happened already: if the database does not take it, it is tried again later. */
void tenant_settle(struct provisioner *provisioner, struct tenant *tenant, enum instance_event event);

/* Saves the record as it is, and with it the audit rows that are staged (audit.h). */
bool tenant_save(struct provisioner *provisioner, struct tenant *tenant, struct error *err);

/* Gives the tenant a new instance id and key, or takes both away. */
bool tenant_new_instance(struct provisioner *provisioner, struct tenant *tenant, struct error *err);
bool tenant_set_key(struct provisioner *provisioner, struct tenant *tenant, const char *key, struct error *err);
/* Names the backend of today as the one that has the instance. */
bool tenant_set_backend(struct provisioner *provisioner, struct tenant *tenant, struct error *err);
void tenant_set_live(struct provisioner *provisioner, struct tenant *tenant, bool is_live);
/* What becoming not live does besides: key, address, reference and times go. */
void tenant_forget_instance(struct tenant *tenant);

/* NULL text clears it; an error message that does not fit into memory is lost, no more. */
void tenant_set_error(struct tenant *tenant, const char *text);
/* The same for how far its start has come. */
void tenant_set_progress(struct tenant *tenant, const char *text);
void tenant_set_actor(struct tenant *tenant, struct json_object *actor);

/* False: no memory, and `done` will not be called. */
bool waiter_add(struct waiter **list, waiter_function *done, void *argument);
/* Takes the list and tells everyone on it. */
void waiters_tell(struct waiter **list, struct tenant *tenant, const struct error *err);

/* The tenant as the API shows it, with what life.h says of it. NULL: no memory. */
struct json_object *tenant_to_json(const struct tenant *tenant);

#endif
