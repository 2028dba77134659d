/* request.h - the fields of a peer's request, checked: nothing of another type or with a NUL inside gets past here.
 * Everything returned is borrowed from the request. Thread-safe. */
#ifndef TERMINALS_PROVISIONER_REQUEST_H
#define TERMINALS_PROVISIONER_REQUEST_H

#include "common/error.h"
#include "common/json.h"
#include "provisioner/store.h"

#define REQUEST_LIMIT_MAX      1000
#define REQUEST_API_KEYS_MAX   1000
#define REQUEST_ROUTES_MAX     100000
#define REQUEST_WEBSOCKETS_MAX 10000000

/* The id of a message; -1 with *err if it has none. */
int64_t request_id(struct json_object *request, struct error *err);

/* A text; absent and null give NULL. False with *err for everything else. */
bool request_string(struct json_object *request, const char *field, const char **text, struct error *err);
bool request_required_string(struct json_object *request, const char *field, const char **text, struct error *err);

/* A whole number from `low` to `high`; absent and null give `fallback`. */
bool request_int(struct json_object *request, const char *field, int64_t low, int64_t high, int64_t fallback,
                 int64_t *value, struct error *err);
bool request_bool(struct json_object *request, const char *field, bool *value, struct error *err);

/* `actor`: NULL if absent; its fields are texts or absent. */
bool request_actor(struct json_object *request, struct json_object **actor, struct error *err);

/* `event_id`: NULL if absent, else 36 characters of a UUID. */
bool request_event_id(struct json_object *request, const char **event_id, struct error *err);

/* An array of texts, all of 64 upper-case hex digits, `max` at most. The array is the caller's to free. */
bool request_digests(struct json_object *request, const char *field, size_t max, const char ***digests, size_t *count,
                     struct error *err);
bool request_digest(struct json_object *request, const char *field, const char **digest, struct error *err);
bool request_route_key(struct json_object *request, const char **route_key, struct error *err);

/* user_id, policy_id, context_id by the rules of names.h. */
struct tenant_name;
bool request_tenant_name(struct json_object *request, struct tenant_name *name, struct error *err);

/* `policy_id`, which must be there. */
bool request_policy_id(struct json_object *request, const char **policy_id, struct error *err);

/* An object, which must be there. */
bool request_object(struct json_object *request, const char *field, struct json_object **object, struct error *err);

/* limit and offset of a page; without a limit, all. */
bool request_page(struct json_object *request, int64_t *limit, int64_t *offset, struct error *err);

/* user_id, policy_id, context_id, each NULL for any; only_idle, which is true unless it says otherwise; reset. */
struct refresh_filter {
    const char *user_id;
    const char *policy_id;
    const char *context_id;
    bool only_idle;
    bool reset;
    const char *action; /* what the audit log calls a stop, constant text; NULL: tenant_stopped */
};
bool request_refresh_filter(struct json_object *request, struct refresh_filter *filter, struct error *err);

/* limit, offset, action, user_id, since (RFC 3339). */
bool request_audit_filter(struct json_object *request, struct audit_filter *filter, struct error *err);

/* limit, offset, status, policy_id, user_id, q, sort. */
enum tenant_sort {
    TENANT_SORT_NONE, /* in order of creation */
    TENANT_SORT_USER,
    TENANT_SORT_POLICY,
    TENANT_SORT_STATUS, /* by its name */
    TENANT_SORT_CREATED,
    TENANT_SORT_ACCESSED,
};
struct tenant_filter {
    bool any_status;
    enum instance_state status;
    const char *policy_id; /* NULL: any */
    const char *user_id;   /* NULL: any */
    const char *text;      /* in the id of user, policy or context, ASCII letters in any case; NULL: any */
    enum tenant_sort sort;
    bool is_descending;
    int64_t limit;
    int64_t offset;
};
bool request_tenant_filter(struct json_object *request, struct tenant_filter *filter, struct error *err);

#endif
