/* connection.h - one request of HAProxy's, from its first byte to its last: what connection.c (reading, closing),
 * routing.c (deciding where it goes), exchange.c (HTTP) and terminal*.c (WebSockets) share. Not for others; they see
 * connection_open() and connection_shut_down().
 *
 *                          ┌─────────────────┐  terminal   ┌──────────────────┐
 *   accept ───────────────>│  READING_HEAD   ├────────────>│  AWAITING_AUTH   │ the first message brings the token
 *                          └───┬─────────┬───┘             └───┬──────────────┘
 *                recover socket│         v                     v
 *                              │       ┌─────────────────────────┐
 *                              │       │       AUTHORIZING       │ asks terminals-api
 *                              v       └───┬─────────────────────┘
 *                          ┌─────────────────┐
 *              ┌──────────>│    RESOLVING    │ asks terminals-provisioner: resolve, lookup (terminals) or recover
 *              │           └───┬─────────────┘
 *              │ refused, once v
 *              │           ┌─────────────────┐
 *              └───────────┤   CONNECTING    │ to the instance
 *                          └───┬─────────┬───┘
 *                              │         │ terminal        ┌──────────────────┐
 *                              │         └────────────────>│     OPENING      │ our handshake with the instance
 *                              v                           └───┬──────────────┘
 *                          ┌─────────────────┐                 │
 *                          │    RELAYING     │<────────────────┘
 *                          └───┬─────────────┘
 *                              v
 *                          ┌─────────────────┐
 *                          │     CLOSING     │ our last bytes go out, the client's last bytes are thrown away
 *                          └─────────────────┘
 *
 * (HAProxy's health check goes READING_HEAD -> CHECKING -> CLOSING.)
 *
 * Every state may go to CLOSING with an error answer or a close code, and every state ends at once when the client has
 * hung up. A function that is documented as the last thing to do with a connection may have freed it. */
#ifndef TERMINALS_GATE_CONNECTION_H
#define TERMINALS_GATE_CONNECTION_H

#include "common/digest.h"
#include "gate/authorizer.h"
#include "gate/close_code.h"
#include "gate/gate.h"
#include "gate/http_head.h"
#include "gate/relay.h"

enum connection_state {
    STATE_READING_HEAD,
    STATE_CHECKING, /* /health: asks terminals-provisioner whether it is there */
    STATE_AWAITING_AUTH,
    STATE_AUTHORIZING,
    STATE_RESOLVING,
    STATE_CONNECTING,
    STATE_OPENING,
    STATE_RELAYING,
    STATE_CLOSING,
};

struct terminal;

/* What is only needed until bytes are relayed. */
struct request {
    struct buffer bytes; /* of the head */
    struct http_head head;
};

struct connection {
    struct gate *gate;
    struct connection *prev, *next;
    enum gate_door door;
    enum connection_state state;
    struct endpoint client;
    struct endpoint instance;
    struct event timer;
    struct request *request;         /* NULL once relaying */
    struct authorizer_ask *ask;      /* AUTHORIZING */
    struct provisioner_call *call;   /* RESOLVING */
    struct terminal *terminal;       /* NULL: HTTP */
    struct buffer output;            /* ours, for the client */
    struct relay relay;              /* RELAYING */
    struct activity_route *activity; /* HTTP, RELAYING */
    struct json_object *actor;       /* for the provisioner's log and audit */
    char *request_id;                /* never NULL */
    char *user;                      /* what the authorizer said; NULL on the recover socket */
    char *policy;
    char *context;
    char *address;      /* of the instance, and the rest of what the provisioner said */
    char *instance_key; /* secret */
    char *instance_id;
    char route_key[DIGEST_HEX_SIZE];
    int port;
    bool was_recovered; /* the one attempt is used up */
    bool is_head_method;
    bool client_has_left; /* RELAYING an upgraded exchange: relay_client_has_left(), and the time is running */
    bool has_shut;        /* CLOSING: the client was told that no more comes */
    size_t drained;       /* CLOSING: bytes thrown away */
    int64_t started_at_ms;
    int64_t moved_at_ms; /* RELAYING: when a byte last moved */
    uint64_t moved;
    char *log_line; /* "GET /path", if there is an access log */
};

/* connection.c */

/* Takes over `fd`. */
void connection_open(struct gate *gate, int fd, enum gate_door door);

/* The gate stops: true if the connection may finish what it does, false if it was ended. */
bool connection_shut_down(struct connection *connection);

/* Ends it at once. The last thing to do with it. */
void connection_free(struct connection *connection);

/* The time limit of the state it is in; a later call replaces it. */
void connection_set_timer(struct connection *connection, int64_t delay_ms);

/* Sends what `output` holds, as far as possible. False: the client is gone. */
bool connection_flush(struct connection *connection);

/* To CLOSING, with what `output` holds as the last word. The last thing to do with it. */
void connection_close(struct connection *connection, int linger_ms);

/* Ends it with an error: an answer for HTTP, a close code for a terminal. The last thing to do with it. */
void connection_fail(struct connection *connection, enum error_code code, const char *detail);

/* Ends an HTTP request with this answer. The last thing to do with it. */
void connection_answer(struct connection *connection, int status, const char *detail);

/* Frees the head. */
void connection_drop_request(struct connection *connection);

/* An event on the instance's socket, in any state: `context` is the connection. */
void connection_on_instance(evutil_socket_t fd, short what, void *context);

/* routing.c: each is the last thing to do with the connection in its caller. */

/* Reads who is asking from the head. False when memory runs out. */
bool routing_note_client(struct connection *connection);

/* Asks the authorizer, then the provisioner, then connects, then calls exchange_start() or terminal_connected(). */
void routing_authorize(struct connection *connection);

/* The same without the authorizer, for the recover socket. */
void routing_recover(struct connection *connection);

/* An event on the instance's socket while CONNECTING; its time is up. */
void routing_connect_event(struct connection *connection);
void routing_connect_timeout(struct connection *connection);

/* exchange.c: HTTP */

/* The instance is connected. The last thing to do with the connection, as are the next two. */
void exchange_start(struct connection *connection);

/* There may be bytes to move; the timer has run out while RELAYING. */
void exchange_pump(struct connection *connection);
void exchange_timeout(struct connection *connection);

/* terminal.c, terminal_auth.c, terminal_open.c: WebSockets */

/* The head asks for a terminal. The last thing to do with the connection. */
void terminal_start(struct connection *connection, struct span session);

/* The parameters of the ask that are not in the head. */
bool terminal_append_params(struct buffer *params, const struct connection *connection);

/* The instance is connected. The last thing to do with the connection, as are the next four. */
void terminal_connected(struct connection *connection);

/* There may be something to read or to write while, in this order, AWAITING_AUTH, OPENING and RELAYING. */
void terminal_read_auth(struct connection *connection);
void terminal_open_event(struct connection *connection);
void terminal_pump(struct connection *connection);

/* The time of the state it is in is up. */
void terminal_timeout(struct connection *connection);

/* Sends the code and ends it. The last thing to do with the connection. */
void terminal_close(struct connection *connection, enum close_code code);

/* Part of connection_free(). */
void terminal_free(struct connection *connection);

#endif
