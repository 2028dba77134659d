#include "provisioner/starts.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/activity.h"
#include "provisioner/adoption.h"
#include "provisioner/audit.h"
#include "provisioner/policies.h"
#include "provisioner/quota.h"
#include "provisioner/routes.h"
#include "provisioner/stops.h"
#include "provisioner/warm.h"

#define LOOK_AGAIN_SECONDS 1

static void launch(struct provisioner *provisioner, struct tenant *tenant) {
    const struct tenant_record *record = &tenant->record;
    struct error err;
    cleanup_free char *home = NULL;
    tenant->is_starting = true;
    provisioner->running_starts++;
    const struct policy *policy = policies_usable(provisioner, record->policy_id, &err);
    if (policy == NULL) {
        starts_failed(provisioner, tenant, &err);
        return;
    }
    /* As it is now, and not when the tenant came into the queue; `created` saves it. */
    memcpy(tenant->record.policy_hash, policy->hash, sizeof tenant->record.policy_hash);
    if (provisioner->homes != NULL && !tenant->is_warm) {
        home = home_folder_create(provisioner->homes, record->user_id, record->policy_id, record->context_id, &err);
        if (home == NULL) {
            starts_failed(provisioner, tenant, &err);
            return;
        }
    }
    const struct instance_spec spec = {
        .instance_id = record->instance_id,
        .instance_name = record->instance_name,
        .user_id = record->user_id,
        .policy_id = record->policy_id,
        .context_id = record->context_id,
        .key = tenant->key,
        .home = home,
        .policy = policy,
    };
    provisioner->operations->start(provisioner->backend, &spec);
}

/* Launches what waits while there are places. A launch may end at once and come back here: the loop that is already
 * running then goes on, and nothing recurses. */
static void run_queue(struct provisioner *provisioner) {
    if (provisioner->queue_is_running) {
        return;
    }
    provisioner->queue_is_running = true;
    while (provisioner->start_queue != NULL &&
           provisioner->running_starts < (size_t)provisioner->settings->start_concurrency) {
        struct tenant *tenant = provisioner->start_queue;
        DL_DELETE(provisioner->start_queue, tenant);
        provisioner->queued_starts--;
        tenant->is_queued = false;
        launch(provisioner, tenant);
    }
    provisioner->queue_is_running = false;
}

void starts_leave(struct provisioner *provisioner, struct tenant *tenant) {
    tenant_set_progress(tenant, NULL);
    if (tenant->start_timer != NULL) {
        event_free(tenant->start_timer);
        tenant->start_timer = NULL;
    }
    free(tenant->start_failure);
    tenant->start_failure = NULL;
    if (tenant->is_queued) {
        DL_DELETE(provisioner->start_queue, tenant);
        provisioner->queued_starts--;
        tenant->is_queued = false;
    }
    if (tenant->is_starting) {
        tenant->is_starting = false;
        provisioner->running_starts--;
        run_queue(provisioner);
    }
}

/* What is to end before the start does not: nothing is begun, and whoever comes next waits anew. */
static void stop_awaiting_the_end(struct provisioner *provisioner, struct tenant *tenant) {
    struct error err;
    error_set(&err, ERROR_TIMEOUT, "the instance has not stopped within %lld s, and is not started before it has",
              (long long)provisioner->settings->start_timeout_seconds);
    log_warning(NULL, "start instance %s: %s", tenant->record.instance_name, err.message);
    starts_leave(provisioner, tenant);
    waiters_tell(&tenant->start_waiters, NULL, &err);
}

static void on_timeout(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct tenant *tenant = argument;
    struct provisioner *provisioner = tenant->provisioner;
    struct error err;
    if (tenant->record.status == INSTANCE_STOPPING) {
        stop_awaiting_the_end(provisioner, tenant);
        return;
    }
    if (tenant->start_failure != NULL) {
        err = *tenant->start_failure;
    } else {
        error_set(&err, ERROR_TIMEOUT, "the instance was not ready within %lld s%s",
                  (long long)provisioner->settings->start_timeout_seconds,
                  tenant->is_queued ? ", which it spent waiting for its turn" : "");
    }
    if (tenant->is_queued) {
        starts_failed(provisioner, tenant, &err);
    } else {
        stops_abandon_start(provisioner, tenant, &err);
    }
}

/* One that was adopted has none yet. */
static bool set_timer(struct provisioner *provisioner, struct tenant *tenant, int64_t seconds) {
    const struct timeval timeout = {.tv_sec = seconds};
    if (tenant->start_timer == NULL) {
        tenant->start_timer = event_new(provisioner->base, -1, 0, on_timeout, tenant);
    }
    return tenant->start_timer != NULL && event_add(tenant->start_timer, &timeout) == 0;
}

void starts_look_again(struct provisioner *provisioner, struct tenant *tenant, const struct error *failure) {
    if (tenant->start_failure == NULL && (tenant->start_failure = malloc(sizeof *failure)) != NULL) {
        *tenant->start_failure = *failure;
    }
    if (tenant->start_failure == NULL || !set_timer(provisioner, tenant, LOOK_AGAIN_SECONDS)) {
        log_error(NULL, "instance %s: its start stays as it is: out of memory", tenant->record.instance_name);
    }
}

/* All that a start needs before the backend is asked; nothing is begun if it fails. */
static bool prepare(struct provisioner *provisioner, struct tenant *tenant, struct json_object *actor,
                    struct error *err) {
    if (provisioner->is_shutting_down) {
        return error_set(err, ERROR_CAPACITY, "Terminals is shutting down");
    }
    if (provisioner->running_starts >= (size_t)provisioner->settings->start_concurrency &&
        provisioner->queued_starts >= STARTS_QUEUE_MAX) {
        return error_set(err, ERROR_CAPACITY, "%zu instances are waiting to start already: try again later",
                         provisioner->queued_starts);
    }
    if (policies_usable(provisioner, tenant->record.policy_id, err) == NULL ||
        !tenant_new_instance(provisioner, tenant, err)) {
        return false;
    }
    if (!set_timer(provisioner, tenant, provisioner->settings->start_timeout_seconds)) {
        starts_leave(provisioner, tenant);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    struct audit_row *row = NULL;
    if (!tenant->has_row) {
        row = audit_stage(provisioner, audit_row_of_tenant(tenant, "tenant_created", NULL, NULL, actor));
    }
    if (!tenant_begin(provisioner, tenant, INSTANCE_START, err)) {
        audit_unstage(provisioner, row);
        starts_leave(provisioner, tenant);
        return false;
    }
    return true;
}

/* Nothing was begun. The tenant is gone afterwards if it never existed in the database. */
static void refuse(struct provisioner *provisioner, struct tenant *tenant, const char *request_id,
                   const struct error *err) {
    bool is_new = !tenant->has_row;
    log_error(request_id, "start instance %s: %s", tenant->record.instance_name, err->message);
    waiters_tell(&tenant->start_waiters, NULL, err);
    if (is_new) {
        tenants_remove(provisioner, tenant);
    }
}

static void begin(struct provisioner *provisioner, struct tenant *tenant, struct json_object *actor) {
    struct error err;
    if (!prepare(provisioner, tenant, actor, &err)) {
        stats_start_failed(&provisioner->stats, err.code);
        refuse(provisioner, tenant, json_get_string(actor, "request_id"), &err);
        return;
    }
    tenant_set_live(provisioner, tenant, true);
    tenant_set_actor(tenant, actor);
    tenant->start_requested_ms = clock_monotonic_ms();
    tenant->is_queued = true;
    DL_APPEND(provisioner->start_queue, tenant);
    provisioner->queued_starts++;
    run_queue(provisioner);
}

/* A start that waits, for room or for a warm instance. */
struct waiting_start {
    struct provisioner *provisioner;
    char route_key[DIGEST_HEX_SIZE]; /* the tenant may vanish meanwhile */
    struct json_object *actor;
    int64_t began_ms;
};

static struct waiting_start *waiting_start_new(struct provisioner *provisioner, const struct tenant *tenant,
                                               struct json_object *actor) {
    struct waiting_start *start = calloc(1, sizeof *start);
    if (start != NULL) {
        *start = (struct waiting_start){.provisioner = provisioner, .began_ms = clock_monotonic_ms()};
        memcpy(start->route_key, tenant->record.route_key, sizeof start->route_key);
        start->actor = json_object_get(actor);
    }
    return start;
}

static void waiting_start_free(struct waiting_start *start) {
    json_object_put(start->actor);
    free(start);
}

/* The waiting is over. NULL: nobody wants the start any more, or its deletion, when it ends, sees to who came since. */
static struct tenant *waiting_start_end(const struct waiting_start *start) {
    struct provisioner *provisioner = start->provisioner;
    struct tenant *tenant = provisioner->is_closing ? NULL : tenants_find(provisioner, start->route_key);
    if (tenant == NULL || !tenant->awaits_room) {
        return NULL;
    }
    tenant->awaits_room = false;
    if (!tenant->is_being_deleted && tenant->start_waiters == NULL && !tenant->has_row) {
        tenants_remove(provisioner, tenant);
        return NULL;
    }
    return tenant->is_being_deleted || tenant->start_waiters == NULL ? NULL : tenant;
}

static void on_room_made(void *argument, const struct error *err) {
    struct waiting_start *start = argument;
    struct tenant *tenant = waiting_start_end(start);
    if (tenant != NULL && err != NULL) {
        refuse(start->provisioner, tenant, json_get_string(start->actor, "request_id"), err);
    } else if (tenant != NULL) {
        starts_begin(start->provisioner, tenant, start->actor);
    }
    waiting_start_free(start);
}

static void make_room(struct provisioner *provisioner, struct tenant *tenant, struct json_object *actor) {
    struct waiting_start *start = waiting_start_new(provisioner, tenant, actor);
    if (start == NULL) {
        struct error err;
        error_set(&err, ERROR_INTERNAL, "out of memory");
        refuse(provisioner, tenant, json_get_string(actor, "request_id"), &err);
        return;
    }
    tenant->awaits_room = true;
    quota_make_room(provisioner, tenant, actor, on_room_made, start);
}

static void begin_cold(struct provisioner *provisioner, struct tenant *tenant, struct json_object *actor) {
    if (quota_has_room(provisioner, tenant)) {
        begin(provisioner, tenant, actor);
    } else {
        make_room(provisioner, tenant, actor);
    }
}

static void on_warm_taken(void *argument, bool is_running) {
    struct waiting_start *start = argument;
    struct tenant *tenant = waiting_start_end(start);
    struct provisioner *provisioner = start->provisioner;
    if (tenant != NULL && is_running) {
        int64_t duration_ms = clock_monotonic_ms() - start->began_ms;
        stats_warm_start_succeeded(&provisioner->stats, duration_ms);
        log_info(json_get_string(start->actor, "request_id"), "instance %s was warm, and handed over in %lld ms",
                 tenant->record.instance_name, (long long)duration_ms);
        activity_touch(tenant, clock_monotonic_ms());
        route_publish(provisioner, tenant);
        waiters_tell(&tenant->start_waiters, tenant, NULL);
    } else if (tenant != NULL) {
        begin_cold(provisioner, tenant, start->actor);
    }
    waiting_start_free(start);
}

/* False: there is no warm instance for it. */
static bool take_warm(struct provisioner *provisioner, struct tenant *tenant, struct json_object *actor) {
    struct waiting_start *start = waiting_start_new(provisioner, tenant, actor);
    if (start == NULL) {
        return false;
    }
    tenant->awaits_room = true;
    if (!warm_take(provisioner, tenant, actor, on_warm_taken, start)) {
        tenant->awaits_room = false;
        waiting_start_free(start);
        return false;
    }
    return true;
}

void starts_begin(struct provisioner *provisioner, struct tenant *tenant, struct json_object *actor) {
    if (tenant->awaits_room) {
        return; /* it begins as soon as there is room */
    }
    if (tenant->is_warm) {
        begin(provisioner, tenant, actor); /* nobody's, so that no user's limit holds; warm.c looks at the other */
    } else if (!quota_has_room_for_user(provisioner, tenant) || !take_warm(provisioner, tenant, actor)) {
        begin_cold(provisioner, tenant, actor);
    }
}

/* It is stopping, and starts when that is done: nobody waits for that longer than for a start, and not at all while
 * what it runs on is away. */
static void await_end(struct provisioner *provisioner, struct tenant *tenant) {
    const struct backend_operations *operations = provisioner->operations;
    struct error err;
    bool is_in_vain = operations->is_away != NULL && operations->is_away(provisioner->backend, &err);
    bool has_timer = tenant->start_timer != NULL && evtimer_pending(tenant->start_timer, NULL) != 0;
    if (!is_in_vain && !has_timer && !set_timer(provisioner, tenant, provisioner->settings->start_timeout_seconds)) {
        error_set(&err, ERROR_INTERNAL, "out of memory");
        is_in_vain = true;
    }
    if (is_in_vain) {
        waiters_tell(&tenant->start_waiters, NULL, &err);
    }
}

void starts_want(struct provisioner *provisioner, struct tenant *tenant, struct json_object *actor,
                 waiter_function *done, void *argument) {
    struct error err;
    if (provisioner->is_shutting_down) {
        error_set(&err, ERROR_CAPACITY, "Terminals is shutting down");
        done(argument, NULL, &err);
        return;
    }
    if (tenant->record.status == INSTANCE_RUNNING && !tenant->is_being_adopted) {
        tenant->is_draining = false;
        activity_touch(tenant, clock_monotonic_ms());
        route_publish(provisioner, tenant);
        done(argument, tenant, NULL);
        return;
    }
    if (!waiter_add(&tenant->start_waiters, done, argument)) {
        error_set(&err, ERROR_INTERNAL, "out of memory");
        done(argument, NULL, &err);
        return;
    }
    adoption_hurry(provisioner, tenant);
    if (tenant->record.status == INSTANCE_STOPPING) {
        await_end(provisioner, tenant);
    }
    bool is_at_rest = tenant->record.status == INSTANCE_STOPPED || tenant->record.status == INSTANCE_ERROR;
    if (is_at_rest && !tenant->is_being_deleted) {
        starts_begin(provisioner, tenant, actor);
    }
}

void starts_succeeded(struct provisioner *provisioner, struct tenant *tenant) {
    int64_t duration_ms = clock_monotonic_ms() - tenant->start_requested_ms;
    if (!tenant->is_warm) {
        stats_start_succeeded(&provisioner->stats, duration_ms);
    }
    log_info(json_get_string(tenant->actor, "request_id"), "instance %s started in %lld ms at %s port %u",
             tenant->record.instance_name, (long long)duration_ms, tenant->record.host, tenant->record.port);
    tenant_set_actor(tenant, NULL);
    activity_touch(tenant, clock_monotonic_ms());
    route_publish(provisioner, tenant);
    waiters_tell(&tenant->start_waiters, tenant, NULL);
    starts_leave(provisioner, tenant);
}

void starts_failed(struct provisioner *provisioner, struct tenant *tenant, const struct error *err) {
    log_error(json_get_string(tenant->actor, "request_id"), "start instance %s: %s", tenant->record.instance_name,
              err->message);
    stats_start_failed(&provisioner->stats, err->code);
    tenant_set_error(tenant, err->message);
    tenant_set_live(provisioner, tenant, false);
    tenant_settle(provisioner, tenant, INSTANCE_FAILED);
    tenant_set_actor(tenant, NULL);
    waiters_tell(&tenant->start_waiters, NULL, err);
    starts_leave(provisioner, tenant);
}
