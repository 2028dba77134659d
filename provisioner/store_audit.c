/* store_audit.c - rows of `audit_logs`. */
#include "provisioner/store_internal.h"

bool store_append_audit(struct store *store, const struct audit_record *record, struct error *err) {
    const char *const texts[] = {
        record->id,         record->action,        record->severity,    record->user_id,
        record->request_id, record->resource_type, record->resource_id, record->detail,
        record->ip_address, record->user_agent,
    };
    const int count = sizeof texts / sizeof texts[0];
    struct database_statement *statement = store_statement(store, STATEMENT_APPEND_AUDIT);
    for (int i = 0; i < count; i++) {
        if (!database_bind_text(statement, i + 1, texts[i], err)) {
            return false;
        }
    }
    return database_bind_int_or_null(statement, count + 1, record->status_code, err) &&
           database_bind_int(statement, count + 2, record->created_at_ms, err) && database_run(statement, err);
}

/* A row of what SELECT_AUDIT asks for; texts are borrowed until the next step. */
static struct audit_record current_row(struct database_statement *statement) {
    return (struct audit_record){
        .id = database_text(statement, 0),
        .action = database_text(statement, 1),
        .severity = database_text(statement, 2),
        .user_id = database_text(statement, 3),
        .request_id = database_text(statement, 4),
        .resource_type = database_text(statement, 5),
        .resource_id = database_text(statement, 6),
        .detail = database_text(statement, 7),
        .ip_address = database_text(statement, 8),
        .user_agent = database_text(statement, 9),
        .status_code = database_int(statement, 10),
        .created_at_ms = database_int(statement, 11),
        .sequence = database_int(statement, 12),
    };
}

/* The statement out of four, `first` being the one without user and action, with all that they share bound. *next is
 * the place of the next parameter. NULL with *err. */
static struct database_statement *filtered(struct store *store, enum statement first, const struct audit_filter *filter,
                                           int *next, struct error *err) {
    enum statement which = first + (filter->action != NULL ? 1 : 0) + (filter->user_id != NULL ? 2 : 0);
    struct database_statement *statement = store_statement(store, which);
    *next = 1;
    if ((filter->user_id != NULL && !database_bind_text(statement, (*next)++, filter->user_id, err)) ||
        (filter->action != NULL && !database_bind_text(statement, (*next)++, filter->action, err)) ||
        !database_bind_int(statement, (*next)++, filter->since_ms, err)) {
        return NULL;
    }
    return statement;
}

/* The first column of a statement's only row. */
static bool one_number(struct database_statement *statement, int64_t *number, struct error *err) {
    if (database_step(statement, err) < 0) {
        return false;
    }
    *number = database_int(statement, 0);
    database_reset(statement);
    return true;
}

bool store_list_audit(struct store *store, const struct audit_filter *filter,
                      bool (*row)(void *argument, const struct audit_record *record, struct error *err), void *argument,
                      int64_t *total, struct error *err) {
    int next = 0;
    struct database_statement *statement = filtered(store, STATEMENT_COUNT_AUDIT, filter, &next, err);
    if (statement == NULL || !one_number(statement, total, err)) {
        return false;
    }
    statement = filtered(store, STATEMENT_LIST_AUDIT, filter, &next, err);
    if (statement == NULL || !database_bind_int(statement, next, filter->limit, err) ||
        !database_bind_int(statement, next + 1, filter->offset, err)) {
        return false;
    }
    int more = 0;
    while ((more = database_step(statement, err)) > 0) {
        const struct audit_record record = current_row(statement);
        if (!row(argument, &record, err)) {
            database_reset(statement);
            return false;
        }
    }
    return more == 0;
}

bool store_next_audit(struct store *store, int64_t sequence,
                      bool (*row)(void *argument, const struct audit_record *record, struct error *err), void *argument,
                      bool *found, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_NEXT_AUDIT);
    int step = database_bind_int(statement, 1, sequence, err) ? database_step(statement, err) : -1;
    *found = step > 0;
    if (step <= 0) {
        return step == 0;
    }
    const struct audit_record record = current_row(statement);
    bool ok = row(argument, &record, err);
    database_reset(statement);
    return ok;
}

bool store_last_audit_sequence(struct store *store, int64_t *sequence, struct error *err) {
    return one_number(store_statement(store, STATEMENT_LAST_AUDIT), sequence, err);
}

bool store_delete_audit(struct store *store, int64_t before_ms, int64_t limit, int64_t *deleted, struct error *err) {
    struct database_statement *statement = store_statement(store, STATEMENT_DELETE_AUDIT);
    if (!database_bind_int(statement, 1, before_ms, err) || !database_bind_int(statement, 2, limit, err) ||
        !database_run(statement, err)) {
        return false;
    }
    *deleted = database_changes(statement);
    return true;
}
