#include "fcgi-api/auth_failures.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/names.h"
#include "fcgi-api/uri.h"

#define KINDS_MAX       64
#define QUIET_MS        10000
#define SEND_TIMEOUT_MS 1000
#define SEND_TRIES_MAX  30
#define ADDRESS_SIZE    64
#define DETAIL_SIZE     64

/* Failures of one address for one reason. In use while `due_ms` is set: for QUIET_MS after each event that was sent. */
struct kind {
    char address[ADDRESS_SIZE];
    char detail[DETAIL_SIZE];
    unsigned count;            /* failures not told yet */
    int64_t due_ms;            /* when to tell them, or to forget the kind if there are none; 0: free */
    struct json_object *event; /* of the first of them, without `detail` */
};

struct auth_failures {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_stopping;
    int64_t
        full_ms; /* when the allowance of rows is, or was, full again; each row moves it by AUTH_FAILURES_REFILL_MS */
    struct kind kinds[KINDS_MAX + 1]; /* the last one is for all that find no place */
};

static void forget(struct kind *kind) {
    json_object_put(kind->event);
    *kind = (struct kind){0};
}

struct auth_failures *auth_failures_new(void) {
    struct auth_failures *failures = calloc(1, sizeof *failures);
    if (failures == NULL) {
        return NULL;
    }
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&failures->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&failures->lock, NULL);
    return failures;
}

void auth_failures_free(struct auth_failures *failures) {
    if (failures == NULL) {
        return;
    }
    for (size_t i = 0; i <= KINDS_MAX; i++) {
        forget(&failures->kinds[i]);
    }
    pthread_cond_destroy(&failures->changed);
    pthread_mutex_destroy(&failures->lock);
    free(failures);
}

/* The audit event but for its detail. Of the target only the path: its query may hold a token. It is given its id here,
 * so that it is one row however often it is sent: who did not answer in time may have written it. */
static struct json_object *make_event(const struct request *request, const struct error *err) {
    char event_id[37];
    const char *target = request_parameter(request, "REQUEST_URI");
    const char *user_id = request_parameter(request, "HTTP_X_USER_ID");
    cleanup_free char *path = target == NULL ? NULL : strndup(target, uri_path_length(target));
    cleanup_json struct json_object *event = digest_uuid_by_time(event_id) ? ipc_request("audit") : NULL;
    struct json_object *actor = request_actor(request);
    if (event == NULL || actor == NULL) {
        json_object_put(actor);
        return NULL;
    }
    bool whole = json_add(event, "actor", actor) && json_add_string(event, "event_id", event_id) &&
                 json_add_string(event, "action", "auth_failed") && json_add_string(event, "severity", "warning") &&
                 json_add_string(event, "resource_type", "path") &&
                 request_add_foreign_text(event, "resource_id", path) &&
                 json_add_int(event, "status_code", error_code_http_status(err->code)) &&
                 (!name_check_user_id(user_id, NULL) || json_add_string(event, "user_id", user_id));
    return whole ? steal_pointer(&event) : NULL;
}

/* The kind this failure belongs to: its own, a free one made its own, or the one for all others. */
static struct kind *find_kind(struct auth_failures *failures, const char *address, const char *detail) {
    struct kind *vacant = &failures->kinds[KINDS_MAX];
    for (size_t i = KINDS_MAX; i-- > 0;) {
        struct kind *kind = &failures->kinds[i];
        if (kind->due_ms == 0) {
            vacant = kind;
        } else if (strcmp(kind->address, address) == 0 && strcmp(kind->detail, detail) == 0) {
            return kind;
        }
    }
    if (vacant->due_ms == 0) {
        snprintf(vacant->address, sizeof vacant->address, "%s", address);
        snprintf(vacant->detail, sizeof vacant->detail, "%s", detail);
        vacant->due_ms = clock_monotonic_ms();
    }
    return vacant;
}

void auth_failures_add(struct auth_failures *failures, const struct request *request, const struct error *err) {
    if (failures == NULL) {
        return;
    }
    char address[ADDRESS_SIZE];
    char detail[DETAIL_SIZE];
    snprintf(address, sizeof address, "%.*s", ADDRESS_SIZE - 1, request_client(request));
    snprintf(detail, sizeof detail, "%.*s", DETAIL_SIZE - 1, err->message);

    pthread_mutex_lock(&failures->lock);
    struct kind *kind = find_kind(failures, address, detail);
    if (kind->count++ == 0) {
        json_object_put(kind->event);
        kind->event = make_event(request, err);
        pthread_cond_signal(&failures->changed);
    }
    pthread_mutex_unlock(&failures->lock);
}

static void describe(const struct kind *kind, bool is_of_many, char *out, size_t size) {
    if (kind->count == 1) {
        snprintf(out, size, "%s", kind->detail);
    } else {
        snprintf(out, size, "%s (%u times%s)", kind->detail, kind->count, is_of_many ? ", from several addresses" : "");
    }
}

/* The kind that has been due for longest, after forgetting those that have been quiet; else NULL and *next_ms, when one
 * will be due. */
static struct kind *find_due(struct auth_failures *failures, int64_t now_ms, int64_t *next_ms) {
    struct kind *first = NULL;
    *next_ms = INT64_MAX;
    for (size_t i = 0; i <= KINDS_MAX; i++) {
        struct kind *kind = &failures->kinds[i];
        if (kind->due_ms != 0 && kind->due_ms <= now_ms && kind->count == 0) {
            forget(kind);
        }
        if (kind->due_ms != 0 && (first == NULL || kind->due_ms < first->due_ms)) {
            first = kind;
        }
    }
    if (first != NULL && first->due_ms > now_ms) {
        *next_ms = first->due_ms;
        return NULL;
    }
    return first;
}

/* Takes one row from the allowance; if there is none, *next_ms is when there will be. */
static bool take_allowance(struct auth_failures *failures, int64_t now_ms, int64_t *next_ms) {
    const int64_t most_ms = (int64_t)(AUTH_FAILURES_BURST - 1) * AUTH_FAILURES_REFILL_MS;
    int64_t full_ms = failures->full_ms > now_ms ? failures->full_ms : now_ms;
    if (full_ms - now_ms > most_ms) {
        *next_ms = full_ms - most_ms;
        return false;
    }
    failures->full_ms = full_ms + AUTH_FAILURES_REFILL_MS;
    return true;
}

/* Takes out what is due, with its detail. NULL: nothing is, and *next_ms is when something will be. The lock is held.
 */
static struct json_object *take_due(struct auth_failures *failures, int64_t *next_ms) {
    int64_t now_ms = clock_monotonic_ms();
    struct kind *kind;
    while ((kind = find_due(failures, now_ms, next_ms)) != NULL && take_allowance(failures, now_ms, next_ms)) {
        char detail[DETAIL_SIZE + 80];
        describe(kind, kind == &failures->kinds[KINDS_MAX], detail, sizeof detail);
        struct json_object *event = kind->event;
        kind->event = NULL;
        log_warning(NULL, "authentication failed client=%s: %s", kind->address, detail);
        kind->count = 0;
        kind->due_ms = now_ms + QUIET_MS;
        if (event != NULL && json_add_string(event, "detail", detail)) {
            return event;
        }
        json_object_put(event);
    }
    return NULL;
}

static void wait_until(struct auth_failures *failures, int64_t due_ms) {
    if (due_ms == INT64_MAX) {
        pthread_cond_wait(&failures->changed, &failures->lock);
        return;
    }
    struct timespec due = {.tv_sec = due_ms / 1000, .tv_nsec = due_ms % 1000 * 1000000};
    pthread_cond_timedwait(&failures->changed, &failures->lock, &due);
}

/* Sends it (taken over), again and again while the provisioner is away. The lock is held, but not meanwhile. */
static void send_event(struct auth_failures *failures, const struct provisioner *provisioner,
                       struct json_object *event) {
    for (int tries = 1;; tries++) {
        struct error err = {0};
        pthread_mutex_unlock(&failures->lock);
        struct json_object *answer =
            provisioner->call(provisioner->argument, json_object_get(event), SEND_TIMEOUT_MS, &err);
        pthread_mutex_lock(&failures->lock);
        bool may_pass = err.code == ERROR_CAPACITY || err.code == ERROR_TIMEOUT;
        if (answer != NULL || !may_pass || tries == SEND_TRIES_MAX || failures->is_stopping) {
            if (answer == NULL) {
                log_warning(NULL, "the audit log missed a failed authentication: %s", err.message);
            }
            json_object_put(answer);
            break;
        }
        for (int64_t due_ms = clock_monotonic_ms() + SEND_TIMEOUT_MS;
             !failures->is_stopping && clock_monotonic_ms() < due_ms;) {
            wait_until(failures, due_ms);
        }
    }
    json_object_put(event);
}

void auth_failures_run(struct auth_failures *failures, const struct provisioner *provisioner) {
    pthread_mutex_lock(&failures->lock);
    while (!failures->is_stopping) {
        int64_t next_ms = 0;
        struct json_object *event = take_due(failures, &next_ms);
        if (event == NULL) {
            wait_until(failures, next_ms);
            continue;
        }
        send_event(failures, provisioner, event);
    }
    pthread_mutex_unlock(&failures->lock);
}

void auth_failures_stop(struct auth_failures *failures) {
    pthread_mutex_lock(&failures->lock);
    failures->is_stopping = true;
    pthread_cond_broadcast(&failures->changed);
    pthread_mutex_unlock(&failures->lock);
}
