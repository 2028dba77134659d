#include "provisioner/resets.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "provisioner/audit.h"
#include "provisioner/lifecycles.h"
#include "provisioner/node.h"
#include "provisioner/stops.h"
#include "provisioner/tenant_batch.h"
#include "provisioner/tenant_files.h"

#define MARK_PREFIX "reset-"
#define UUID_LENGTH 36

struct reset_waiter {
    resets_done *done;
    void *argument;
    struct reset_waiter *next;
};

/* Files that a backend is removing. */
struct reset_purge {
    struct reset_run *run;
    char route_key[DIGEST_HEX_SIZE];
    int64_t due;
    struct reset_purge *prev, *next;
};

struct reset_run {
    struct provisioner *provisioner;
    struct tenant_batch *batch;
    struct resets_result result;
    struct event *timer;
    struct reset_waiter *waiters;
    struct reset_purge *purges;
};

/* --- what is due -------------------------------------------------------------------------------------------------- */

/* The due time of a tenant's reset, 0 if none is due. */
static int64_t due_ms(struct tenant *tenant, int64_t now_ms) {
    int64_t due = lifecycles_due_ms(tenant->provisioner, tenant->record.policy_id, now_ms);
    return due > tenant->record.created_at_ms && due > tenant->last_reset_ms ? due : 0;
}

/* A start is let finish: those who wait for it would get an error. */
static bool may_be_reset(const struct tenant *tenant) {
    return !tenant->is_warm && tenant->has_row && !tenant->is_being_deleted &&
           tenant->record.status != INSTANCE_PROVISIONING &&
           (tenant->reset_retry_ms == 0 || clock_monotonic_ms() >= tenant->reset_retry_ms);
}

static void write_mark(const struct tenant *tenant, int64_t due, char mark[HOME_FOLDER_MARK_MAX_BYTES + 1]) {
    snprintf(mark, HOME_FOLDER_MARK_MAX_BYTES + 1, MARK_PREFIX "%s-%lld", tenant->record.id, (long long)due);
}

/* --- recording ---------------------------------------------------------------------------------------------------- */

bool resets_is_mark(const char *mark) {
    return strncmp(mark, MARK_PREFIX, strlen(MARK_PREFIX)) == 0;
}

/* The id of the audit row follows from the mark (a UUID of version 8, RFC 9562 §5.8): said again, after a commit of
 * which nobody knows what became, it is the same row. */
static bool id_of_row(const struct tenant *tenant, int64_t due, char id[UUID_LENGTH + 1]) {
    char mark[HOME_FOLDER_MARK_MAX_BYTES + 1];
    char hex[DIGEST_HEX_SIZE];
    write_mark(tenant, due, mark);
    if (!digest_sha256_hex_lower(mark, strlen(mark), hex)) {
        return false;
    }
    snprintf(id, UUID_LENGTH + 1, "%.8s-%.4s-8%.3s-8%.3s-%.12s", hex, hex + 8, hex + 12, hex + 15, hex + 18);
    return true;
}

static bool record(struct provisioner *provisioner, struct tenant *tenant, int64_t due, const char *remark,
                   struct error *err) {
    char id[UUID_LENGTH + 1];
    char detail[96];
    char time[CLOCK_RFC3339_SIZE];
    const struct reset_record row = {.tenant_id = tenant->record.id, .due_at_ms = due};
    clock_format_rfc3339(due, time);
    snprintf(detail, sizeof detail, "due at %s%s", time, remark);
    const struct audit_event event = {
        .id = id,
        .action = "scheduled_reset",
        .user_id = tenant->record.user_id,
        .resource_type = "tenant",
        .resource_id = tenant->record.id,
        .detail = detail,
    };
    if (!id_of_row(tenant, due, id)) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    struct audit_row *audit = audit_stage(provisioner, audit_row_new(&event));
    if (!store_begin(provisioner->store, err) ||
        !store_end(provisioner->store,
                   store_save_reset(provisioner->store, &row, err) && audit_write_staged(provisioner, err), err)) {
        audit_unstage(provisioner, audit);
        return false;
    }
    audit_staged_written(provisioner);
    tenant->last_reset_ms = due;
    tenant->reset_retry_ms = 0;
    return true;
}

/* --- one reset ---------------------------------------------------------------------------------------------------- */

static void fail(struct reset_run *run, struct tenant *tenant, const struct error *err) {
    log_error(NULL, "reset the folder of instance %s: %s (tried again in an hour)", tenant->record.instance_name,
              err->message);
    audit_append_tenant(run->provisioner, tenant, "scheduled_reset", "warning", err->message, NULL);
    tenant->reset_retry_ms = clock_monotonic_ms() + RESETS_RETRY_MS;
    run->result.failed++;
    tenant_batch_one_done(run->batch);
}

static void on_discarded(void *argument, const struct error *err) {
    (void)argument;
    if (err != NULL) {
        log_warning(NULL, "what a scheduled reset put away: %s", err->message);
    }
}

/* The folder is out of the way, or there was none. What cannot be written down is written down by the next run, which
 * finds the mark and stops nobody for it. */
static void settle(struct reset_run *run, struct tenant *tenant, int64_t due, const char *mark, bool has_folder) {
    struct provisioner *provisioner = run->provisioner;
    struct error err;
    if (!record(provisioner, tenant, due, "", &err)) {
        log_error(NULL, "record the reset of instance %s: %s (tried again)", tenant->record.instance_name, err.message);
        run->result.failed++;
    } else {
        run->result.reset++;
        if (has_folder) {
            home_folder_discard(provisioner->homes, mark, on_discarded, NULL);
        }
    }
    tenant_batch_one_done(run->batch);
}

static void on_purged(void *argument, const struct error *err) {
    struct reset_purge *purge = argument;
    struct reset_run *run = purge->run;
    struct tenant *tenant = tenants_find(run->provisioner, purge->route_key);
    int64_t due = purge->due;
    DL_DELETE(run->purges, purge);
    free(purge);
    if (tenant == NULL) {
        tenant_batch_one_done(run->batch);
    } else if (err != NULL) {
        fail(run, tenant, err);
    } else {
        settle(run, tenant, due, "", false);
    }
}

/* Where the backend has the files it removes them on its own time, and starts nothing of that name meanwhile. Who is
 * killed before the reset is written down does it again. */
static void let_backend_purge(struct reset_run *run, struct tenant *tenant, int64_t due) {
    struct reset_purge *purge = calloc(1, sizeof *purge);
    if (purge == NULL) {
        struct error err;
        error_set(&err, ERROR_INTERNAL, "out of memory");
        fail(run, tenant, &err);
        return;
    }
    purge->run = run;
    purge->due = due;
    memcpy(purge->route_key, tenant->record.route_key, sizeof purge->route_key);
    DL_APPEND(run->purges, purge);
    tenant_files_remove(run->provisioner, tenant, true, on_purged, purge);
}

/* Nothing of the tenant runs, and nothing starts before this returns. */
static void empty_folder(struct reset_run *run, struct tenant *tenant, int64_t due) {
    struct error err;
    const struct tenant_record *row = &tenant->record;
    char mark[HOME_FOLDER_MARK_MAX_BYTES + 1];
    if (!node_may_act(run->provisioner->node)) {
        error_set(&err, ERROR_CAPACITY, "another node may lead by now");
        fail(run, tenant, &err);
        return;
    }
    if (run->provisioner->homes == NULL) {
        let_backend_purge(run, tenant, due);
        return;
    }
    write_mark(tenant, due, mark);
    enum home_folder_put put =
        home_folder_put_away(run->provisioner->homes, row->user_id, row->policy_id, row->context_id, mark, &err);
    if (put == HOME_FOLDER_FAILED) {
        fail(run, tenant, &err);
    } else {
        settle(run, tenant, due, mark, put == HOME_FOLDER_PUT_AWAY);
    }
}

static void on_stopped(void *argument, struct tenant *tenant, const struct error *err) {
    struct reset_run *run = argument;
    /* The schedule may have been changed or removed meanwhile. */
    int64_t due = tenant == NULL || tenant->is_being_deleted ? 0 : due_ms(tenant, clock_unix_ms());
    if (due > 0) {
        empty_folder(run, tenant, due);
        return;
    }
    if (err != NULL) {
        log_error(NULL, "stop an instance for its reset: %s (tried again)", err->message);
        run->result.failed++;
    }
    tenant_batch_one_done(run->batch);
}

static void begin_one(void *argument, struct tenant *tenant) {
    struct reset_run *run = argument;
    char mark[HOME_FOLDER_MARK_MAX_BYTES + 1];
    int64_t due = may_be_reset(tenant) ? due_ms(tenant, clock_unix_ms()) : 0;
    write_mark(tenant, due, mark);
    if (due == 0) {
        tenant_batch_one_done(run->batch);
    } else if (run->provisioner->homes != NULL && home_folder_is_put_away(run->provisioner->homes, mark)) {
        settle(run, tenant, due, mark, true);
    } else if (tenant->is_live) {
        stops_want(run->provisioner, tenant, "tenant_stopped", NULL, on_stopped, run);
    } else {
        empty_folder(run, tenant, due);
    }
}

/* --- a run -------------------------------------------------------------------------------------------------------- */

static void tell(struct reset_run *run) {
    struct reset_waiter *waiter = run->waiters;
    run->waiters = NULL;
    while (waiter != NULL) {
        struct reset_waiter *next = waiter->next;
        waiter->done(waiter->argument, &run->result);
        free(waiter);
        waiter = next;
    }
}

static void run_free(struct reset_run *run) {
    run->provisioner->reset_run = NULL;
    tell(run);
    if (run->timer != NULL) {
        event_free(run->timer);
    }
    tenant_batch_free(run->batch);
    while (run->purges != NULL) {
        struct reset_purge *purge = run->purges;
        DL_DELETE(run->purges, purge);
        free(purge);
    }
    free(run);
}

static void on_overdue(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct reset_run *run = argument;
    log_warning(NULL, "scheduled resets: %zu of %zu are done after %lld s, and they go on", run->result.reset,
                tenant_batch_count(run->batch), (long long)run->provisioner->settings->idle_cleanup_timeout_seconds);
    tell(run);
}

static void on_finished(void *argument, const struct error *err) {
    struct reset_run *run = argument;
    if (err != NULL) {
        log_error(NULL, "scheduled resets: %s (tried again)", err->message);
    } else if (run->result.reset > 0) {
        log_info(NULL, "scheduled resets: %zu folders emptied", run->result.reset);
    }
    run_free(run);
}

/* NULL: no memory. */
static struct reset_run *run_new(struct provisioner *provisioner) {
    const struct timeval patience = {.tv_sec = provisioner->settings->idle_cleanup_timeout_seconds};
    struct reset_run *run = calloc(1, sizeof *run);
    if (run == NULL) {
        return NULL;
    }
    const struct tenant_batch_calls calls = {begin_one, on_finished, run};
    run->provisioner = provisioner;
    run->batch = tenant_batch_new(provisioner, &calls);
    run->timer = event_new(provisioner->base, -1, EV_PERSIST, on_overdue, run);
    if (run->batch == NULL || run->timer == NULL || event_add(run->timer, &patience) < 0) {
        run_free(run);
        return NULL;
    }
    return run;
}

static bool is_anything_due(struct provisioner *provisioner) {
    int64_t now_ms = clock_unix_ms();
    TENANTS_EACH(provisioner, tenant) {
        if (due_ms(tenant, now_ms) > 0 && may_be_reset(tenant)) {
            return true;
        }
    }
    return false;
}

/* The run under way, or a new one where there is something to do. NULL: there is not, or not now, or no memory. */
static struct reset_run *find_run(struct provisioner *provisioner, bool *is_new) {
    *is_new = provisioner->reset_run == NULL;
    if (!*is_new) {
        return provisioner->reset_run;
    }
    /* Before all is taken over it is not known what runs. */
    if (!tenant_files_exist(provisioner) || !provisioner->routes_are_built || provisioner->is_shutting_down ||
        !is_anything_due(provisioner)) {
        return NULL;
    }
    struct reset_run *run = run_new(provisioner);
    if (run == NULL) {
        log_error(NULL, "scheduled resets: out of memory");
    }
    return run;
}

void resets_run(struct provisioner *provisioner, resets_done *done, void *argument) {
    bool is_new = false;
    struct reset_run *run = find_run(provisioner, &is_new);
    struct reset_waiter *waiter = run == NULL ? NULL : malloc(sizeof *waiter);
    if (waiter == NULL) {
        if (run != NULL && is_new) {
            run_free(run);
        }
        done(argument, &(struct resets_result){0});
        return;
    }
    *waiter = (struct reset_waiter){done, argument, run->waiters};
    run->waiters = waiter;
    if (!is_new) {
        return;
    }
    provisioner->reset_run = run;
    int64_t now_ms = clock_unix_ms();
    TENANTS_EACH(provisioner, tenant) {
        if (due_ms(tenant, now_ms) > 0 && may_be_reset(tenant)) {
            tenant_batch_add(run->batch, tenant);
        }
    }
    tenant_batch_run(run->batch);
}

void resets_free(struct provisioner *provisioner) {
    if (provisioner->reset_run != NULL) {
        run_free(provisioner->reset_run);
    }
}

/* --- at the start ------------------------------------------------------------------------------------------------- */

static bool load_one(void *argument, const struct reset_record *row, struct error *err) {
    struct tenant *tenant = row->route_key == NULL ? NULL : tenants_find(argument, row->route_key);
    if (tenant == NULL) {
        return error_set(err, ERROR_INTERNAL, "a row of resets is nobody's");
    }
    tenant->last_reset_ms = row->due_at_ms;
    return true;
}

static struct tenant *tenant_of_mark(struct provisioner *provisioner, const char *mark, int64_t *due) {
    size_t prefix = strlen(MARK_PREFIX);
    if (strncmp(mark, MARK_PREFIX, prefix) != 0 || strlen(mark) < prefix + UUID_LENGTH ||
        mark[prefix + UUID_LENGTH] != '-') {
        return NULL;
    }
    *due = strtoll(mark + prefix + UUID_LENGTH + 1, NULL, 10);
    TENANTS_EACH(provisioner, tenant) {
        if (strncmp(tenant->record.id, mark + prefix, UUID_LENGTH) == 0) {
            return tenant;
        }
    }
    return NULL;
}

/* Something was put away by a predecessor: is it written down why? */
static bool recover_one(void *argument, const char *mark, struct error *err) {
    struct provisioner *provisioner = argument;
    int64_t due = 0;
    struct tenant *tenant = tenant_of_mark(provisioner, mark, &due);
    return tenant == NULL || due <= tenant->last_reset_ms ||
           record(provisioner, tenant, due, ", written down after a provisioner was killed", err);
}

bool resets_load(struct provisioner *provisioner, struct error *err) {
    return store_each_reset(provisioner->store, load_one, provisioner, err) &&
           (provisioner->homes == NULL ||
            home_folders_each_put_away(provisioner->homes, recover_one, provisioner, err));
}
