/* store_nodes.h - what several nodes with one PostgreSQL tell each other through it: who lives, who leads, messages and
 * announcements (docs/clustering.md).
 *
 * For node.c. Errors and threads as in store.h. Times come from the database's clock. */
#ifndef TERMINALS_PROVISIONER_STORE_NODES_H
#define TERMINALS_PROVISIONER_STORE_NODES_H

#include <event2/util.h>

#include "provisioner/store.h"

struct node_store;

/* Whoever has not been seen for so long does not live, and does not lead, unless it has asked for longer: who knows of
 * no other node may count on NODE_LONE_LEASE_MS, since nobody who comes meanwhile could tell it so while the database
 * is away for it. */
#define NODE_LEASE_MS      6000
#define NODE_LONE_LEASE_MS 30000

/* Works on the connection of `store`, which was made by store_join() and stays open longer. `notified` is called, from
 * inside any function of any store on this connection, with what other nodes announce: it must only take it down.
 * `closing` is called from there too, when the socket of node_store_socket() is being closed: it must only stop
 * watching it. NULL with *err. */
struct node_store *node_store_open(struct store *store, void (*notified)(void *argument, const char *payload),
                                   void (*closing)(void *argument), void *argument, struct error *err);
void node_store_close(struct node_store *nodes);

/* The socket of the connection, -1 if there is none now, and a number that is another one for each connection: what
 * was announced between two is lost. */
evutil_socket_t node_store_socket(const struct node_store *nodes);
unsigned node_store_generation(const struct node_store *nodes);

/* After a failure: the next call tries to connect, without a pause. */
void node_store_try_again(struct node_store *nodes);

/* Reads what has come on the socket, and calls `notified`. False: the connection is lost. */
bool node_store_poll(struct node_store *nodes);

/* A sign of life, of a node that leads in `term` (which renews that for `lease_ms`) or of another (`term` 0); and what
 * stands. */
struct node_beat {
    const char *id;
    const char *name;
    int64_t websockets;
    int64_t term;
    int64_t lease_ms;
};
struct node_state {
    int64_t term;
    char leader[33]; /* "": nobody ever */
    char backend[32];
    bool leader_is_alive;
    bool is_renewed;
    int64_t others;            /* that live */
    int64_t others_websockets; /* all of theirs */
};
bool node_store_beat(struct node_store *nodes, const struct node_beat *beat, struct node_state *state,
                     struct error *err);

/* Leads, if nobody else does: *term is then more than 0, and only this connection, and those that take its place while
 * nobody else leads, can write. A leader who does not live any more, or is this node's own former connection, is cut
 * off; then this may have to be tried again. */
bool node_store_lead(struct node_store *nodes, const char *id, const char *backend, int64_t *term, struct error *err);

/* Whether somebody else has led since: found when the connection was made anew. */
bool node_store_is_deposed(const struct node_store *nodes);

/* Does not lead any more. */
void node_store_follow(struct node_store *nodes);

/* The node ends, and leads no more. */
bool node_store_leave(struct node_store *nodes, const char *id, struct error *err);

/* Ids of the others that live, an array of 33 bytes each, which the caller frees. */
bool node_store_others(struct node_store *nodes, const char *id, char (**ids)[33], size_t *count, struct error *err);

/* Says something to all other nodes at once: texts without NULs, in order, of 7,000 bytes at most each. */
bool node_store_announce(struct node_store *nodes, const char *const *payloads, size_t count, struct error *err);

/* Sends bytes to a node by its id, or to NODE_LEADER, whoever that is when it is read; the announcement NODE_MAIL wakes
 * them. Takes all that was sent to `id`, and to the leader if `leads`: `take` borrows, and sees one sender's in order,
 * but not what has lain there for NODE_MAIL_STALE_MS: who sent it has given up, and told somebody so. Forgets what
 * nobody has taken for a long time. */
#define NODE_MAIL_STALE_MS 20000
#define NODE_LEADER        "leader"
#define NODE_MAIL          "m"
bool node_store_send(struct node_store *nodes, const char *to, const void *body, size_t length, struct error *err);
bool node_store_take(struct node_store *nodes, const char *id, bool leads,
                     void (*take)(void *argument, const void *body, size_t length), void *argument, struct error *err);
bool node_store_forget_mail(struct node_store *nodes, struct error *err);

/* Calls `row` for each instance that runs, with what its route is made of; the rest of the record is not filled. */
bool node_store_each_route(struct node_store *nodes,
                           bool (*row)(void *argument, const struct tenant_record *record, struct error *err),
                           void *argument, struct error *err);

#endif
