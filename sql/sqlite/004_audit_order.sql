-- The audit log gets an order of its own. Times alone have ties, and go backwards when a clock is set; a rowid would be
-- given out again after the newest rows were deleted. The SIEM webhook's place in the queue is a number of this order.

ALTER TABLE audit_logs RENAME TO audit_logs_before;

CREATE TABLE audit_logs (
    sequence      INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
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
    created_at    INTEGER NOT NULL
);

INSERT INTO audit_logs (id, action, severity, user_id, request_id, resource_type, resource_id, detail, ip_address,
                        user_agent, status_code, created_at)
SELECT id, action, severity, user_id, request_id, resource_type, resource_id, detail, ip_address, user_agent,
       status_code, created_at
FROM audit_logs_before ORDER BY created_at, rowid;

DROP TABLE audit_logs_before;

-- One for each way to ask; within equal times an index of SQLite's is in the order of the primary key.
CREATE INDEX audit_logs_created_at ON audit_logs (created_at);
CREATE INDEX audit_logs_action ON audit_logs (action, created_at);
CREATE INDEX audit_logs_user_id ON audit_logs (user_id, created_at);
CREATE INDEX audit_logs_user_id_action ON audit_logs (user_id, action, created_at);
