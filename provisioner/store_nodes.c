#include "provisioner/store_nodes.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "provisioner/database_internal.h"
#include "provisioner/postgres_link.h"
#include "provisioner/store_internal.h"

#define TAKE_AT_ONCE     500
#define TAKE_AT_ONCE_SQL "500"
#define LEASE_SQL        "6000"    /* NODE_LEASE_MS */
#define STALE_SQL        "20000"   /* NODE_MAIL_STALE_MS */
#define FORGOTTEN_SQL    "3600000" /* of nodes that are gone, and of what was sent to them */

#define CLOCK "clock AS (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::BIGINT AS ms)"

enum node_statement {
    NODE_BEAT,
    NODE_LOCK,
    NODE_CLAIM,
    NODE_UNLOCK,
    NODE_CUT_OFF,
    NODE_RESIGN,
    NODE_OTHERS,
    NODE_ANNOUNCE,
    NODE_SEND,
    NODE_TAKE,
    NODE_FORGET_MAIL,
    NODE_ROUTES,
    NODE_STATEMENT_COUNT,
};

static const char *const texts[NODE_STATEMENT_COUNT] = {
    [NODE_BEAT] =
        "WITH " CLOCK ", beat AS (INSERT INTO nodes (id, name, websockets, seen_at) "
        "SELECT $1::TEXT, $2::TEXT, $3::BIGINT, ms FROM clock ON CONFLICT (id) DO UPDATE SET "
        "name = excluded.name, websockets = excluded.websockets, seen_at = excluded.seen_at), "
        /* A longer lease is one that was renewed later, so that whoever reads it needs to know of one length only. */
        "renewal AS (UPDATE leadership SET renewed_at = ms + $5::BIGINT - " LEASE_SQL " FROM clock "
        "WHERE node_id = $1 AND term = $4 RETURNING 1), "
        "others AS (SELECT count(*) AS number, coalesce(sum(websockets), 0)::BIGINT AS websockets FROM nodes, clock "
        "WHERE id <> $1 AND seen_at > ms - " LEASE_SQL ") "
        "SELECT term, node_id, backend, (renewed_at > ms - " LEASE_SQL ")::INT, (SELECT count(*) FROM renewal), "
        "others.number, others.websockets FROM leadership, clock, others",
    [NODE_LOCK] = "SELECT pg_try_advisory_lock(" POSTGRES_LOCK_NUMBERS ")::INT",
    [NODE_CLAIM] =
        "WITH " CLOCK " UPDATE leadership SET term = term + 1, node_id = $1, backend = $2, renewed_at = ms FROM clock "
        "WHERE node_id = $1 OR renewed_at <= ms - " LEASE_SQL " RETURNING term",
    [NODE_UNLOCK] = "SELECT pg_advisory_unlock(" POSTGRES_LOCK_NUMBERS ")",
    /* The lock goes with the session, and so does what it has not committed. */
    [NODE_CUT_OFF] = "WITH " CLOCK " SELECT pg_terminate_backend(pid)::INT FROM pg_locks, leadership, clock "
                     "WHERE NOT EXISTS (SELECT 1 FROM pg_locks AS alone WHERE alone.pid = pg_locks.pid "
                     "AND alone.locktype = 'advisory' AND alone.classid = " POSTGRES_ALONE_CLASS ") AND "
                     "locktype = 'advisory' AND classid = " POSTGRES_LOCK_CLASS " AND objsubid = 2 "
                     "AND objid::BIGINT = (" POSTGRES_LOCK_OBJECT "::BIGINT & 4294967295) AND granted "
                     "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                     "AND pid <> pg_backend_pid() AND (node_id = $1 OR renewed_at <= ms - " LEASE_SQL ")",
    [NODE_RESIGN] = "WITH resigned AS (UPDATE leadership SET renewed_at = 0 WHERE node_id = $1), "
                    "gone AS (DELETE FROM nodes WHERE id = $1) SELECT pg_notify(" POSTGRES_CHANNEL ", 'e')",
    [NODE_OTHERS] = "WITH " CLOCK " SELECT id FROM nodes, clock WHERE id <> $1 AND seen_at > ms - " LEASE_SQL,
    [NODE_ANNOUNCE] = "SELECT pg_notify(" POSTGRES_CHANNEL ", payload) FROM unnest($1::TEXT[]) AS payload",
    [NODE_SEND] = "WITH " CLOCK ", sent AS (INSERT INTO node_messages (to_node, body, sent_at) "
                  "SELECT $1::TEXT, $2::BYTEA, ms FROM clock) "
                  "SELECT pg_notify(" POSTGRES_CHANNEL ", '" NODE_MAIL "' || $1)",
    [NODE_TAKE] = "WITH " CLOCK " DELETE FROM node_messages USING clock WHERE id IN "
                  "(SELECT id FROM node_messages WHERE to_node IN ($1, $2) ORDER BY id LIMIT " TAKE_AT_ONCE_SQL ") "
                  "RETURNING id, body, (sent_at > ms - " STALE_SQL ")::INT",
    [NODE_FORGET_MAIL] =
        "WITH " CLOCK ", gone AS (DELETE FROM nodes USING clock WHERE seen_at < ms - " FORGOTTEN_SQL ") "
        "DELETE FROM node_messages USING clock WHERE to_node <> '" NODE_LEADER "' AND NOT EXISTS "
        "(SELECT 1 FROM nodes WHERE nodes.id = to_node AND seen_at >= ms - " FORGOTTEN_SQL ")",
    [NODE_ROUTES] = ("SELECT id, route_key, instance_id, host, port, key_encrypted FROM tenants "
                     "WHERE status = 'running' AND user_id <> E'\\001warm' AND host IS NOT NULL"),
};

struct node_store {
    struct database *database;
    struct postgres_link *link;
    struct database_statement *statements[NODE_STATEMENT_COUNT];
};

struct node_store *node_store_open(struct store *store, void (*notified)(void *argument, const char *payload),
                                   void (*closing)(void *argument), void *argument, struct error *err) {
    struct node_store *nodes = calloc(1, sizeof *nodes);
    if (nodes == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    nodes->database = store->database;
    nodes->link = database_postgres_link(store->database);
    for (int i = 0; i < NODE_STATEMENT_COUNT; i++) {
        nodes->statements[i] = database_prepare(nodes->database, texts[i], err);
        if (nodes->statements[i] == NULL) {
            node_store_close(nodes);
            return NULL;
        }
    }
    nodes->link->listens = true;
    nodes->link->notified = notified;
    nodes->link->closing = closing;
    nodes->link->watcher = argument;
    postgres_link_drop(nodes->link); /* the next one listens from its first moment */
    return nodes;
}

void node_store_close(struct node_store *nodes) {
    if (nodes != NULL) {
        nodes->link->notified = NULL;
        nodes->link->closing = NULL;
        for (int i = 0; i < NODE_STATEMENT_COUNT; i++) {
            database_statement_free(nodes->statements[i]);
        }
        free(nodes);
    }
}

evutil_socket_t node_store_socket(const struct node_store *nodes) {
    return nodes->link->is_connected ? PQsocket(nodes->link->connection) : -1;
}

unsigned node_store_generation(const struct node_store *nodes) {
    return nodes->link->generation;
}

void node_store_try_again(struct node_store *nodes) {
    nodes->link->retry_ms = 0;
}

bool node_store_poll(struct node_store *nodes) {
    return postgres_link_poll(nodes->link);
}

static struct database_statement *statement_of(struct node_store *nodes, enum node_statement which) {
    database_clear(nodes->statements[which]);
    return nodes->statements[which];
}

/* Runs a statement for the number in its first row, `none` where it has none. False with *err. */
static bool ask_number(struct database_statement *statement, int64_t none, int64_t *number, struct error *err) {
    int found = database_step(statement, err);
    *number = found > 0 ? database_int(statement, 0) : none;
    database_reset(statement);
    return found >= 0;
}

static void copy_text(const struct database_statement *statement, int column, char *out, size_t size) {
    const char *text = database_text(statement, column);
    snprintf(out, size, "%s", text == NULL ? "" : text);
}

bool node_store_beat(struct node_store *nodes, const struct node_beat *beat, struct node_state *state,
                     struct error *err) {
    struct database_statement *statement = statement_of(nodes, NODE_BEAT);
    if (!database_bind_text(statement, 1, beat->id, err) || !database_bind_text(statement, 2, beat->name, err) ||
        !database_bind_int(statement, 3, beat->websockets, err) || !database_bind_int(statement, 4, beat->term, err) ||
        !database_bind_int(statement, 5, beat->lease_ms, err)) {
        return false;
    }
    int found = database_step(statement, err);
    if (found <= 0) {
        return found == 0 ? error_set(err, ERROR_INTERNAL, "the table `leadership` is empty") : false;
    }
    *state = (struct node_state){
        .term = database_int(statement, 0),
        .leader_is_alive = database_int(statement, 3) != 0,
        .is_renewed = database_int(statement, 4) != 0,
        .others = database_int(statement, 5),
        .others_websockets = database_int(statement, 6),
    };
    copy_text(statement, 1, state->leader, sizeof state->leader);
    copy_text(statement, 2, state->backend, sizeof state->backend);
    database_reset(statement);
    return true;
}

/* --- leading ------------------------------------------------------------------------------------------------------ */

static void unlock(struct node_store *nodes) {
    int64_t ignored;
    struct error err;
    if (!ask_number(statement_of(nodes, NODE_UNLOCK), 0, &ignored, &err)) {
        postgres_link_drop(nodes->link);
    }
}

static bool cut_off(struct node_store *nodes, const char *id, struct error *err) {
    struct database_statement *statement = statement_of(nodes, NODE_CUT_OFF);
    int64_t ignored;
    return database_bind_text(statement, 1, id, err) && ask_number(statement, 0, &ignored, err);
}

bool node_store_lead(struct node_store *nodes, const char *id, const char *backend, int64_t *term, struct error *err) {
    int64_t is_locked = 0;
    *term = 0;
    if (!ask_number(statement_of(nodes, NODE_LOCK), 0, &is_locked, err)) {
        return false;
    }
    if (is_locked == 0) {
        return cut_off(nodes, id, err);
    }
    /* If the connection is made anew in here, the claim holds without the lock, and the next try gets it. */
    unsigned generation = nodes->link->generation;
    struct database_statement *statement = statement_of(nodes, NODE_CLAIM);
    bool ok = database_bind_text(statement, 1, id, err) && database_bind_text(statement, 2, backend, err) &&
              ask_number(statement, 0, term, err);
    if (!ok || *term == 0 || generation != nodes->link->generation) {
        *term = 0;
        unlock(nodes);
        return ok;
    }
    nodes->link->wants_lock = true;
    nodes->link->term = *term;
    return true;
}

bool node_store_is_deposed(const struct node_store *nodes) {
    return nodes->link->wants_lock && nodes->link->is_locked_out;
}

void node_store_follow(struct node_store *nodes) {
    nodes->link->wants_lock = nodes->link->is_locked_out = false;
    nodes->link->term = 0;
    nodes->link->retry_ms = 0;       /* why it could not connect may be past */
    postgres_link_drop(nodes->link); /* and with it the lock */
}

bool node_store_leave(struct node_store *nodes, const char *id, struct error *err) {
    struct database_statement *statement = statement_of(nodes, NODE_RESIGN);
    bool ok = database_bind_text(statement, 1, id, err) && database_step(statement, err) >= 0;
    database_reset(statement);
    return ok;
}

bool node_store_others(struct node_store *nodes, const char *id, char (**ids)[33], size_t *count, struct error *err) {
    struct database_statement *statement = statement_of(nodes, NODE_OTHERS);
    cleanup_free char(*list)[33] = NULL;
    size_t used = 0;
    int more = database_bind_text(statement, 1, id, err) ? 0 : -1;
    while (more >= 0 && (more = database_step(statement, err)) > 0) {
        char(*grown)[33] = reallocarray(list, used + 1, sizeof *grown);
        if (grown == NULL) {
            more = -1;
            error_set(err, ERROR_INTERNAL, "out of memory");
        } else {
            list = grown;
            copy_text(statement, 0, list[used++], sizeof *list);
        }
    }
    database_reset(statement);
    *ids = more < 0 ? NULL : steal_pointer(&list);
    *count = more < 0 ? 0 : used;
    return more >= 0;
}

/* --- telling ------------------------------------------------------------------------------------------------------ */

/* As the text of an array. (PostgreSQL 15 documentation, §8.15.6) */
static void append_element(struct buffer *array, const char *text) {
    buffer_append_format(array, "%s\"", array->length > 1 ? "," : "");
    for (; *text != '\0'; text++) {
        buffer_append_format(array, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    buffer_append_format(array, "\"");
}

bool node_store_announce(struct node_store *nodes, const char *const *payloads, size_t count, struct error *err) {
    cleanup_buffer struct buffer array = {0};
    buffer_append_format(&array, "{");
    for (size_t i = 0; i < count; i++) {
        append_element(&array, payloads[i]);
    }
    if (!buffer_append_format(&array, "}")) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    struct database_statement *statement = statement_of(nodes, NODE_ANNOUNCE);
    bool ok = database_bind_text(statement, 1, array.data, err) && database_step(statement, err) >= 0;
    database_reset(statement);
    return ok;
}

bool node_store_send(struct node_store *nodes, const char *to, const void *body, size_t length, struct error *err) {
    struct database_statement *statement = statement_of(nodes, NODE_SEND);
    bool ok = database_bind_text(statement, 1, to, err) && database_bind_blob(statement, 2, body, length, err) &&
              database_step(statement, err) >= 0;
    database_reset(statement);
    return ok;
}

struct mail {
    int64_t id;
    const void *body;
    size_t length;
};

static int by_id(const void *a, const void *b) {
    const struct mail *left = a;
    const struct mail *right = b;
    return (left->id > right->id) - (left->id < right->id);
}

/* The rows of a DELETE come in no order; those of a result live until it is reset, all of them. */
static int take_some(struct database_statement *statement, void (*take)(void *, const void *, size_t), void *argument,
                     struct error *err) {
    cleanup_free struct mail *mails = calloc(TAKE_AT_ONCE, sizeof *mails);
    int count = 0;
    int more = 0;
    if (mails == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return -1;
    }
    while (count < TAKE_AT_ONCE && (more = database_step(statement, err)) > 0) {
        struct mail *mail = &mails[count++];
        size_t length = 0;
        const void *body = database_blob(statement, 1, &length);
        void *copy = database_int(statement, 2) == 0 ? NULL : malloc(length + 1);
        if (copy != NULL) {
            memcpy(copy, body, length);
        }
        *mail = (struct mail){database_int(statement, 0), copy, copy == NULL ? 0 : length};
    }
    database_reset(statement);
    qsort(mails, (size_t)count, sizeof *mails, by_id);
    for (int i = 0; i < count; i++) {
        if (mails[i].body != NULL) {
            take(argument, mails[i].body, mails[i].length);
        }
        free((void *)mails[i].body);
    }
    return more < 0 ? -1 : count;
}

bool node_store_take(struct node_store *nodes, const char *id, bool leads,
                     void (*take)(void *argument, const void *body, size_t length), void *argument, struct error *err) {
    int count = TAKE_AT_ONCE;
    while (count == TAKE_AT_ONCE) {
        struct database_statement *statement = statement_of(nodes, NODE_TAKE);
        if (!database_bind_text(statement, 1, id, err) ||
            !database_bind_text(statement, 2, leads ? NODE_LEADER : id, err)) {
            return false;
        }
        count = take_some(statement, take, argument, err);
    }
    return count >= 0;
}

bool node_store_forget_mail(struct node_store *nodes, struct error *err) {
    return database_run(statement_of(nodes, NODE_FORGET_MAIL), err);
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

bool node_store_each_route(struct node_store *nodes,
                           bool (*row)(void *argument, const struct tenant_record *record, struct error *err),
                           void *argument, struct error *err) {
    struct database_statement *statement = statement_of(nodes, NODE_ROUTES);
    int more = 0;
    while ((more = database_step(statement, err)) > 0) {
        struct tenant_record record = {.port = (uint16_t)database_int(statement, 4)};
        copy_text(statement, 0, record.id, sizeof record.id);
        copy_text(statement, 1, record.route_key, sizeof record.route_key);
        copy_text(statement, 2, record.instance_id, sizeof record.instance_id);
        copy_text(statement, 3, record.host, sizeof record.host);
        record.key_encrypted = (void *)database_blob(statement, 5, &record.key_encrypted_length);
        if (!row(argument, &record, err)) {
            database_reset(statement);
            return false;
        }
    }
    return more == 0;
}
