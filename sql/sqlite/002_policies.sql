-- What an administrator says about each policy, as JSON text; `default` is always there.
CREATE TABLE policies (
    id         TEXT PRIMARY KEY NOT NULL,
    data       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
INSERT INTO policies (id, data, created_at, updated_at)
VALUES ('default', '{}', CAST(strftime('%s', 'now') AS INTEGER) * 1000, CAST(strftime('%s', 'now') AS INTEGER) * 1000);

-- Which data the instance was started with (provisioner/policy.h, `hash`); NULL: none.
ALTER TABLE tenants ADD COLUMN policy_hash TEXT;
