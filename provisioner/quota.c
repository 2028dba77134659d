#include "provisioner/quota.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "provisioner/activity.h"
#include "provisioner/refresh.h"
#include "provisioner/stops.h"
#include "provisioner/survey.h"

#define TRIES_MAX 3 /* instances that turn out to be in use once their route is taken away */
/* Who has just been told where his instance is has not sent his request yet, and the gate tells of it a second later.
 */
#define RECENT_MS  1500
#define PAUSE_MS   250
#define PAUSES_MAX 12 /* for a user all of whose instances are so recent */

struct counts {
    int64_t all;
    int64_t of_user;
};

static struct counts count(const struct provisioner *provisioner, const char *user_id) {
    struct counts counts = {.all = (int64_t)HASH_CNT(by_instance, provisioner->tenants_by_instance)};
    TENANTS_EACH_LIVE(provisioner, tenant) {
        /* A warm one that is on its way to the user is his already. */
        const char *owner = tenant->taken_by != NULL ? tenant->taken_by : tenant->record.user_id;
        counts.of_user += strcmp(owner, user_id) == 0;
    }
    return counts;
}

static bool is_reached(int64_t limit, int64_t present) {
    return limit > 0 && present >= limit;
}

bool quota_has_room_for_user(const struct provisioner *provisioner, const struct tenant *tenant) {
    int64_t limit = provisioner->settings->max_instances_per_user;
    return limit == 0 || provisioner->operations->shares_one_instance ||
           !is_reached(limit, count(provisioner, tenant->record.user_id).of_user);
}

bool quota_has_room(const struct provisioner *provisioner, const struct tenant *tenant) {
    const struct settings *settings = provisioner->settings;
    if ((settings->max_instances == 0 && settings->max_instances_per_user == 0) ||
        provisioner->operations->shares_one_instance) {
        return true;
    }
    struct counts counts = count(provisioner, tenant->record.user_id);
    return !is_reached(settings->max_instances, counts.all) &&
           !is_reached(settings->max_instances_per_user, counts.of_user);
}

/* --- whose place it is to be ---------------------------------------------------------------------------------------
 */

/* As far as HAProxy has just told, and the gate of shells. Requests that the gate relays are noticed by the refresh: it
 * reports them also a moment after they have ended, which would keep away who goes from one chat to the next. */
static bool is_in_use(const struct tenant *tenant) {
    return tenant->has_requests ||
           (tenant->shell_active_ms > 0 && clock_monotonic_ms() - tenant->shell_active_ms < QUOTA_SHELL_QUIET_MS);
}

/* Whether the tenant, who has an instance, is one of this user's that nobody waits for yet. */
static bool is_candidate(const struct tenant *tenant, const char *user_id) {
    return !tenant->makes_room && strcmp(tenant->record.user_id, user_id) == 0 &&
           (tenant->record.status == INSTANCE_STOPPING ||
            (tenant->record.status == INSTANCE_RUNNING && !tenant->is_being_adopted));
}

static bool is_recent(const struct tenant *tenant) {
    return clock_monotonic_ms() - tenant->last_active_ms < RECENT_MS;
}

static bool has_candidate(const struct provisioner *provisioner, const char *user_id) {
    TENANTS_EACH_LIVE(provisioner, tenant) {
        if (is_candidate(tenant, user_id)) {
            return true;
        }
    }
    return false;
}

/* A warm one that may go, where it is the limit of all that is reached. */
static struct tenant *find_warm(struct provisioner *provisioner, const char *user_id) {
    if (is_reached(provisioner->settings->max_instances_per_user, count(provisioner, user_id).of_user)) {
        return NULL;
    }
    TENANTS_EACH_LIVE(provisioner, tenant) {
        if (tenant->is_warm && tenant->taken_by == NULL && !tenant->makes_room && !tenant->is_being_adopted) {
            return tenant;
        }
    }
    return NULL;
}

/* The one that has been idle longest, or better, one that is stopping already. NULL: all are in use, start, or go for
 * somebody else. */
static struct tenant *choose(struct provisioner *provisioner, const char *user_id) {
    struct tenant *chosen = find_warm(provisioner, user_id);
    if (chosen != NULL) {
        return chosen;
    }
    TENANTS_EACH_LIVE(provisioner, tenant) {
        if (!is_candidate(tenant, user_id)) {
            continue;
        }
        if (tenant->record.status == INSTANCE_STOPPING) {
            return tenant;
        }
        if (!is_in_use(tenant) && !is_recent(tenant) &&
            (chosen == NULL || tenant->last_active_ms < chosen->last_active_ms)) {
            chosen = tenant;
        }
    }
    return chosen;
}

/* --- making room ---------------------------------------------------------------------------------------------------
 */

struct room {
    struct provisioner *provisioner;
    char *user_id;
    struct json_object *actor;
    char leaving[DIGEST_HEX_SIZE]; /* whose place it is to be */
    int tries;
    int pauses;
    struct event *timer;
    struct room *prev, *next;
    quota_done *done;
    void *argument;
};

static void room_free(struct room *room) {
    DL_DELETE(room->provisioner->rooms, room);
    if (room->timer != NULL) {
        event_free(room->timer);
    }
    json_object_put(room->actor);
    free(room->user_id);
    free(room);
}

static void finish(struct room *room, const struct error *err) {
    room->done(room->argument, err);
    room_free(room);
}

static bool say_full(const struct provisioner *provisioner, const char *user_id, struct error *err) {
    const struct settings *settings = provisioner->settings;
    struct counts counts = count(provisioner, user_id);
    if (is_reached(settings->max_instances_per_user, counts.of_user)) {
        return error_set(err, ERROR_CAPACITY,
                         "the user has %lld instances, no more are allowed, and all are in use: stop one, or try again "
                         "later",
                         (long long)counts.of_user);
    }
    return error_set(err, ERROR_CAPACITY,
                     "there are %lld instances, no more are allowed, and none of this user's can be stopped: try again "
                     "later",
                     (long long)counts.all);
}

static void try_one(struct room *room);
static void look(struct room *room);

static void on_pause_over(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    look(argument);
}

static bool pause_a_moment(struct room *room) {
    const struct timeval pause = {.tv_usec = PAUSE_MS * 1000};
    if (room->timer == NULL) {
        room->timer = event_new(room->provisioner->base, -1, 0, on_pause_over, room);
    }
    return room->timer != NULL && event_add(room->timer, &pause) == 0;
}

/* An instance that could go in a moment. */
static bool has_recent(const struct provisioner *provisioner, const char *user_id) {
    TENANTS_EACH_LIVE(provisioner, tenant) {
        if (is_candidate(tenant, user_id) && !is_in_use(tenant) && is_recent(tenant)) {
            return true;
        }
    }
    return false;
}

static void unmark(struct room *room) {
    struct tenant *tenant = tenants_find(room->provisioner, room->leaving);
    if (tenant != NULL) {
        tenant->makes_room = false;
    }
}

static void on_refreshed(void *argument, const struct refresh_result *result, const struct error *err) {
    struct room *room = argument;
    if (room->provisioner->is_closing) {
        finish(room, err);
        return;
    }
    unmark(room);
    if (err == NULL && result->refreshed == 0 && room->tries < TRIES_MAX) {
        try_one(room); /* somebody has come to it meanwhile */
        return;
    }
    struct error full;
    if (err == NULL && result->refreshed == 0) {
        say_full(room->provisioner, room->user_id, &full);
        err = &full;
    }
    finish(room, err);
}

static void on_stopped(void *argument, struct tenant *tenant, const struct error *err) {
    struct room *room = argument;
    (void)tenant;
    if (!room->provisioner->is_closing) {
        unmark(room);
    }
    finish(room, err);
}

/* Knowing who is active. */
static void try_one(struct room *room) {
    struct provisioner *provisioner = room->provisioner;
    struct tenant *tenant = choose(provisioner, room->user_id);
    struct error err;
    if (tenant == NULL && has_recent(provisioner, room->user_id) && room->pauses++ < PAUSES_MAX &&
        pause_a_moment(room)) {
        return;
    }
    if (tenant == NULL) {
        say_full(provisioner, room->user_id, &err);
        finish(room, &err);
        return;
    }
    room->tries++;
    tenant->makes_room = true;
    memcpy(room->leaving, tenant->record.route_key, sizeof room->leaving);
    if (tenant->record.status == INSTANCE_STOPPING || tenant->is_warm) {
        stops_want(provisioner, tenant, NULL, NULL, on_stopped, room);
        return;
    }
    log_info(json_get_string(room->actor, "request_id"),
             "instance %s makes room for another of its user, if it is idle", tenant->record.instance_name);
    const struct refresh_filter filter = {.user_id = tenant->record.user_id,
                                          .policy_id = tenant->record.policy_id,
                                          .context_id = tenant->record.context_id,
                                          .only_idle = true,
                                          .action = "quota_cleanup"};
    refresh_begin(provisioner, &filter, room->actor, on_refreshed, room);
}

static void on_look(void *argument, bool ok, const struct route_activity *routes, size_t count) {
    struct room *room = argument;
    struct error err;
    if (room->provisioner->is_closing) {
        error_set(&err, ERROR_CAPACITY, "Terminals is shutting down");
        finish(room, &err);
        return;
    }
    if (ok) {
        activity_merge(room->provisioner, routes, count);
    }
    try_one(room); /* without an answer of HAProxy the refresh stops nobody */
}

static void look(struct room *room) {
    survey_activity(room->provisioner, on_look, room);
}

static struct room *room_new(struct provisioner *provisioner, const char *user_id, struct json_object *actor) {
    struct room *room = calloc(1, sizeof *room);
    if (room != NULL) {
        *room = (struct room){.provisioner = provisioner, .user_id = strdup(user_id), .actor = json_object_get(actor)};
    }
    if (room != NULL) {
        DL_APPEND(provisioner->rooms, room);
    }
    if (room != NULL && room->user_id == NULL) {
        room_free(room);
        room = NULL;
    }
    return room;
}

void quota_make_room(struct provisioner *provisioner, const struct tenant *tenant, struct json_object *actor,
                     quota_done *done, void *argument) {
    struct error err;
    /* Asking HAProxy about everybody is not for nothing. */
    if (!has_candidate(provisioner, tenant->record.user_id) && find_warm(provisioner, tenant->record.user_id) == NULL) {
        say_full(provisioner, tenant->record.user_id, &err);
        done(argument, &err);
        return;
    }
    struct room *room = room_new(provisioner, tenant->record.user_id, actor);
    if (room == NULL) {
        error_set(&err, ERROR_INTERNAL, "out of memory");
        done(argument, &err);
        return;
    }
    room->done = done;
    room->argument = argument;
    look(room);
}

void quota_free_all(struct provisioner *provisioner) {
    struct error err;
    error_set(&err, ERROR_CAPACITY, "Terminals is shutting down");
    while (provisioner->rooms != NULL) {
        finish(provisioner->rooms, &err);
    }
}
