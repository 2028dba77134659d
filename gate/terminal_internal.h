/* terminal_internal.h - what terminal.c, terminal_auth.c and terminal_open.c share: a connection that is a WebSocket.
 * What others may call is in connection.h. */
#ifndef TERMINALS_GATE_TERMINAL_INTERNAL_H
#define TERMINALS_GATE_TERMINAL_INTERNAL_H

#include "gate/connection.h"
#include "gate/websocket_handshake.h"
#include "gate/websocket_message.h"

struct terminal {
    struct websocket_claims claims;
    char *session;
    struct buffer input;          /* frames of the client's that are not forwarded yet */
    struct message_reader reader; /* of the first message in `input` */
    size_t unproven_bytes;        /* AWAITING_AUTH: what the client has sent */
    struct buffer handshake;      /* OPENING: our request, then the instance's answer */
    size_t handshake_sent;
    char key[WEBSOCKET_KEY_SIZE];
    bool proved_early; /* by header or query: an auth message may follow, and must not reach the instance */
    bool is_open;
};

/* Frees what may hold a secret, zeroed. */
void terminal_buffer_wipe(struct buffer *buffer);

/* An audit row, "terminal_opened" or "terminal_closed". It may be told twice, if the provisioner is killed before it
 * answers: the id makes one row of that. */
void terminal_tell_audit(const struct connection *connection, const char *action);

/* terminal_auth.c: the client proved itself by header or query and may yet send an auth message, as Open WebUI always
 * does. So its first message is held until it is clear that it is none; only what looks like a JSON object can be one.
 * False: the connection must end. */
bool terminal_inspect_first_message(struct connection *connection);

/* Whether to call it once more, when others have had their turn: it reads a little at a time, and nothing while the
 * instance takes nothing, since a client may send control frames for ever. */
bool terminal_may_inspect_more(const struct connection *connection);

#endif
