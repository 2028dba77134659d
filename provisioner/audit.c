#include "provisioner/audit.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/log.h"

#define AUDIT_TEXT_MAX_BYTES 1024

/* A text as a row may hold it: itself, or a copy in `buffer` that is cut between two UTF-8 characters. */
static const char *shortened(const char *text, char buffer[AUDIT_TEXT_MAX_BYTES + 1]) {
    if (text == NULL || strlen(text) <= AUDIT_TEXT_MAX_BYTES) {
        return text;
    }
    size_t length = AUDIT_TEXT_MAX_BYTES;
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) {
        length--;
    }
    memcpy(buffer, text, length);
    buffer[length] = '\0';
    return buffer;
}

void audit_append(struct provisioner *provisioner, const struct audit_event *event) {
    struct error err;
    char id[37];
    char buffers[9][AUDIT_TEXT_MAX_BYTES + 1];
    if (!digest_uuid(id)) {
        log_error(NULL, "audit %s: the kernel gives no random bytes", event->action);
        return;
    }
    const char *request_id = json_get_string(event->actor, "request_id");
    const struct audit_record record = {
        .id = id,
        .action = shortened(event->action, buffers[0]),
        .severity = event->severity == NULL ? "info" : shortened(event->severity, buffers[1]),
        .user_id =
            shortened(event->user_id != NULL ? event->user_id : json_get_string(event->actor, "user_id"), buffers[2]),
        .request_id = shortened(request_id, buffers[3]),
        .resource_type = shortened(event->resource_type, buffers[4]),
        .resource_id = shortened(event->resource_id, buffers[5]),
        .detail = shortened(event->detail, buffers[6]),
        .ip_address = shortened(json_get_string(event->actor, "ip"), buffers[7]),
        .user_agent = shortened(json_get_string(event->actor, "user_agent"), buffers[8]),
        .status_code = event->status_code,
        .created_at_ms = clock_unix_ms(),
    };
    if (!store_append_audit(provisioner->store, &record, &err)) {
        log_error(request_id, "audit %s user=%s: %s", record.action, record.user_id == NULL ? "-" : record.user_id,
                  err.message);
    }
}

void audit_append_tenant(struct provisioner *provisioner, const struct tenant *tenant, const char *action,
                         const char *severity, const char *detail, struct json_object *actor) {
    audit_append(provisioner, &(struct audit_event){
                                  .action = action,
                                  .severity = severity,
                                  .user_id = tenant->record.user_id,
                                  .resource_type = "tenant",
                                  .resource_id = tenant->record.id,
                                  .detail = detail,
                                  .actor = actor,
                              });
}

static bool add_row(void *argument, const struct audit_record *record, struct error *err) {
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
              json_add_string(row, "created_at", created_at) && json_object_array_add(argument, row) == 0;
    if (!ok) {
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
