-- Since when the instance has run (a policy may limit how long that may be); NULL: it does not run.
ALTER TABLE tenants ADD COLUMN started_at INTEGER;
