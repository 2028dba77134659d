/* postgres_link.h - a connection to PostgreSQL that comes back by itself, for a program that must not stand still.
 *
 * libpq is used in its asynchronous way and waited for with poll(2), each time for a bounded time: a server that is
 * away, or that takes packets and answers none, costs its caller no more than the times below, and in between nothing
 * at all. (Names are the exception: libpq resolves a host name synchronously. Where DNS may hang, use an address,
 * `hostaddr=…`.) Passwords are in no message: of a URL that cannot be parsed, nothing is quoted. One thread only. */
#ifndef TERMINALS_PROVISIONER_POSTGRES_LINK_H
#define TERMINALS_PROVISIONER_POSTGRES_LINK_H

#include <postgresql/libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

/* Until a server that says nothing counts as lost. */
#define POSTGRES_SILENCE_MS 3000
/* How long a call waits for a connection, and how long the next ones fail at once after one that did not come. */
#define POSTGRES_CONNECT_WAIT_MS 250
#define POSTGRES_RETRY_MS        1000

struct postgres_link {
    char **keywords; /* what PQconnectStartParams() takes */
    char **values;
    char *name;         /* of the database, for messages */
    PGconn *connection; /* NULL: none */
    bool is_connected;  /* else it is being connected */
    bool wants_lock;    /* whoever connects is to be the only one of this schema who does with this set */
    bool is_locked_out; /* somebody else is, or was meanwhile */
    int64_t term;       /* 0, or what leadership.term must be for the lock to count: nobody led since */
    bool listens;       /* to the nodes' channel */
    void (*notified)(void *argument, const char *payload); /* of another session; from inside any call */
    /* The connection is about to be given up, or libpq has closed its socket a moment ago: who watches that socket lets
     * go of it, since whatever is opened next gets its number. From inside any call, and before that returns. */
    void (*closing)(void *argument);
    void *watcher;        /* the argument of both */
    short events;         /* what the connecting waits for next, as poll(2) has it */
    int64_t began_ms;     /* when connecting began */
    int64_t retry_ms;     /* not before then */
    unsigned generation;  /* counts connections */
    struct error failure; /* why there is none */
};

/* Reads `postgresql://…` (or `postgres://…`, or with a driver's name, which means nothing to us), which is all that
 * libpq takes as a URI, its parameters included; what the URL leaves open comes from libpq's environment (PGHOST, …)
 * and files. `password` (may be NULL) counts if the URL has none. Does not connect. False with *err. */
bool postgres_link_init(struct postgres_link *link, const char *url, const char *password, struct error *err);
void postgres_link_free(struct postgres_link *link);

/* Makes sure that there is a connection, or at least that one is on its way; waits up to `wait_ms`. */
bool postgres_link_connect(struct postgres_link *link, int64_t wait_ms, struct error *err);

/* The same at the start of the program: waits up to `patience_ms` for a server that is not there yet, but not where the
 * server is there and refuses us. */
bool postgres_link_connect_patiently(struct postgres_link *link, int64_t patience_ms, struct error *err);

/* The next result of what was sent; the server may be silent for `silence_ms`. NULL without *err (ERROR_NONE): there is
 * none any more. NULL with *err: the connection is lost, or was given up. */
PGresult *postgres_link_result(struct postgres_link *link, int64_t silence_ms, struct error *err);

/* Sends what is queued and collects all its answers but the last one, which it returns; the first failure is told by
 * *err, and then NULL is returned. For one query, or a script. */
PGresult *postgres_link_finish(struct postgres_link *link, int64_t silence_ms, struct error *err);

/* Fills *err from what libpq says (`result` NULL: of the connection, which is then given up). Returns false. */
bool postgres_link_fail(struct postgres_link *link, const PGresult *result, struct error *err);

/* Reads what has come without having been asked for; calls `notified`. False if the connection is lost. */
bool postgres_link_poll(struct postgres_link *link);

/* The lock that an owner holds, as the two numbers of pg_advisory_lock() and as pg_locks shows it. */
#define POSTGRES_LOCK_CLASS   "1416065357"
#define POSTGRES_LOCK_OBJECT  "hashtext(coalesce(current_schema(), ''))"
#define POSTGRES_LOCK_NUMBERS POSTGRES_LOCK_CLASS ", " POSTGRES_LOCK_OBJECT

/* Held beside it by a program that works alone (a restore, a gc): no node cuts it off, however long it takes. */
#define POSTGRES_ALONE_CLASS   "1416065358"
#define POSTGRES_ALONE_NUMBERS POSTGRES_ALONE_CLASS ", " POSTGRES_LOCK_OBJECT

/* The channel of the nodes of this schema. */
#define POSTGRES_CHANNEL "('terminals_' || " POSTGRES_LOCK_OBJECT ")"

/* Gives the connection up. */
void postgres_link_drop(struct postgres_link *link);

#endif
