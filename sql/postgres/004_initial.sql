-- PostgreSQL begins where SQLite had come to; from here on both have a file for each version. Times are Unix
-- milliseconds. The names and order of the columns are known to provisioner/store_*.c only.

CREATE TABLE tenants (
    id                TEXT PRIMARY KEY,
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
    key_encrypted     BYTEA,
    status            TEXT NOT NULL
                      CHECK (status IN ('provisioning', 'running', 'stopping', 'stopped', 'error')),
    error             TEXT,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    last_accessed_at  BIGINT NOT NULL,
    policy_hash       TEXT,
    UNIQUE (user_id, policy_id, context_id)
);

CREATE TABLE policies (
    id         TEXT PRIMARY KEY,
    data       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO policies (id, data, created_at, updated_at)
VALUES ('default', '{}', floor(extract(epoch FROM now()))::BIGINT * 1000, floor(extract(epoch FROM now()))::BIGINT * 1000);

CREATE TABLE identities (
    digest     TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL,
    expires_at BIGINT
);

CREATE TABLE audit_logs (
    sequence      BIGINT PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
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
    created_at    BIGINT NOT NULL
);
-- One for each way to ask. The sequence is part of each, since rows of equal times come in its order.
CREATE INDEX audit_logs_created_at ON audit_logs (created_at, sequence);
CREATE INDEX audit_logs_action ON audit_logs (action, created_at, sequence);
CREATE INDEX audit_logs_user_id ON audit_logs (user_id, created_at, sequence);
CREATE INDEX audit_logs_user_id_action ON audit_logs (user_id, action, created_at, sequence);

-- The number of the last row of the audit log. A SEQUENCE would have gaps, and give numbers in another order than that
-- of the commits: the SIEM webhook's place in the queue would step over rows that are committed after it has passed.
CREATE TABLE audit_sequence (
    last BIGINT NOT NULL
);
INSERT INTO audit_sequence (last) VALUES (0);

-- Single values the program keeps for itself, such as the check value of the encryption key.
CREATE TABLE properties (
    name  TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);
