/* audit.h - who did what to whom: rows of the audit log (docs/audit.md).
 *
 * A row is written together with the change that it tells of, or at the latest before the answer goes out: it is
 * staged, and whatever is written next takes all staged rows along, in their order. What the database does not take
 * stays staged and is tried again, AUDIT_STAGED_MAX rows at most; meanwhile it is on disk (backlog.h). */
#ifndef TERMINALS_PROVISIONER_AUDIT_H
#define TERMINALS_PROVISIONER_AUDIT_H

#include "common/json.h"
#include "provisioner/provisioner.h"
#include "provisioner/tenants.h"

#define AUDIT_STAGED_MAX 10000

/* One event. Texts may be NULL but for the action; they are cut to what a row may hold. */
struct audit_event {
    const char *id; /* a UUID by which a peer may say it again; NULL: a new one */
    const char *action;
    const char *severity; /* NULL: "info" */
    const char *user_id;
    const char *resource_type;
    const char *resource_id;
    const char *detail;
    int64_t status_code;       /* 0: none */
    struct json_object *actor; /* `request_id`, `ip`, `user_agent`, `user_id`, all optional; may be NULL */
};

/* A row that is not written yet, with texts of its own. NULL, which all functions below take, when there is no memory;
 * that is logged. */
struct audit_row;
struct audit_row *audit_row_new(const struct audit_event *event);
struct audit_row *audit_row_of_tenant(const struct tenant *tenant, const char *action, const char *severity,
                                      const char *detail, struct json_object *actor);
void audit_row_free(struct audit_row *row);

/* Stages a row, which happens now; takes it over. Returns it, or NULL if too many wait already (that is logged). */
struct audit_row *audit_stage(struct provisioner *provisioner, struct audit_row *row);

/* What it tells of did not happen: takes it off the list and frees it. */
void audit_unstage(struct provisioner *provisioner, struct audit_row *row);

/* Takes over what a predecessor kept on disk. */
bool audit_load_backlog(struct provisioner *provisioner, struct error *err);

/* Writes what is staged, in a transaction of its own, or else keeps it on disk. False if neither works. */
bool audit_flush(struct provisioner *provisioner, struct error *err);

/* For somebody who has a transaction open: writes what is staged into it, and, once that is committed, forgets it. */
bool audit_write_staged(struct provisioner *provisioner, struct error *err);
void audit_staged_written(struct provisioner *provisioner);

/* Stages and flushes, for what changes nothing in the database or has changed it already. */
void audit_append(struct provisioner *provisioner, const struct audit_event *event);
void audit_append_tenant(struct provisioner *provisioner, const struct tenant *tenant, const char *action,
                         const char *severity, const char *detail, struct json_object *actor);

/* At the end. */
void audit_free_staged(struct provisioner *provisioner);

/* A row as the API shows it. NULL: no memory. */
struct json_object *audit_record_to_json(const struct audit_record *record);

/* The rows that match, as an array of the API's objects. NULL with *err. */
struct json_object *audit_list(struct provisioner *provisioner, const struct audit_filter *filter, int64_t *total,
                               struct error *err);

#endif
