/* audit.h - who did what to whom: rows of the audit log. */
#ifndef TERMINALS_PROVISIONER_AUDIT_H
#define TERMINALS_PROVISIONER_AUDIT_H

#include "common/json.h"
#include "provisioner/provisioner.h"
#include "provisioner/tenants.h"

/* One event. Texts may be NULL but for the action; they are cut to what a row may hold. */
struct audit_event {
    const char *action;
    const char *severity; /* NULL: "info" */
    const char *user_id;
    const char *resource_type;
    const char *resource_id;
    const char *detail;
    int64_t status_code;       /* 0: none */
    struct json_object *actor; /* `request_id`, `ip`, `user_agent`, `user_id`, all optional; may be NULL */
};

/* Appends it at once. A database that does not take it is logged, and does not stop what is going on. */
void audit_append(struct provisioner *provisioner, const struct audit_event *event);

/* The same about a tenant; `actor` is who caused it. */
void audit_append_tenant(struct provisioner *provisioner, const struct tenant *tenant, const char *action,
                         const char *severity, const char *detail, struct json_object *actor);

/* The rows that match, as an array of the API's objects. NULL with *err. */
struct json_object *audit_list(struct provisioner *provisioner, const struct audit_filter *filter, int64_t *total,
                               struct error *err);

#endif
