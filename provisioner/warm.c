#include "provisioner/warm.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/names.h"
#include "provisioner/audit.h"
#include "provisioner/lifetime.h"
#include "provisioner/policies.h"
#include "provisioner/starts.h"
#include "provisioner/stops.h"

#define CONTEXT_RANDOM_BYTES 16

/* --- keeping them ready ---------------------------------------------------------------------------------------------
 */

static int64_t wanted(const struct provisioner *provisioner, const struct stored_policy *stored) {
    return stored == NULL || stored->problem != NULL || provisioner->warm_is_impossible ? 0 : stored->policy.warm;
}

static bool is_of_today(const struct tenant *tenant) {
    /* While it waits for its turn it has no hash: it takes the policy as it is then. */
    return tenant->is_queued ||
           !policies_is_outdated(tenant->provisioner, tenant->record.policy_id, tenant->record.policy_hash);
}

static void on_ended(void *argument, struct tenant *tenant, const struct error *err) {
    (void)argument;
    (void)tenant;
    if (err != NULL) {
        log_warning(NULL, "end a warm instance: %s", err->message);
    }
}

/* Counts what is there and ends what should not be. */
static void review(struct provisioner *provisioner) {
    for (struct stored_policy *stored = provisioner->policies; stored != NULL; stored = stored->hh.next) {
        stored->warm_present = 0;
    }
    TENANTS_EACH(provisioner, tenant) {
        bool is_on_its_way = tenant->taken_by != NULL && tenant->is_live;
        if (!tenant->is_warm || tenant->is_being_deleted || is_on_its_way) {
            continue;
        }
        struct stored_policy *stored = policies_find(provisioner, tenant->record.policy_id, NULL);
        bool is_present = tenant->record.status == INSTANCE_RUNNING || tenant->record.status == INSTANCE_PROVISIONING;
        if (stored != NULL && is_present && is_of_today(tenant) &&
            (int64_t)stored->warm_present < wanted(provisioner, stored)) {
            stored->warm_present++;
        } else if (!tenant->is_being_adopted && tenant->record.status != INSTANCE_STOPPING) {
            stops_want_deletion(provisioner, tenant, false, NULL, on_ended, NULL);
        } else if (tenant->record.status == INSTANCE_STOPPING) {
            tenant->is_being_deleted = true; /* its row goes when it has stopped */
        }
    }
}

static void on_started(void *argument, struct tenant *tenant, const struct error *err) {
    struct provisioner *provisioner = argument;
    (void)tenant;
    if (err == NULL || provisioner->is_closing || provisioner->is_shutting_down) {
        return;
    }
    if (err->code == ERROR_CONFLICT) {
        provisioner->warm_is_impossible = true;
        log_error(NULL, "no warm instances are kept: %s", err->message);
    }
}

static bool start_one(struct provisioner *provisioner, struct stored_policy *stored, struct error *err) {
    char context_id[2 * CONTEXT_RANDOM_BYTES + 1];
    struct tenant_name name = {.user_id = TENANT_WARM_USER, .policy_id = stored->policy.id, .context_id = context_id};
    if (!digest_random_hex(CONTEXT_RANDOM_BYTES, context_id) ||
        !name_route_key(name.user_id, name.policy_id, name.context_id, name.route_key)) {
        return error_set(err, ERROR_INTERNAL, "no random bytes");
    }
    struct tenant *tenant = tenants_add(provisioner, &name, err);
    if (tenant == NULL) {
        return false;
    }
    /* Until it runs; another failure, and the next try, is half a minute away. */
    stored->warm_present++;
    starts_want(provisioner, tenant, NULL, on_started, provisioner);
    return true;
}

static size_t count_starting(const struct provisioner *provisioner) {
    size_t count = 0;
    TENANTS_EACH_LIVE(provisioner, tenant) {
        count += tenant->is_warm && tenant->record.status == INSTANCE_PROVISIONING;
    }
    return count;
}

/* Those whose last start has failed: their policy waits a while. */
static void note_failures(struct provisioner *provisioner, int64_t now_ms) {
    TENANTS_EACH(provisioner, tenant) {
        if (tenant->is_warm && tenant->record.status == INSTANCE_ERROR && !tenant->is_being_deleted) {
            struct stored_policy *stored = policies_find(provisioner, tenant->record.policy_id, NULL);
            if (stored != NULL) {
                stored->warm_retry_ms = now_ms + WARM_RETRY_MS;
            }
        }
    }
}

/* Also room for users: what is kept warm never takes the last places of TERMINALS_MAX_INSTANCES from who runs. */
static bool has_room(const struct provisioner *provisioner) {
    int64_t limit = provisioner->settings->max_instances;
    return limit == 0 || (int64_t)HASH_CNT(by_instance, provisioner->tenants_by_instance) < limit;
}

void warm_tend(struct provisioner *provisioner) {
    int64_t now_ms = clock_monotonic_ms();
    struct error err;
    if (provisioner->is_closing || provisioner->is_shutting_down || !provisioner->routes_are_built ||
        provisioner->operations->hand_over == NULL) {
        return;
    }
    note_failures(provisioner, now_ms);
    review(provisioner);
    size_t starting = count_starting(provisioner);
    for (struct stored_policy *stored = provisioner->policies; stored != NULL; stored = stored->hh.next) {
        while ((int64_t)stored->warm_present < wanted(provisioner, stored) && stored->warm_retry_ms <= now_ms &&
               starting < WARM_STARTS_AT_ONCE && provisioner->queued_starts == 0 && has_room(provisioner)) {
            if (!start_one(provisioner, stored, &err)) {
                log_warning(NULL, "start a warm instance of policy `%s`: %s", stored->policy.id, err.message);
                return;
            }
            starting++;
        }
    }
}

/* --- handing over ---------------------------------------------------------------------------------------------------
 */

struct handover {
    struct provisioner *provisioner;
    char instance_id[33];            /* of the warm one */
    char route_key[DIGEST_HEX_SIZE]; /* whose it is to be */
    char *home;
    struct stat home_status; /* as it was given to the backend */
    struct json_object *actor;
    void (*done)(void *argument, bool is_running);
    void *argument;
};

static void finish(struct handover *handover, bool is_running) {
    struct provisioner *provisioner = handover->provisioner;
    provisioner->stats.warm_hits += is_running;
    provisioner->stats.warm_misses += !is_running;
    handover->done(handover->argument, is_running);
    json_object_put(handover->actor);
    free(handover->home);
    free(handover);
    warm_tend(provisioner);
}

/* It is not handed over: it ends, since a folder may be in it. */
static void give_up(struct handover *handover, const char *why) {
    struct provisioner *provisioner = handover->provisioner;
    struct tenant *warm = tenants_find_instance(provisioner, handover->instance_id);
    if (why != NULL) {
        log_warning(json_get_string(handover->actor, "request_id"), "hand over a warm instance: %s", why);
    }
    if (warm != NULL && warm->is_warm && warm->record.status == INSTANCE_STOPPING) {
        warm->is_being_deleted = true;
        provisioner->operations->stop(provisioner->backend, handover->instance_id);
    }
    finish(handover, false);
}

/* Writes both rows. The warm tenant's key, address and all are the user's then. */
static bool save_move(struct provisioner *provisioner, struct tenant *tenant, const struct tenant *warm,
                      struct json_object *actor, struct error *err) {
    struct audit_row *created = NULL;
    if (!tenant->has_row) {
        created = audit_stage(provisioner, audit_row_of_tenant(tenant, "tenant_created", NULL, NULL, actor));
    }
    struct audit_row *started =
        audit_stage(provisioner, audit_row_of_tenant(tenant, "tenant_started", NULL, "it was kept warm", actor));
    tenant->record.updated_at_ms = clock_unix_ms();
    /* The warm one's row goes first: an instance is in one row only. */
    if (store_begin(provisioner->store, err) &&
        store_end(provisioner->store,
                  store_delete_tenant(provisioner->store, warm->record.id, err) &&
                      store_save_tenant(provisioner->store, &tenant->record, err) &&
                      audit_write_staged(provisioner, err),
                  err)) {
        audit_staged_written(provisioner);
        tenant->has_row = true;
        tenant->row_is_stale = tenant->access_is_unsaved = false;
        return true;
    }
    audit_unstage(provisioner, started);
    audit_unstage(provisioner, created);
    return false;
}

/* What of the record an instance is. */
static bool copy_instance(struct provisioner *provisioner, struct tenant *tenant, const struct tenant *warm,
                          struct error *err) {
    struct tenant_record *record = &tenant->record;
    char *reference = warm->record.backend_reference == NULL ? NULL : strdup(warm->record.backend_reference);
    if ((reference == NULL && warm->record.backend_reference != NULL) ||
        !tenant_set_backend(provisioner, tenant, err) || !tenant_set_key(provisioner, tenant, warm->key, err)) {
        free(reference);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    free(record->backend_reference);
    record->backend_reference = reference;
    memcpy(record->instance_id, warm->record.instance_id, sizeof record->instance_id);
    memcpy(record->host, warm->record.host, sizeof record->host);
    memcpy(record->policy_hash, warm->record.policy_hash, sizeof record->policy_hash);
    record->port = warm->record.port;
    tenant_set_error(tenant, NULL);
    return true;
}

/* The instance becomes the tenant's. */
static bool move(struct provisioner *provisioner, struct tenant *tenant, struct tenant *warm, struct json_object *actor,
                 struct error *err) {
    enum instance_state before = tenant->record.status;
    if (!copy_instance(provisioner, tenant, warm, err)) {
        tenant_forget_instance(tenant);
        return false;
    }
    lifetime_begin(tenant);
    if (!instance_next_state(before, INSTANCE_START, &tenant->record.status) ||
        !instance_next_state(tenant->record.status, INSTANCE_READY, &tenant->record.status) ||
        !save_move(provisioner, tenant, warm, actor, err)) {
        tenant->record.status = before;
        tenant_forget_instance(tenant);
        return false;
    }
    tenants_remove(provisioner, warm);
    tenant_set_live(provisioner, tenant, true);
    return true;
}

/* A reset or a purge may have put the folder away meanwhile: what is in the instance then is not the home any more. */
static bool home_is_the_same(const struct handover *handover) {
    struct stat status;
    return lstat(handover->home, &status) == 0 && status.st_ino == handover->home_status.st_ino &&
           status.st_dev == handover->home_status.st_dev;
}

/* Whether the start is still wanted. */
static struct tenant *find_taker(const struct handover *handover) {
    struct tenant *tenant = tenants_find(handover->provisioner, handover->route_key);
    bool wants = tenant != NULL && tenant->awaits_room && !tenant->is_being_deleted && tenant->start_waiters != NULL &&
                 !tenant->is_live;
    return wants ? tenant : NULL;
}

static void on_handed_over(void *argument, const struct error *err) {
    struct handover *handover = argument;
    struct provisioner *provisioner = handover->provisioner;
    struct error failure;
    if (provisioner->is_closing) {
        finish(handover, false);
        return;
    }
    struct tenant *warm = tenants_find_instance(provisioner, handover->instance_id);
    struct tenant *tenant = find_taker(handover);
    provisioner->warm_failures = err == NULL ? 0 : provisioner->warm_failures + 1;
    if (err != NULL && provisioner->warm_failures == WARM_FAILURES_MAX) {
        provisioner->warm_is_impossible = true;
        log_error(NULL, "no more instances are kept warm: %s", err->message);
    }
    if (err != NULL || warm == NULL || tenant == NULL) {
        give_up(handover, err == NULL ? NULL : err->message);
    } else if (!home_is_the_same(handover)) {
        give_up(handover, "its home was put away meanwhile");
    } else if (!move(provisioner, tenant, warm, handover->actor, &failure)) {
        give_up(handover, failure.message);
    } else {
        finish(handover, true);
    }
}

static void on_checked(void *argument, bool alive) {
    struct handover *handover = argument;
    struct provisioner *provisioner = handover->provisioner;
    struct error err = {0};
    struct tenant *warm = provisioner->is_closing ? NULL : tenants_find_instance(provisioner, handover->instance_id);
    struct tenant *tenant = warm == NULL ? NULL : find_taker(handover);
    /* Nobody loses anything by its end, while one that is only silent for now would be taken again and again. */
    if (!alive && warm != NULL && warm->record.status == INSTANCE_RUNNING &&
        tenant_begin(provisioner, warm, INSTANCE_STOP, &err)) {
        give_up(handover, "it does not answer");
        return;
    }
    if (!alive || tenant == NULL || warm->record.status != INSTANCE_RUNNING) {
        if (warm != NULL) { /* nobody wants it any more: it is as good as before */
            free(warm->taken_by);
            warm->taken_by = NULL;
        }
        finish(handover, false);
        return;
    }
    const struct tenant_record *record = &tenant->record;
    const struct policy *policy = policies_usable(provisioner, record->policy_id, &err);
    handover->home = policy == NULL ? NULL
                                    : home_folder_create(provisioner->homes, record->user_id, record->policy_id,
                                                         record->context_id, &err);
    bool has_home = handover->home != NULL && lstat(handover->home, &handover->home_status) == 0;
    if (!tenant_begin(provisioner, warm, INSTANCE_STOP, &err) || !has_home) {
        give_up(handover, err.message);
        return;
    }
    const struct instance_spec spec = {
        .instance_id = warm->record.instance_id,
        .instance_name = record->instance_name,
        .user_id = record->user_id,
        .policy_id = record->policy_id,
        .context_id = record->context_id,
        .key = warm->key,
        .home = handover->home,
        .policy = policy,
    };
    provisioner->operations->hand_over(provisioner->backend, &spec, on_handed_over, handover);
}

static struct tenant *find_ready(struct provisioner *provisioner, const char *policy_id) {
    TENANTS_EACH_LIVE(provisioner, tenant) {
        if (tenant->is_warm && tenant->record.status == INSTANCE_RUNNING && !tenant->is_being_adopted &&
            tenant->taken_by == NULL && !tenant->makes_room && strcmp(tenant->record.policy_id, policy_id) == 0 &&
            is_of_today(tenant)) {
            return tenant;
        }
    }
    return NULL;
}

bool warm_take(struct provisioner *provisioner, const struct tenant *tenant, struct json_object *actor,
               void (*done)(void *argument, bool is_running), void *argument) {
    const struct stored_policy *stored = policies_find(provisioner, tenant->record.policy_id, NULL);
    if (wanted(provisioner, stored) == 0 || provisioner->operations->hand_over == NULL || provisioner->homes == NULL) {
        return false;
    }
    struct tenant *warm = find_ready(provisioner, tenant->record.policy_id);
    struct handover *handover = warm == NULL ? NULL : calloc(1, sizeof *handover);
    if (handover != NULL) {
        warm->taken_by = strdup(tenant->record.user_id);
    }
    if (handover == NULL || warm->taken_by == NULL) {
        free(handover);
        provisioner->stats.warm_misses++;
        return false;
    }
    *handover = (struct handover){
        .provisioner = provisioner, .actor = json_object_get(actor), .done = done, .argument = argument};
    memcpy(handover->instance_id, warm->record.instance_id, sizeof handover->instance_id);
    memcpy(handover->route_key, tenant->record.route_key, sizeof handover->route_key);
    provisioner->operations->check(provisioner->backend, handover->instance_id, on_checked, handover);
    return true;
}

struct json_object *warm_starts_json(const struct provisioner *provisioner) {
    int64_t ready = 0;
    TENANTS_EACH_LIVE(provisioner, tenant) {
        ready += tenant->is_warm && tenant->record.status == INSTANCE_RUNNING && tenant->taken_by == NULL;
    }
    struct json_object *object = json_object_new_object();
    if (object == NULL ||
        !(json_add_int(object, "ready", ready) && json_add_int(object, "hits", provisioner->stats.warm_hits) &&
          json_add_int(object, "misses", provisioner->stats.warm_misses))) {
        json_object_put(object);
        return NULL;
    }
    return object;
}
