/* store_statements.c - the SQL of every statement, once; see database.h for what both databases take. */
#include "provisioner/store_internal.h"

#define TENANT_COLUMNS                                                                                                 \
    "id, user_id, policy_id, context_id, route_key, instance_id, instance_name, backend_type, backend_reference, "     \
    "host, port, key_encrypted, status, error, created_at, updated_at, last_accessed_at, policy_hash"
#define AUDIT_COLUMNS                                                                                                  \
    "id, action, severity, user_id, request_id, resource_type, resource_id, detail, ip_address, user_agent, "          \
    "status_code, created_at"
/* One statement for each way to ask, so that each has its index. */
#define COUNT_AUDIT   "SELECT count(*) FROM (SELECT 1 FROM audit_logs WHERE "
#define COUNT_UP_TO   " LIMIT 100000) AS matches" /* STORE_AUDIT_TOTAL_MAX */
#define SELECT_AUDIT  "SELECT " AUDIT_COLUMNS ", sequence FROM audit_logs WHERE "
#define AUDIT_SINCE   "created_at >= $1"
#define AUDIT_OF_ONE  " = $1 AND created_at >= $2"
#define AUDIT_OF_BOTH "user_id = $1 AND action = $2 AND created_at >= $3"
#define AUDIT_BY_AGE  " ORDER BY created_at DESC, sequence DESC "

static const char *const statement_texts[STATEMENT_COUNT] = {
    [STATEMENT_SAVE_TENANT] =
        "INSERT INTO tenants (" TENANT_COLUMNS ") "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) "
        "ON CONFLICT (id) DO UPDATE SET instance_id = excluded.instance_id, instance_name = excluded.instance_name, "
        "backend_type = excluded.backend_type, backend_reference = excluded.backend_reference, host = excluded.host, "
        "port = excluded.port, key_encrypted = excluded.key_encrypted, status = excluded.status, "
        "error = excluded.error, updated_at = excluded.updated_at, last_accessed_at = excluded.last_accessed_at, "
        "policy_hash = excluded.policy_hash",
    [STATEMENT_DELETE_TENANT] = "DELETE FROM tenants WHERE id = $1",
    [STATEMENT_LIST_TENANTS] = "SELECT " TENANT_COLUMNS " FROM tenants ORDER BY created_at, id",
    [STATEMENT_SAVE_ACCESS] = "UPDATE tenants SET last_accessed_at = $1 WHERE id = $2",
    [STATEMENT_REPLACE_KEY] = "UPDATE tenants SET key_encrypted = $1 WHERE id = $2",
    [STATEMENT_SAVE_POLICY] = "INSERT INTO policies (id, data, created_at, updated_at) VALUES ($1, $2, $3, $4) "
                              "ON CONFLICT (id) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at",
    [STATEMENT_DELETE_POLICY] = "DELETE FROM policies WHERE id = $1",
    [STATEMENT_LIST_POLICIES] = "SELECT id, data, created_at, updated_at FROM policies ORDER BY created_at, id",
    [STATEMENT_SAVE_LIFECYCLE] =
        "INSERT INTO lifecycles (policy_id, schedule, time_zone, since) VALUES ($1, $2, $3, $4) ON CONFLICT "
        "(policy_id) "
        "DO UPDATE SET schedule = excluded.schedule, time_zone = excluded.time_zone, since = excluded.since",
    [STATEMENT_DELETE_LIFECYCLE] = "DELETE FROM lifecycles WHERE policy_id = $1",
    [STATEMENT_LIST_LIFECYCLES] = "SELECT policy_id, schedule, time_zone, since FROM lifecycles ORDER BY policy_id",
    [STATEMENT_SAVE_RESET] = "INSERT INTO resets (tenant_id, due_at) VALUES ($1, $2) "
                             "ON CONFLICT (tenant_id) DO UPDATE SET due_at = excluded.due_at",
    [STATEMENT_LIST_RESETS] = "SELECT resets.tenant_id, tenants.route_key, resets.due_at FROM resets "
                              "JOIN tenants ON tenants.id = resets.tenant_id",
    [STATEMENT_DELETE_API_KEYS] = "DELETE FROM identities WHERE user_id = '*'",
    [STATEMENT_ADD_API_KEY] = "INSERT INTO identities (digest, user_id) VALUES ($1, '*') "
                              "ON CONFLICT (digest) DO UPDATE SET user_id = '*', expires_at = NULL",
    [STATEMENT_LIST_IDENTITIES] = "SELECT digest, user_id, coalesce(expires_at, 0) FROM identities "
                                  "WHERE expires_at IS NULL OR expires_at > $1",
    [STATEMENT_SAVE_IDENTITY] =
        "INSERT INTO identities (digest, user_id, expires_at) VALUES ($1, $2, $3) "
        "ON CONFLICT (digest) DO UPDATE SET user_id = excluded.user_id, expires_at = excluded.expires_at",
    [STATEMENT_DELETE_EXPIRED_IDENTITIES] = "DELETE FROM identities WHERE expires_at <= $1",
    [STATEMENT_DELETE_USERS_IDENTITIES] = "DELETE FROM identities WHERE user_id <> '*'",
    [STATEMENT_DELETE_ALL_IDENTITIES] = "DELETE FROM identities",
    [STATEMENT_APPEND_AUDIT] = "INSERT INTO audit_logs (" AUDIT_COLUMNS ") "
                               "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 "
                               "WHERE NOT EXISTS (SELECT 1 FROM audit_logs WHERE id = $1)",
    [STATEMENT_COUNT_AUDIT] = COUNT_AUDIT AUDIT_SINCE COUNT_UP_TO,
    [STATEMENT_COUNT_AUDIT_OF_ACTION] = COUNT_AUDIT "action" AUDIT_OF_ONE COUNT_UP_TO,
    [STATEMENT_COUNT_AUDIT_OF_USER] = COUNT_AUDIT "user_id" AUDIT_OF_ONE COUNT_UP_TO,
    [STATEMENT_COUNT_AUDIT_OF_BOTH] = COUNT_AUDIT AUDIT_OF_BOTH COUNT_UP_TO,
    [STATEMENT_LIST_AUDIT] = SELECT_AUDIT AUDIT_SINCE AUDIT_BY_AGE "LIMIT $2 OFFSET $3",
    [STATEMENT_LIST_AUDIT_OF_ACTION] = SELECT_AUDIT "action" AUDIT_OF_ONE AUDIT_BY_AGE "LIMIT $3 OFFSET $4",
    [STATEMENT_LIST_AUDIT_OF_USER] = SELECT_AUDIT "user_id" AUDIT_OF_ONE AUDIT_BY_AGE "LIMIT $3 OFFSET $4",
    [STATEMENT_LIST_AUDIT_OF_BOTH] = SELECT_AUDIT AUDIT_OF_BOTH AUDIT_BY_AGE "LIMIT $4 OFFSET $5",
    [STATEMENT_NEXT_AUDIT] = SELECT_AUDIT "sequence > $1 ORDER BY sequence LIMIT 1",
    [STATEMENT_LAST_AUDIT] = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit_logs'), 0)",
    [STATEMENT_DELETE_AUDIT] = "DELETE FROM audit_logs WHERE sequence IN (SELECT sequence FROM audit_logs "
                               "WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
    [STATEMENT_GET_PROPERTY] = "SELECT value FROM properties WHERE name = $1",
    [STATEMENT_SET_PROPERTY] = "INSERT INTO properties (name, value) VALUES ($1, $2) "
                               "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
};

/* Where PostgreSQL has other means. */
static const char *const statement_texts_of_postgres[STATEMENT_COUNT] = {
    /* The row of audit_sequence is locked until the commit, so that numbers are in the order of the commits. */
    [STATEMENT_APPEND_AUDIT] = "WITH next AS (UPDATE audit_sequence SET last = last + 1 "
                               "WHERE NOT EXISTS (SELECT 1 FROM audit_logs WHERE id = $1) RETURNING last) "
                               "INSERT INTO audit_logs (" AUDIT_COLUMNS ", sequence) "
                               "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, last FROM next",
    [STATEMENT_LAST_AUDIT] = "SELECT last FROM audit_sequence",
};

const char *store_statement_text(enum database_kind kind, enum statement which) {
    const char *text = kind == DATABASE_POSTGRES ? statement_texts_of_postgres[which] : NULL;
    return text != NULL ? text : statement_texts[which];
}
