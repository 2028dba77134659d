-- Times are Unix milliseconds. The names and order of the columns are known to provisioner/store_*.c only.

CREATE TABLE tenants (
    id                TEXT PRIMARY KEY NOT NULL,
    user_id           TEXT NOT NULL,
    policy_id         TEXT NOT NULL,
    context_id        TEXT NOT NULL,
    route_key         TEXT NOT NULL UNIQUE,
    instance_id       TEXT,
    instance_name     TEXT NOT NULL,
    backend_type      TEXT NOT NULL,
    backend_reference TEXT,
    host              TEXT,
    port              INTEGER,
    key_encrypted     BLOB,
    status            TEXT NOT NULL
                      CHECK (status IN ('provisioning', 'running', 'stopping', 'stopped', 'error')),
    error             TEXT,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    last_accessed_at  INTEGER NOT NULL,
    UNIQUE (user_id, policy_id, context_id)
);

CREATE TABLE identities (
    digest     TEXT PRIMARY KEY NOT NULL,
    user_id    TEXT NOT NULL,
    expires_at INTEGER
);

CREATE TABLE audit_logs (
    id            TEXT PRIMARY KEY NOT NULL,
    action        TEXT NOT NULL,
    severity      TEXT NOT NULL,
    user_id       TEXT,
    request_id    TEXT,
    resource_type TEXT,
    resource_id   TEXT,
    detail        TEXT,
    ip_address    TEXT,
    user_agent    TEXT,
    status_code   INTEGER,
    created_at    INTEGER NOT NULL
);
CREATE INDEX audit_logs_created_at ON audit_logs (created_at);
CREATE INDEX audit_logs_user_id ON audit_logs (user_id, created_at);

-- Single values the program keeps for itself, such as the check value of the encryption key.
CREATE TABLE properties (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
);
