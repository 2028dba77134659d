#include "provisioner/audit.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/log.h"
#include "provisioner/backlog.h"
#include "provisioner/siem_queue.h"

#define AUDIT_TEXT_MAX_BYTES 1024
#define TEXT_COUNT           10
#define AUDIT_RETRY_MS       1000

struct audit_row {
    struct audit_record record;
    struct audit_row *prev, *next;
    bool is_kept; /* in the backlog */
    char texts[]; /* of the record */
};

/* How much of a text a row holds: all, or up to between two UTF-8 characters. */
static size_t kept_length(const char *text) {
    size_t length = strnlen(text, AUDIT_TEXT_MAX_BYTES + 1);
    if (length <= AUDIT_TEXT_MAX_BYTES) {
        return length;
    }
    length = AUDIT_TEXT_MAX_BYTES;
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) {
        length--;
    }
    return length;
}

/* A row with copies of these texts, which are in the order of the record's members. */
static struct audit_row *row_with_texts(const char *const texts[TEXT_COUNT]) {
    size_t size = 0;
    for (int i = 0; i < TEXT_COUNT; i++) {
        size += texts[i] == NULL ? 0 : kept_length(texts[i]) + 1;
    }
    struct audit_row *row = calloc(1, sizeof *row + size);
    if (row == NULL) {
        return NULL;
    }
    struct audit_record *record = &row->record;
    const char **const members[TEXT_COUNT] = {
        &record->id,         &record->action,        &record->severity,    &record->user_id,
        &record->request_id, &record->resource_type, &record->resource_id, &record->detail,
        &record->ip_address, &record->user_agent,
    };
    char *place = row->texts;
    for (int i = 0; i < TEXT_COUNT; i++) {
        if (texts[i] != NULL) {
            size_t length = kept_length(texts[i]);
            memcpy(place, texts[i], length); /* calloc() left the NUL */
            *members[i] = place;
            place += length + 1;
        }
    }
    return row;
}

struct audit_row *audit_row_new(const struct audit_event *event) {
    char id[37];
    const char *request_id = json_get_string(event->actor, "request_id");
    if (event->id == NULL && !digest_uuid_by_time(id)) {
        log_error(request_id, "audit %s: the kernel gives no random bytes", event->action);
        return NULL;
    }
    const char *user_id = event->user_id != NULL ? event->user_id : json_get_string(event->actor, "user_id");
    const char *const texts[TEXT_COUNT] = {
        event->id == NULL ? id : event->id,
        event->action,
        event->severity == NULL ? "info" : event->severity,
        user_id,
        request_id,
        event->resource_type,
        event->resource_id,
        event->detail,
        json_get_string(event->actor, "ip"),
        json_get_string(event->actor, "user_agent"),
    };
    struct audit_row *row = row_with_texts(texts);
    if (row == NULL) {
        log_error(request_id, "audit %s: out of memory", event->action);
        return NULL;
    }
    row->record.status_code = event->status_code;
    return row;
}

struct audit_row *audit_row_of_tenant(const struct tenant *tenant, const char *action, const char *severity,
                                      const char *detail, struct json_object *actor) {
    if (tenant->is_warm) {
        return NULL; /* nothing of it happens to anybody */
    }
    return audit_row_new(&(struct audit_event){
        .action = action,
        .severity = severity,
        .user_id = tenant->record.user_id,
        .resource_type = "tenant",
        .resource_id = tenant->record.id,
        .detail = detail,
        .actor = actor,
    });
}

void audit_row_free(struct audit_row *row) {
    free(row);
}

struct audit_row *audit_stage(struct provisioner *provisioner, struct audit_row *row) {
    if (row == NULL) {
        return NULL;
    }
    if (provisioner->staged_audit_count >= AUDIT_STAGED_MAX) {
        log_error(row->record.request_id, "the database takes no audit rows, and %d wait already: `%s` of `%s` is lost",
                  AUDIT_STAGED_MAX, row->record.action, row->record.user_id == NULL ? "-" : row->record.user_id);
        audit_row_free(row);
        return NULL;
    }
    if (row->record.created_at_ms == 0) {
        row->record.created_at_ms = clock_unix_ms();
    }
    DL_APPEND(provisioner->staged_audit, row);
    provisioner->staged_audit_count++;
    provisioner->stats.actions[stats_action_of(row->record.action)]++;
    return row;
}

/* On disk, those that are not there yet: the last ones. */
static bool keep_staged(struct provisioner *provisioner, struct error *err) {
    struct audit_row *head = provisioner->staged_audit;
    struct audit_row *row = head == NULL || head->prev->is_kept ? NULL : head->prev;
    while (row != NULL && row != head && !row->prev->is_kept) {
        row = row->prev;
    }
    for (; row != NULL; row = row->next) {
        if (!backlog_keep_audit(provisioner->backlog, &row->record, err)) {
            return false;
        }
        row->is_kept = true;
    }
    return true;
}

static void keep_all_anew(struct provisioner *provisioner) {
    struct error err;
    struct audit_row *row;
    backlog_forget_audit(provisioner->backlog);
    DL_FOREACH(provisioner->staged_audit, row) {
        row->is_kept = false;
    }
    if (!keep_staged(provisioner, &err)) {
        log_error(NULL, "keep rows of the audit log on disk: %s (tried again)", err.message);
    }
}

void audit_unstage(struct provisioner *provisioner, struct audit_row *row) {
    struct audit_row *staged;
    DL_FOREACH(provisioner->staged_audit, staged) {
        if (staged == row) {
            bool was_kept = row->is_kept;
            DL_DELETE(provisioner->staged_audit, row);
            provisioner->staged_audit_count--;
            provisioner->stats.actions[stats_action_of(row->record.action)]--;
            audit_row_free(row);
            if (was_kept) {
                keep_all_anew(provisioner);
            }
            return;
        }
    }
}

bool audit_write_staged(struct provisioner *provisioner, struct error *err) {
    const struct audit_row *row;
    DL_FOREACH(provisioner->staged_audit, row) {
        if (!store_append_audit(provisioner->store, &row->record, err)) {
            return error_prefix(err, "audit %s", row->record.action);
        }
    }
    return true;
}

void audit_free_staged(struct provisioner *provisioner) {
    struct audit_row *row;
    struct audit_row *next;
    DL_FOREACH_SAFE(provisioner->staged_audit, row, next) {
        DL_DELETE(provisioner->staged_audit, row);
        audit_row_free(row);
    }
    provisioner->staged_audit_count = 0;
}

void audit_staged_written(struct provisioner *provisioner) {
    if (provisioner->staged_audit != NULL) {
        provisioner->audit_retry_ms = 0;
        audit_free_staged(provisioner);
        backlog_forget_audit(provisioner->backlog);
        siem_queue_wake(provisioner->siem);
    }
}

bool audit_flush(struct provisioner *provisioner, struct error *err) {
    if (provisioner->staged_audit == NULL) {
        return true;
    }
    if (store_begin(provisioner->store, err) &&
        store_end(provisioner->store, audit_write_staged(provisioner, err), err)) {
        audit_staged_written(provisioner);
        return true;
    }
    provisioner->audit_retry_ms = clock_monotonic_ms() + AUDIT_RETRY_MS;
    struct error on_disk;
    if (!keep_staged(provisioner, &on_disk)) {
        log_error(NULL, "keep rows of the audit log on disk: %s", on_disk.message);
        return false;
    }
    log_warning(NULL, "%s (%zu rows of the audit log are kept on disk, and tried again)", err->message,
                provisioner->staged_audit_count);
    return true;
}

bool audit_flush_or_keep(struct provisioner *provisioner, struct error *err) {
    bool is_hopeless = clock_monotonic_ms() < provisioner->audit_retry_ms;
    return (is_hopeless && keep_staged(provisioner, err)) || audit_flush(provisioner, err);
}

static bool take_kept(void *argument, const struct audit_record *record) {
    struct provisioner *provisioner = argument;
    const char *const texts[TEXT_COUNT] = {
        record->id,         record->action,        record->severity,    record->user_id,
        record->request_id, record->resource_type, record->resource_id, record->detail,
        record->ip_address, record->user_agent,
    };
    struct audit_row *row = row_with_texts(texts);
    if (row == NULL) {
        return false;
    }
    row->record.status_code = record->status_code;
    row->record.created_at_ms = record->created_at_ms;
    row->is_kept = true;
    return audit_stage(provisioner, row) != NULL;
}

bool audit_load_backlog(struct provisioner *provisioner, struct error *err) {
    if (!backlog_each_audit(provisioner->backlog, take_kept, provisioner, err)) {
        return false;
    }
    if (provisioner->staged_audit == NULL) {
        backlog_forget_audit(provisioner->backlog); /* there was nothing in it that makes sense */
        return true;
    }
    return audit_flush(provisioner, err);
}

static void append(struct provisioner *provisioner, struct audit_row *row) {
    struct error err;
    audit_stage(provisioner, row);
    if (!audit_flush_or_keep(provisioner, &err)) {
        log_error(NULL, "%s (tried again)", err.message);
    }
}

void audit_append(struct provisioner *provisioner, const struct audit_event *event) {
    append(provisioner, audit_row_new(event));
}

void audit_append_tenant(struct provisioner *provisioner, const struct tenant *tenant, const char *action,
                         const char *severity, const char *detail, struct json_object *actor) {
    append(provisioner, audit_row_of_tenant(tenant, action, severity, detail, actor));
}

struct json_object *audit_record_to_json(const struct audit_record *record) {
    char created_at[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(record->created_at_ms, created_at);
    struct json_object *row = json_object_new_object();
    bool ok = row != NULL && json_add_string(row, "id", record->id) && json_add_string(row, "action", record->action) &&
              json_add_string(row, "severity", record->severity) && json_add_string(row, "user_id", record->user_id) &&
              json_add_string(row, "request_id", record->request_id) &&
              json_add_string(row, "resource_type", record->resource_type) &&
              json_add_string(row, "resource_id", record->resource_id) &&
              json_add_string(row, "detail", record->detail) &&
              json_add_string(row, "ip_address", record->ip_address) &&
              json_add_string(row, "user_agent", record->user_agent) &&
              (record->status_code == 0 ? json_add_string(row, "status_code", NULL)
                                        : json_add_int(row, "status_code", record->status_code)) &&
              json_add_string(row, "created_at", created_at);
    if (!ok) {
        json_object_put(row);
        return NULL;
    }
    return row;
}

static bool add_row(void *argument, const struct audit_record *record, struct error *err) {
    struct json_object *row = audit_record_to_json(record);
    if (row == NULL || json_object_array_add(argument, row) != 0) {
        json_object_put(row);
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    return true;
}

struct json_object *audit_list(struct provisioner *provisioner, const struct audit_filter *filter, int64_t *total,
                               struct error *err) {
    struct json_object *rows = json_object_new_array();
    if (rows == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    if (!store_list_audit(provisioner->store, filter, add_row, rows, total, err)) {
        json_object_put(rows);
        return NULL;
    }
    return rows;
}
