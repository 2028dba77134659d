#include "provisioner/request.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/names.h"
#include "provisioner/tenants.h"

/* The member, or NULL if it is absent or null. */
static struct json_object *member(struct json_object *request, const char *field) {
    struct json_object *value = NULL;
    return json_object_object_get_ex(request, field, &value) ? value : NULL;
}

static bool text_of(struct json_object *value, const char *field, const char **text, struct error *err) {
    if (!json_object_is_type(value, json_type_string)) {
        return error_set(err, ERROR_INVALID, "`%s` must be a text", field);
    }
    *text = json_object_get_string(value);
    if (strlen(*text) != (size_t)json_object_get_string_len(value)) {
        return error_set(err, ERROR_INVALID, "`%s` must not hold a NUL", field);
    }
    return true;
}

int64_t request_id(struct json_object *request, struct error *err) {
    int64_t id = -1;
    if (member(request, "id") == NULL || !request_int(request, "id", 0, INT64_MAX, -1, &id, err)) {
        error_set(err, ERROR_INVALID, "a message without a whole number as `id`");
        return -1;
    }
    return id;
}

bool request_string(struct json_object *request, const char *field, const char **text, struct error *err) {
    struct json_object *value = member(request, field);
    *text = NULL;
    return value == NULL || text_of(value, field, text, err);
}

bool request_required_string(struct json_object *request, const char *field, const char **text, struct error *err) {
    if (!request_string(request, field, text, err)) {
        return false;
    }
    if (*text == NULL) {
        error_set(err, ERROR_INVALID, "`%s` is missing", field);
        return false;
    }
    return true;
}

bool request_int(struct json_object *request, const char *field, int64_t low, int64_t high, int64_t fallback,
                 int64_t *value, struct error *err) {
    struct json_object *found = member(request, field);
    *value = found == NULL ? fallback : json_object_get_int64(found);
    if (found != NULL && (!json_object_is_type(found, json_type_int) || *value < low || *value > high)) {
        return error_set(err, ERROR_INVALID, "`%s` must be a whole number from %lld to %lld", field, (long long)low,
                         (long long)high);
    }
    return true;
}

bool request_bool(struct json_object *request, const char *field, bool *value, struct error *err) {
    struct json_object *found = member(request, field);
    if (found != NULL && !json_object_is_type(found, json_type_boolean)) {
        return error_set(err, ERROR_INVALID, "`%s` must be true or false", field);
    }
    *value = found != NULL && json_object_get_boolean(found);
    return true;
}

bool request_actor(struct json_object *request, struct json_object **actor, struct error *err) {
    static const char *const fields[] = {"request_id", "ip", "user_agent", "user_id"};
    const char *ignored;
    *actor = member(request, "actor");
    if (*actor != NULL && !json_object_is_type(*actor, json_type_object)) {
        return error_set(err, ERROR_INVALID, "`actor` must be an object");
    }
    for (size_t i = 0; *actor != NULL && i < sizeof fields / sizeof fields[0]; i++) {
        if (!request_string(*actor, fields[i], &ignored, err)) {
            return error_prefix(err, "actor");
        }
    }
    return true;
}

static bool is_digest(const char *text) {
    return text != NULL && strlen(text) == DIGEST_HEX_LENGTH && strspn(text, "0123456789ABCDEF") == DIGEST_HEX_LENGTH;
}

bool request_digests(struct json_object *request, const char *field, size_t max, const char ***digests, size_t *count,
                     struct error *err) {
    struct json_object *array = member(request, field);
    *count = 0;
    if (array == NULL || !json_object_is_type(array, json_type_array) || json_object_array_length(array) > max) {
        return error_set(err, ERROR_INVALID, "`%s` must be an array of at most %zu texts", field, max);
    }
    size_t length = json_object_array_length(array);
    cleanup_free const char **list = calloc(length + 1, sizeof *list);
    if (list == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    for (size_t i = 0; i < length; i++) {
        if (!text_of(json_object_array_get_idx(array, i), field, &list[i], err)) {
            return false;
        }
        if (!is_digest(list[i])) {
            return error_set(err, ERROR_INVALID, "`%s` must hold 64 upper-case hex digits each", field);
        }
    }
    *count = length;
    *digests = steal_pointer(&list);
    return true;
}

bool request_digest(struct json_object *request, const char *field, const char **digest, struct error *err) {
    return request_required_string(request, field, digest, err) &&
           (is_digest(*digest) || error_set(err, ERROR_INVALID, "`%s` must be 64 upper-case hex digits", field));
}

bool request_route_key(struct json_object *request, const char **route_key, struct error *err) {
    return request_digest(request, "route_key", route_key, err);
}

bool request_tenant_name(struct json_object *request, struct tenant_name *name, struct error *err) {
    if (!request_string(request, "user_id", &name->user_id, err) ||
        !request_string(request, "policy_id", &name->policy_id, err) ||
        !request_string(request, "context_id", &name->context_id, err)) {
        return false;
    }
    name->policy_id = name_or_default(name->policy_id);
    name->context_id = name_or_default(name->context_id);
    return name_check_user_id(name->user_id, err) && name_check_policy_id(name->policy_id, err) &&
           name_check_context_id(name->context_id, err) &&
           (name_route_key(name->user_id, name->policy_id, name->context_id, name->route_key) ||
            error_set(err, ERROR_INTERNAL, "compute the key of a route"));
}

bool request_event_id(struct json_object *request, const char **event_id, struct error *err) {
    if (!request_string(request, "event_id", event_id, err)) {
        return false;
    }
    return *event_id == NULL || (strlen(*event_id) == 36 && strspn(*event_id, "0123456789abcdef-") == 36) ||
           error_set(err, ERROR_INVALID, "`event_id` must be a UUID in lower case");
}

static bool page(struct json_object *request, int64_t *limit, int64_t limit_default, int64_t *offset,
                 struct error *err) {
    return request_int(request, "limit", 1, REQUEST_LIMIT_MAX, limit_default, limit, err) &&
           request_int(request, "offset", 0, INT64_MAX, 0, offset, err);
}

bool request_page(struct json_object *request, int64_t *limit, int64_t *offset, struct error *err) {
    return page(request, limit, REQUEST_LIMIT_MAX, offset, err);
}

bool request_policy_id(struct json_object *request, const char **policy_id, struct error *err) {
    return request_required_string(request, "policy_id", policy_id, err) && name_check_policy_id(*policy_id, err);
}

bool request_object(struct json_object *request, const char *field, struct json_object **object, struct error *err) {
    *object = json_get_object(request, field);
    return *object != NULL || error_set(err, ERROR_INVALID, "`%s` must be an object", field);
}

bool request_refresh_filter(struct json_object *request, struct refresh_filter *filter, struct error *err) {
    *filter = (struct refresh_filter){0};
    if (!request_string(request, "user_id", &filter->user_id, err) ||
        !request_string(request, "policy_id", &filter->policy_id, err) ||
        !request_string(request, "context_id", &filter->context_id, err) ||
        !request_bool(request, "only_idle", &filter->only_idle, err) ||
        !request_bool(request, "reset", &filter->reset, err)) {
        return false;
    }
    filter->only_idle = filter->only_idle || member(request, "only_idle") == NULL;
    /* An empty name is a mistake, and must not pass for `any`. */
    return (filter->user_id == NULL || name_check_user_id(filter->user_id, err)) &&
           (filter->policy_id == NULL || name_check_policy_id(filter->policy_id, err)) &&
           (filter->context_id == NULL || name_check_context_id(filter->context_id, err));
}

bool request_audit_filter(struct json_object *request, struct audit_filter *filter, struct error *err) {
    const char *since = NULL;
    *filter = (struct audit_filter){0};
    if (!page(request, &filter->limit, 100, &filter->offset, err) ||
        !request_string(request, "action", &filter->action, err) ||
        !request_string(request, "user_id", &filter->user_id, err) || !request_string(request, "since", &since, err)) {
        return false;
    }
    return since == NULL || clock_parse_rfc3339(since, &filter->since_ms) ||
           error_set(err, ERROR_INVALID, "`since` must be a time such as 2026-01-31T12:00:00Z");
}

/* A field, with `-` before it for descending. */
static bool read_sort(const char *text, struct tenant_filter *filter, struct error *err) {
    static const char *const fields[] = {
        [TENANT_SORT_USER] = "user_id",
        [TENANT_SORT_POLICY] = "policy_id",
        [TENANT_SORT_STATUS] = "status",
        [TENANT_SORT_CREATED] = "created_at",
        [TENANT_SORT_ACCESSED] = "last_accessed_at",
    };
    filter->is_descending = text[0] == '-';
    for (size_t i = TENANT_SORT_USER; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(text + filter->is_descending, fields[i]) == 0) {
            filter->sort = (enum tenant_sort)i;
            return true;
        }
    }
    return error_set(err, ERROR_INVALID,
                     "`sort` must be user_id, policy_id, status, created_at or last_accessed_at, with `-` before it "
                     "for descending, and not `%.50s`",
                     text);
}

bool request_tenant_filter(struct json_object *request, struct tenant_filter *filter, struct error *err) {
    const char *status = NULL;
    const char *sort = NULL;
    *filter = (struct tenant_filter){0};
    if (!page(request, &filter->limit, REQUEST_LIMIT_MAX, &filter->offset, err) ||
        !request_string(request, "status", &status, err) ||
        !request_string(request, "policy_id", &filter->policy_id, err) ||
        !request_string(request, "user_id", &filter->user_id, err) ||
        !request_string(request, "q", &filter->text, err) || !request_string(request, "sort", &sort, err) ||
        (sort != NULL && !read_sort(sort, filter, err))) {
        return false;
    }
    filter->any_status = status == NULL;
    return status == NULL || instance_state_from_name(status, &filter->status) ||
           error_set(err, ERROR_INVALID, "`status` must be provisioning, running, stopping, stopped or error");
}
