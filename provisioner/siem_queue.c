#include "provisioner/siem_queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/cleanup.h"
#include "common/json.h"
#include "common/log.h"
#include "provisioner/audit.h"
#include "provisioner/siem_sender.h"

#define CURSOR_PROPERTY "siem_cursor"

struct siem_queue {
    struct provisioner *provisioner;
    struct siem_sender *sender;
    struct event *step;  /* look whether there is something to send */
    struct event *pause; /* pending: nothing is sent until then */

    int64_t cursor;    /* the last row that arrived, or was given up */
    int64_t in_flight; /* the row that is being posted; 0: none */
    bool is_beyond;    /* that row is the one after a refused one */
    char id[37];       /* of the row in flight */

    int failures; /* in a row */
    int refusals; /* of the row after the cursor */
    int refused_with;
    char refused_id[37];
    bool is_down; /* and that was logged */
    int64_t lost; /* rows that fell out of the queue while it was down */
    bool cursor_is_saved;
};

/* --- the cursor ----------------------------------------------------------------------------------------------------
 */

/* As text, for people who look. */
static bool save_cursor(struct store *store, int64_t cursor, struct error *err) {
    char text[24];
    int length = snprintf(text, sizeof text, "%lld", (long long)cursor);
    return store_set_property(store, CURSOR_PROPERTY, text, (size_t)length, err);
}

static bool load_cursor(struct siem_queue *queue, struct error *err) {
    struct store *store = queue->provisioner->store;
    cleanup_free void *value = NULL;
    size_t length = 0;
    int found = store_get_property(store, CURSOR_PROPERTY, &value, &length, err);
    char text[24] = "";
    if (found > 0 && length > 0 && length < sizeof text) {
        memcpy(text, value, length); /* NOLINT: the initializer left the NUL */
        queue->cursor = strtoll(text, NULL, 10);
        return true;
    }
    return found >= 0 && store_last_audit_sequence(store, &queue->cursor, err) &&
           save_cursor(store, queue->cursor, err);
}

/* A cursor that cannot be saved means that some events come twice after a restart. */
static void set_cursor(struct siem_queue *queue, int64_t cursor) {
    struct error err;
    bool was_saved = queue->cursor_is_saved;
    queue->cursor = cursor;
    queue->refusals = 0;
    queue->cursor_is_saved = save_cursor(queue->provisioner->store, cursor, &err);
    if (!queue->cursor_is_saved && was_saved) {
        log_warning(NULL, "save how far the SIEM webhook is: %s", err.message);
    }
}

bool siem_queue_forget(struct provisioner *provisioner, struct error *err) {
    cleanup_free void *value = NULL;
    size_t length = 0;
    int found = store_get_property(provisioner->store, CURSOR_PROPERTY, &value, &length, err);
    return found == 0 ||
           (found > 0 && (length == 0 || store_set_property(provisioner->store, CURSOR_PROPERTY, "", 0, err)));
}

static void count_lost(struct siem_queue *queue, int64_t count) {
    if (queue->lost == 0) {
        log_error(NULL,
                  "the SIEM webhook has not taken events for longer than they are kept: the oldest are lost to it");
    }
    queue->lost += count;
}

/* --- sending -------------------------------------------------------------------------------------------------------
 */

/* Doubles each time, and is somewhere between half of that and all, so that several of us do not come in step. What the
 * receiver asks for (RFC 9110 §10.2.3) holds, within reason. */
static int64_t pause_ms(const struct siem_queue *queue, int64_t retry_after_s) {
    unsigned random = 0;
    int shift = queue->failures < 10 ? queue->failures : 10;
    int64_t ms = (int64_t)SIEM_PAUSE_FIRST_MS << (shift > 0 ? shift - 1 : 0);
    ms = ms < SIEM_PAUSE_MAX_MS ? ms : SIEM_PAUSE_MAX_MS;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) {
        random = 0; /* not that many of us come in step */
    }
    if (retry_after_s > 0) {
        ms = (retry_after_s < SIEM_RETRY_AFTER_MAX_S ? retry_after_s : SIEM_RETRY_AFTER_MAX_S) * 1000;
        return ms + random % 1000;
    }
    return ms / 2 + random % (ms / 2 + 1);
}

static void pause_for(struct siem_queue *queue, int64_t milliseconds) {
    const struct timeval pause = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    if (event_add(queue->pause, &pause) < 0) {
        log_error(NULL, "out of memory: the SIEM webhook gets nothing until the next event");
    }
}

/* Posts the row: the first after the cursor, or the one after that if the first is refused again and again. */
static bool post_row(void *argument, const struct audit_record *record, struct error *err) {
    struct siem_queue *queue = argument;
    cleanup_json struct json_object *event = audit_record_to_json(record);
    size_t length = 0;
    const char *text =
        event != NULL && json_add_int(event, "sequence", record->sequence) ? json_text(event, &length) : NULL;
    char *body = text == NULL ? NULL : strdup(text);
    if (body == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    queue->in_flight = record->sequence;
    memccpy(queue->id, record->id, '\0', sizeof queue->id - 1);
    siem_sender_post(queue->sender, body);
    return true;
}

/* Numbers that are missing belong to rows that the retention took. */
static void skip_missing(struct siem_queue *queue) {
    if (!queue->is_beyond && queue->in_flight > queue->cursor + 1) {
        count_lost(queue, queue->in_flight - queue->cursor - 1);
        set_cursor(queue, queue->in_flight - 1);
    }
}

static bool bound(struct siem_queue *queue, struct error *err) {
    int64_t last = 0;
    if (!store_last_audit_sequence(queue->provisioner->store, &last, err)) {
        return false;
    }
    if (last - queue->cursor > SIEM_QUEUE_MAX_ROWS) {
        count_lost(queue, last - SIEM_QUEUE_MAX_ROWS - queue->cursor);
        set_cursor(queue, last - SIEM_QUEUE_MAX_ROWS);
    }
    return true;
}

static void on_step(evutil_socket_t fd, short what, void *argument) {
    (void)fd;
    (void)what;
    struct siem_queue *queue = argument;
    struct error err;
    bool found = false;
    if (queue->in_flight != 0 || event_pending(queue->pause, EV_TIMEOUT, NULL) != 0) {
        return;
    }
    struct store *store = queue->provisioner->store;
    bool ok = bound(queue, &err) &&
              store_next_audit(store, queue->cursor + (queue->is_beyond ? 1 : 0), post_row, queue, &found, &err);
    if (!ok) {
        log_warning(NULL, "read what the SIEM webhook is to get: %s (tried again)", err.message);
        pause_for(queue, SIEM_PAUSE_FIRST_MS);
    } else if (found) {
        skip_missing(queue);
    } else if (queue->is_beyond) {
        queue->is_beyond = false; /* there is none after the refused one */
        queue->failures++;
        pause_for(queue, pause_ms(queue, 0));
    }
}

/* --- answers -------------------------------------------------------------------------------------------------------
 */

static void describe(const struct siem_answer *answer, char *out, size_t size) {
    if (answer->status == 0) {
        snprintf(out, size, "%s", answer->failure);
    } else {
        snprintf(out, size, "it answers with status %d", answer->status);
    }
}

static void failed(struct siem_queue *queue, const struct siem_answer *answer) {
    char why[200];
    queue->failures++;
    if (!queue->is_down) {
        describe(answer, why, sizeof why);
        log_warning(NULL, "the SIEM webhook does not take events: %s (they are kept, and it is tried again)", why);
        queue->is_down = true;
    }
    pause_for(queue, pause_ms(queue, answer->retry_after_s));
}

static void delivered(struct siem_queue *queue, int64_t sequence) {
    if (queue->is_beyond) {
        log_error(NULL, "the SIEM webhook refused event %s %d times with status %d, and takes others: it is given up",
                  queue->refused_id, queue->refusals, queue->refused_with);
        queue->is_beyond = false;
    }
    if (queue->is_down) {
        log_info(NULL, "the SIEM webhook takes events again%s", queue->lost > 0 ? "" : ", and missed none");
        queue->is_down = false;
    }
    if (queue->lost > 0) {
        log_error(NULL, "the SIEM webhook missed %lld events, which fell out of its queue", (long long)queue->lost);
        queue->lost = 0;
    }
    queue->failures = 0;
    set_cursor(queue, sequence);
    siem_queue_wake(queue);
}

static bool is_refusal(int status) {
    return status == 400 || status == 413 || status == 415 || status == 422;
}

static void on_answer(void *argument, const struct siem_answer *answer) {
    struct siem_queue *queue = argument;
    int64_t sequence = queue->in_flight;
    queue->in_flight = 0;
    if (answer->status >= 200 && answer->status < 300) {
        delivered(queue, sequence);
        return;
    }
    if (queue->is_beyond) {
        queue->is_beyond = false; /* so it is not that one event: back to the first */
    } else if (is_refusal(answer->status)) {
        queue->refusals++;
        queue->refused_with = answer->status;
        memcpy(queue->refused_id, queue->id, sizeof queue->refused_id);
        if (queue->refusals >= SIEM_REFUSALS_MAX) {
            queue->is_beyond = true;
            siem_queue_wake(queue);
            return;
        }
    }
    failed(queue, answer);
}

/* --- life ----------------------------------------------------------------------------------------------------------
 */

void siem_queue_wake(struct siem_queue *queue) {
    if (queue != NULL) {
        event_active(queue->step, EV_TIMEOUT, 0);
    }
}

bool siem_queue_is_stuck(const struct siem_queue *queue, int64_t *waiting) {
    struct error err;
    int64_t last = 0;
    if (queue == NULL || !queue->is_down) {
        return false;
    }
    *waiting = store_last_audit_sequence(queue->provisioner->store, &last, &err) ? last - queue->cursor : 0;
    return true;
}

struct siem_queue *siem_queue_open(struct provisioner *provisioner, struct error *err) {
    const struct settings *settings = provisioner->settings;
    struct siem_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    queue->provisioner = provisioner;
    queue->cursor_is_saved = true;
    queue->step = event_new(provisioner->base, -1, 0, on_step, queue);
    queue->pause = event_new(provisioner->base, -1, 0, on_step, queue);
    if (queue->step == NULL || queue->pause == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        siem_queue_close(queue);
        return NULL;
    }
    if (load_cursor(queue, err)) {
        queue->sender = siem_sender_open(settings->siem_webhook_url, settings->siem_webhook_token, provisioner->base,
                                         on_answer, queue, err);
    }
    if (queue->sender == NULL) {
        siem_queue_close(queue);
        return NULL;
    }
    siem_queue_wake(queue); /* what a predecessor has not sent */
    return queue;
}

void siem_queue_close(struct siem_queue *queue) {
    if (queue == NULL) {
        return;
    }
    siem_sender_close(queue->sender);
    if (queue->step != NULL) {
        event_free(queue->step);
    }
    if (queue->pause != NULL) {
        event_free(queue->pause);
    }
    free(queue);
}
