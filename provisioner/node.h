/* node.h - this provisioner as one of several with the same PostgreSQL (docs/clustering.md).
 *
 * One of them leads: it owns all state, as a provisioner on SQLite does. The others follow: they keep their HAProxy's
 * maps, and pass on what they are asked. A node is the heartbeat, the election, and what the nodes tell each other;
 * what it does with that is its role's. One thread, one event loop; callbacks come from the top of the loop, so that
 * they may do what they like. Where there is no node (SQLite), functions take NULL and this provisioner is alone. */
#ifndef TERMINALS_PROVISIONER_NODE_H
#define TERMINALS_PROVISIONER_NODE_H

#include <event2/event.h>
#include <stdbool.h>

#include "common/error.h"
#include "common/json.h"
#include "common/settings.h"
#include "provisioner/backend.h"
#include "provisioner/ipc_server.h"
#include "provisioner/store_nodes.h"
#include "provisioner/vault.h"

struct node;

/* Who leads acts no more when so much of its lease is left by its own clock, or less: after it another node leads. */
#define NODE_MARGIN_MS 2000
#define NODE_BEAT_MS   1000

/* What an announcement begins with. */
enum announcement {
    ANNOUNCE_ROUTE = 'p',      /* a route, by node_announce_route() */
    ANNOUNCE_NO_ROUTE = 'w',   /* a route key whose route is gone */
    ANNOUNCE_ROUTES = 'R',     /* routes have to be read from the database */
    ANNOUNCE_IDENTITY = 'i',   /* digest, expiry and user, separated by spaces */
    ANNOUNCE_IDENTITIES = 'I', /* identities have to be read from the database */
    ANNOUNCE_AUDIT = 'a',      /* rows of the audit log were written */
    ANNOUNCE_ELECTION = 'e',   /* the leader is gone (the store's own word) */
};

struct node_role {
    void *argument;
    void (*elected)(void *argument);                  /* of one that follows */
    void (*deposed)(void *argument, const char *why); /* of one that leads: does nothing to any instance any more */
    void (*unfit)(void *argument, const struct error *err); /* can be no node of these */
    void (*reread)(void *argument);                         /* announcements may have been lost */
    void (*announced)(void *argument, char kind, const char *text);
    void (*message)(void *argument, struct json_object *message);
    void (*leader_changed)(void *argument);
    void (*beat)(void *argument); /* about once a second */
};

/* Opens the database as one of several and takes its place among them. `server` is borrowed. With a backend whose
 * instances belong to their node, there can be one node only: waits half a minute for the lead. NULL with *err. */
struct node *node_open(const struct settings *settings, const struct backend_operations *operations,
                       struct event_base *base, struct ipc_server *server, struct error *err);

/* Gives the lead away and leaves. */
void node_close(struct node *node);

/* From now on; NULL: nobody is called. */
void node_set_role(struct node *node, const struct node_role *role);

/* After the lead was lost and all that was to be written under it: until then no statement is taken from this node. */
void node_follow(struct node *node);

/* The encryption key, which it keeps (and closes) for whatever role it has; NULL: none yet. */
struct vault *node_vault(const struct node *node);
void node_keep_vault(struct node *node, struct vault *vault);

struct store *node_store_of(const struct node *node);
struct ipc_server *node_server(const struct node *node);
const char *node_id(const struct node *node);
bool node_leads(const struct node *node); /* NULL leads */

/* A sign of life out of turn, for what keeps the loop waiting; false: it does not lead any more, or does not know. */
bool node_renew(struct node *node, struct error *err);

/* Whether it still leads for certain: its lease has not run out. NULL does. */
bool node_leads_for_certain(const struct node *node);

/* Whether it may do what another leader would do too: for certain, or as the only one whose instances these can be. */
bool node_may_act(const struct node *node);

/* As far as it knows. */
bool node_has_others(const struct node *node);
int64_t node_others_websockets(const struct node *node);

/* When the database last told of a leader that lives; monotonic. */
int64_t node_led_ms(const struct node *node);

/* Whether the lead was taken over from another node, which may have served whom this one knows nothing of. */
bool node_succeeds_another(const struct node *node);

/* Tells all other nodes, in order, at the end of this turn of the loop or as soon as the database takes it. */
void node_announce(struct node *node, enum announcement kind, const char *text);
void node_announce_route(struct node *node, const char *route_key, const char *value);
/* What `text` of ANNOUNCE_ROUTE holds: the value is for secret_free(). NULL: not to be read. */
char *node_read_route(const struct node *node, const char *text, char route_key[DIGEST_HEX_SIZE]);

/* Sends a message (borrowed) to a node by its id, or to NODE_LEADER. */
bool node_send(struct node *node, const char *to, struct json_object *message, struct error *err);

/* See store_nodes.h. */
bool node_others(struct node *node, char (**ids)[33], size_t *count, struct error *err);
bool node_each_route(struct node *node,
                     bool (*row)(void *argument, const struct tenant_record *record, struct error *err), void *argument,
                     struct error *err);

#endif
