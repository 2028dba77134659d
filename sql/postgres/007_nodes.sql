-- Several nodes with one database (docs/clustering.md). Times are milliseconds of the database's own clock, so that no
-- node's clock matters.
CREATE TABLE nodes (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    seen_at    BIGINT NOT NULL,
    websockets BIGINT NOT NULL
);

-- Who leads, and until when that holds unless it is renewed. One row.
CREATE TABLE leadership (
    term       BIGINT NOT NULL,
    node_id    TEXT NOT NULL,
    backend    TEXT NOT NULL,
    renewed_at BIGINT NOT NULL
);
INSERT INTO leadership (term, node_id, backend, renewed_at) VALUES (0, '', '', 0);

-- What a node tells another one: sealed, read once, and worth nothing after a crash of the database.
CREATE UNLOGGED TABLE node_messages (
    id      BIGSERIAL PRIMARY KEY,
    to_node TEXT NOT NULL,
    sent_at BIGINT NOT NULL,
    body    BYTEA NOT NULL
);
CREATE INDEX node_messages_to_node ON node_messages (to_node, id);
