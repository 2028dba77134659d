/* relay.h - both directions between a client and an instance, after the decision is made.
 *
 * An HTTP relay passes exactly the request's body up and everything down. A stream (a WebSocket, or what an instance
 * made of an upgrade) passes everything both ways. relay_pump() does all that can be done now without waiting, and says
 * what came of it; when to call it and what to do about it is its owner's business. */
#ifndef TERMINALS_GATE_RELAY_H
#define TERMINALS_GATE_RELAY_H

#include "common/buffer.h"
#include "gate/answer_scan.h"
#include "gate/body_framing.h"
#include "gate/channel.h"

struct relay {
    struct endpoint *client;
    struct endpoint *instance;
    struct pipe_pool *pipes;
    struct buffer prefix;        /* goes to the instance before anything else */
    struct channel up;           /* client to instance */
    struct channel down;         /* instance to client */
    bool is_stream;              /* both ways until one side ends */
    bool may_upgrade;            /* an answer 101 makes it a stream */
    bool is_held;                /* nothing is taken from the client for now (the owner reads it itself) */
    bool instance_takes_no_more; /* writing to it failed; its answer may still come */
    bool client_ended;           /* a stream's client will send no more, and the instance was told */
    struct body_framing body;
    uint64_t body_max_bytes; /* 0: no limit */
    struct answer_scan answer;
};

enum relay_result {
    RELAY_RUNS,
    RELAY_INSTANCE_ENDED,  /* the client has got everything */
    RELAY_INSTANCE_FAILED, /* reset; the client has got what came */
    RELAY_CLIENT_GONE,
    RELAY_BODY_TOO_LARGE,
    RELAY_BODY_INVALID, /* a broken chunk */
};

/* Prepares an HTTP relay; the prefix is the head that the instance gets. */
void relay_start_http(struct relay *relay, const struct http_head *head, uint64_t body_max_bytes, bool may_upgrade);

/* Prepares a stream. */
void relay_start_stream(struct relay *relay);

/* Moves what can be moved, both ways, without waiting. */
enum relay_result relay_pump(struct relay *relay);

/* True once the instance's final answer has begun to pass, or while half an interim one has: the gate can then not
 * answer by itself any more. */
bool relay_has_answered(const struct relay *relay);

/* True once a stream's client will send no more: its end was passed on, or it has gone altogether while bytes of it
 * wait for an instance that does not take them (which hides the end behind them). */
bool relay_client_has_left(const struct relay *relay);

/* Bytes moved in both directions. */
uint64_t relay_moved(const struct relay *relay);

/* Frees what it holds; the endpoints are the caller's. */
void relay_close(struct relay *relay);

#endif
