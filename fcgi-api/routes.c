#include "fcgi-api/routes.h"

#include <stdint.h>
#include <string.h>

#include "fcgi-api/calls.h"
#include "fcgi-api/uri.h"

#define LIST_LIMIT_MAX 1000

static const char *const tenant_statuses[] = {"provisioning", "running", "stopping", "stopped", "error", NULL};

static const char *const audit_formats[] = {"json", "csv", NULL};

#define NAMED(name, type)                                                                                              \
    { name, type, 0, 0, NULL, NULL }
#define LIMIT(fallback)                                                                                                \
    { "limit", QUERY_NUMBER, 1, LIST_LIMIT_MAX, NULL, fallback }
#define OFFSET                                                                                                         \
    { "offset", QUERY_NUMBER, 0, INT64_MAX, NULL, "0" }
#define END                                                                                                            \
    { NULL, QUERY_TEXT, 0, 0, NULL, NULL }

static const struct query_field which_query[] = {NAMED("policy_id", QUERY_POLICY), NAMED("context_id", QUERY_CONTEXT),
                                                 END};
static const struct query_field delete_query[] = {NAMED("policy_id", QUERY_POLICY), NAMED("context_id", QUERY_CONTEXT),
                                                  NAMED("purge", QUERY_SWITCH), END};
static const struct query_field tenants_query[] = {{"status", QUERY_CHOICE, 0, 0, tenant_statuses, NULL},
                                                   NAMED("policy_id", QUERY_POLICY),
                                                   NAMED("user_id", QUERY_TEXT),
                                                   NAMED("q", QUERY_TEXT),
                                                   NAMED("sort", QUERY_TEXT),
                                                   LIMIT("1000"),
                                                   OFFSET,
                                                   END};
static const struct query_field audit_query[] = {LIMIT("100"),
                                                 OFFSET,
                                                 NAMED("action", QUERY_TEXT),
                                                 NAMED("user_id", QUERY_TEXT),
                                                 NAMED("since", QUERY_TIME),
                                                 {"format", QUERY_CHOICE, 0, 0, audit_formats, "json"},
                                                 END};

static const struct query_field change_query[] = {NAMED("dry_run", QUERY_SWITCH), END};

#define API "/api/v1"

static const struct query_field page_query[] = {LIMIT("1000"), OFFSET, END};

static const struct body_field tenant_body[] = {{"user_id", BODY_TEXT, true},
                                                {"policy_id", BODY_TEXT, false},
                                                {"context_id", BODY_TEXT, false},
                                                {NULL, BODY_TEXT, false}};
static const struct body_field refresh_body[] = {{"user_id", BODY_TEXT, false},    {"policy_id", BODY_TEXT, false},
                                                 {"context_id", BODY_TEXT, false}, {"only_idle", BODY_SWITCH, false},
                                                 {"reset", BODY_SWITCH, false},    {NULL, BODY_TEXT, false}};

/* clang-format off */
static const struct route routes[] = {
    /* method   pattern                            handler             operation           query          parameter    result         waits          users  body */
    {"POST",   API "/tenants",                     call_create_tenant, "tenant_create",    which_query,   NULL,        "tenant",      WAIT_INSTANCE, true,  NULL},
    {"GET",    API "/tenants",                     call_list,          "tenant_list",      tenants_query, NULL,        "tenants",     WAIT_NONE,     false, NULL},
    {"GET",    API "/tenants/{user_id}",           call_member,        "tenant_get",       which_query,   "user_id",   "tenant",      WAIT_NONE,     true,  NULL},
    {"POST",   API "/tenants/{user_id}/start",     call_member,        "tenant_start",     which_query,   "user_id",   "tenant",      WAIT_INSTANCE, false, NULL},
    {"POST",   API "/tenants/{user_id}/stop",      call_member,        "tenant_stop",      which_query,   "user_id",   "tenant",      WAIT_INSTANCE, false, NULL},
    {"DELETE", API "/tenants/{user_id}",           call_delete,        "tenant_delete",    delete_query,  "user_id",   NULL,          WAIT_INSTANCE, false, NULL},
    {"GET",    API "/policies",                    call_list,          "policy_list",      page_query,    NULL,        "policies",    WAIT_NONE,     false, NULL},
    {"POST",   API "/policies",                    call_create_policy, "policy_create",    change_query,  NULL,        "policy",      WAIT_NONE,     false, NULL},
    {"GET",    API "/policies/{policy_id}",        call_member,        "policy_get",       NULL,          "policy_id", "policy",      WAIT_NONE,     false, NULL},
    {"PUT",    API "/policies/{policy_id}",        call_update_policy, "policy_update",    change_query,  "policy_id", "policy",      WAIT_NONE,     false, NULL},
    {"DELETE", API "/policies/{policy_id}",        call_delete,        "policy_delete",    NULL,          "policy_id", NULL,          WAIT_NONE,     false, NULL},
    {"GET",    API "/policies/{policy_id}/lifecycle", call_member,     "lifecycle_get",    NULL,          "policy_id", "lifecycle",   WAIT_NONE,     false, NULL},
    {"PUT",    API "/policies/{policy_id}/lifecycle", call_update_lifecycle, "lifecycle_update", NULL,    "policy_id", "lifecycle",   WAIT_NONE,     false, NULL},
    {"GET",    API "/terminals",                   call_list,          "terminal_list",    page_query,    NULL,        "terminals",   WAIT_NONE,     false, NULL},
    {"POST",   API "/terminals/open",              call_member,        "terminal_open",    NULL,          NULL,        "terminal",    WAIT_INSTANCE, false, tenant_body},
    {"POST",   API "/terminals/stop",              call_member,        "terminal_stop",    NULL,          NULL,        "tenant",      WAIT_INSTANCE, false, tenant_body},
    {"POST",   API "/terminals/refresh",           call_member,        "terminal_refresh", NULL,          NULL,        "result",      WAIT_MANY,     false, refresh_body},
    {"GET",    API "/config",                      call_config,        "config",           NULL,          NULL,        "config",      WAIT_NONE,     false, NULL},
    {"GET",    API "/stats",                       call_member,        "stats",            NULL,          NULL,        "stats",       WAIT_NONE,     false, NULL},
    {"GET",    API "/stats/history",               call_member,        "stats_history",    NULL,          NULL,        "history",     WAIT_NONE,     false, NULL},
    {"GET",    API "/status",                      call_member,        "status",           NULL,          NULL,        "status",      WAIT_NONE,     false, NULL},
    {"GET",    API "/audit-logs",                  call_audit_logs,    "audit_list",       audit_query,   NULL,        "audit_logs",  WAIT_NONE,     false, NULL},
    {"GET",    "/metrics",                         call_metrics,       "metrics",          NULL,          NULL,        "metrics",     WAIT_NONE,     false, NULL},
    {"GET",    "/openapi.json",                    call_openapi,       "openapi",          NULL,          NULL,        "document",    WAIT_NONE,     true,  NULL},
    {"GET",    "/p/{policy}/openapi.json",         call_openapi,       "openapi",          NULL,          "policy_id", "document",    WAIT_NONE,     true,  NULL},
};
/* clang-format on */

/* Does the path have the form of the pattern? Sets the span of what stands for `{…}` (within path), NULL without one.
 */
static bool pattern_matches(const char *pattern, const char *path, size_t length, const char **found,
                            size_t *found_length) {
    const char *end = path + length;
    *found = NULL;
    while (*pattern != '\0') {
        if (*pattern == '{') {
            const char *slash = memchr(path, '/', (size_t)(end - path));
            *found = path;
            *found_length = (size_t)((slash == NULL ? end : slash) - path);
            if (*found_length == 0 && strncmp(pattern, "{policy}", strlen("{policy}")) != 0) {
                return false;
            }
            path += *found_length;
            pattern = strchr(pattern, '}') + 1;
        } else if (path < end && *path == *pattern) {
            path++;
            pattern++;
        } else {
            return false;
        }
    }
    return path == end || (end - path == 1 && *path == '/');
}

static bool add_method(struct buffer *allow, const char *method) {
    return buffer_append_format(allow, "%s%s%s", allow->length == 0 ? "" : ", ", method,
                                strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

const struct route *route_find(const char *method, const char *target, char **parameter, struct buffer *allow,
                               struct error *err) {
    *parameter = NULL;
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    size_t length = uri_path_length(target);
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const char *found = NULL;
        size_t found_length = 0;
        if (!pattern_matches(routes[i].pattern, target, length, &found, &found_length)) {
            continue;
        }
        if (strcmp(routes[i].method, wanted) != 0) {
            add_method(allow, routes[i].method);
            continue;
        }
        if (found != NULL) {
            *parameter = uri_decode(found, found_length, false, err);
            return *parameter == NULL ? NULL : &routes[i];
        }
        return &routes[i];
    }
    if (allow->length > 0) {
        error_set(err, ERROR_CONFLICT, "Method Not Allowed");
    } else {
        error_set(err, ERROR_NOT_FOUND, "Not Found");
    }
    return NULL;
}
