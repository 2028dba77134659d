-- What happens to the folders of a policy's tenants by itself. The schedule counts from `since`: it is not about times before.
CREATE TABLE lifecycles (
    policy_id TEXT PRIMARY KEY NOT NULL REFERENCES policies (id) ON DELETE CASCADE,
    schedule  TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    since     INTEGER NOT NULL
);

-- The newest due time for which a tenant's folder was emptied, or for which there was nothing to empty.
CREATE TABLE resets (
    tenant_id TEXT PRIMARY KEY NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    due_at    INTEGER NOT NULL
);
