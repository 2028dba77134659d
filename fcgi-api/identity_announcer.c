#include "fcgi-api/identity_announcer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/ipc.h"
#include "common/log.h"
#include "common/names.h"

#define QUEUE_MAX       4096
#define SEND_TIMEOUT_MS 1000
#define SEND_PAUSE_MS   1000 /* then once more */

struct announcement {
    struct announcement *next;
    char digest[DIGEST_HEX_SIZE];
    int64_t expires_at_ms;
    char user_id[];
};

struct identity_announcer {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_stopping;
    struct announcement *first;
    struct announcement **last;
    size_t count;
};

struct identity_announcer *identity_announcer_new(void) {
    struct identity_announcer *announcer = calloc(1, sizeof *announcer);
    if (announcer != NULL) {
        pthread_condattr_t attributes;
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&announcer->changed, &attributes);
        pthread_condattr_destroy(&attributes);
        pthread_mutex_init(&announcer->lock, NULL);
        announcer->last = &announcer->first;
    }
    return announcer;
}

/* Takes the first off the queue. The lock is held. */
static void drop_first(struct identity_announcer *announcer) {
    struct announcement *first = announcer->first;
    announcer->first = first->next;
    announcer->count--;
    if (first->next == NULL) {
        announcer->last = &announcer->first;
    }
    free(first);
}

void identity_announcer_free(struct identity_announcer *announcer) {
    if (announcer == NULL) {
        return;
    }
    while (announcer->first != NULL) {
        drop_first(announcer);
    }
    pthread_cond_destroy(&announcer->changed);
    pthread_mutex_destroy(&announcer->lock);
    free(announcer);
}

void identity_announcer_tell(struct identity_announcer *announcer, const char *digest, const char *user_id,
                             int64_t expires_at_ms) {
    size_t length = strlen(user_id);
    struct announcement *new = announcer == NULL ? NULL : calloc(1, sizeof *new + length + 1);
    if (new == NULL) {
        return;
    }
    memcpy(new->user_id, user_id, length);
    memcpy(new->digest, digest, strnlen(digest, DIGEST_HEX_LENGTH));
    new->expires_at_ms = expires_at_ms;
    pthread_mutex_lock(&announcer->lock);
    if (announcer->count < QUEUE_MAX) {
        *announcer->last = new;
        announcer->last = &new->next;
        announcer->count++;
        new = NULL;
        pthread_cond_signal(&announcer->changed);
    }
    pthread_mutex_unlock(&announcer->lock);
    free(new);
}

static bool send_one(const struct announcement *announcement, const struct provisioner *provisioner,
                     struct error *err) {
    struct json_object *request = ipc_request("identity_add");
    if (request == NULL || !json_add_string(request, "digest", announcement->digest) ||
        !json_add_string(request, "user_id", announcement->user_id) ||
        !json_add_int(request, "expires_at", announcement->expires_at_ms)) {
        json_object_put(request);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    struct json_object *answer = provisioner->call(provisioner->argument, request, SEND_TIMEOUT_MS, err);
    json_object_put(answer);
    return answer != NULL;
}

/* The provisioner restarts, or is busy: it may be told later, as long as there is something to tell. */
static bool may_pass(const struct error *err) {
    return err->code == ERROR_CAPACITY || err->code == ERROR_TIMEOUT;
}

/* The lock is held, but not meanwhile. */
static void pause_sending(struct identity_announcer *announcer) {
    int64_t due_ms = clock_monotonic_ms() + SEND_PAUSE_MS;
    const struct timespec due = {.tv_sec = due_ms / 1000, .tv_nsec = due_ms % 1000 * 1000000};
    while (!announcer->is_stopping && clock_monotonic_ms() < due_ms) {
        pthread_cond_timedwait(&announcer->changed, &announcer->lock, &due);
    }
}

void identity_announcer_run(struct identity_announcer *announcer, const struct provisioner *provisioner) {
    bool is_failing = false;
    pthread_mutex_lock(&announcer->lock);
    while (!announcer->is_stopping) {
        const struct announcement *announcement = announcer->first; /* stays there: nobody else takes any off */
        if (announcement == NULL) {
            pthread_cond_wait(&announcer->changed, &announcer->lock);
            continue;
        }
        pthread_mutex_unlock(&announcer->lock);
        struct error err = {0};
        bool sent = send_one(announcement, provisioner, &err);
        if (!sent && !is_failing) {
            log_warning(NULL, "the provisioner was not told of a user's token: %s", err.message);
        }
        is_failing = !sent;
        pthread_mutex_lock(&announcer->lock);
        if (!sent && may_pass(&err) && announcement->expires_at_ms > clock_unix_ms()) {
            pause_sending(announcer);
        } else {
            drop_first(announcer);
        }
    }
    pthread_mutex_unlock(&announcer->lock);
}

void identity_announcer_stop(struct identity_announcer *announcer) {
    if (announcer != NULL) {
        pthread_mutex_lock(&announcer->lock);
        announcer->is_stopping = true;
        pthread_cond_broadcast(&announcer->changed);
        pthread_mutex_unlock(&announcer->lock);
    }
}
