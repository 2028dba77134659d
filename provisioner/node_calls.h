/* node_calls.h - what gate and api ask a node that follows, on its way to the leader and back.
 *
 * A call waits as long as there is a leader, or there may be one soon (NODE_CALLS_PATIENCE_MS). A leader that dies with
 * it is followed by another one, who is asked again where that does no harm; where it may, the call fails, since nobody
 * knows how far it came. The same leader, too, is asked again what it leaves unanswered, once in NODE_CALLS_AGAIN_MS: a
 * connection that breaks in the wrong moment takes a message with it, and only one side may notice. */
#ifndef TERMINALS_PROVISIONER_NODE_CALLS_H
#define TERMINALS_PROVISIONER_NODE_CALLS_H

#include "provisioner/ipc_server.h"
#include "provisioner/node.h"

struct node_calls;

#define NODE_CALLS_PATIENCE_MS 15000
#define NODE_CALLS_AGAIN_MS    10000 /* before it counts as stale (NODE_MAIL_STALE_MS) */

/* `node` outlives it. NULL: no memory. */
struct node_calls *node_calls_open(struct node *node);
/* Fails those that are left. */
void node_calls_close(struct node_calls *calls);

/* Asks the leader; the call is answered, then or later. */
void node_calls_forward(struct node_calls *calls, struct ipc_call *call, struct json_object *request);

/* A message is an answer, and has been taken. */
bool node_calls_take(struct node_calls *calls, struct json_object *message);

/* There is another leader, or what was sent to the leader may be lost (`is_other` false). */
void node_calls_repeat(struct node_calls *calls, bool is_other);

/* About once a second, with the monotonic time: sends what could not be sent or may be lost, and gives up what has
 * waited for too long. */
void node_calls_tend(struct node_calls *calls, int64_t now_ms);

/* This node leads: `handle` takes those that wait. */
void node_calls_hand_over(struct node_calls *calls,
                          void (*handle)(void *argument, struct ipc_call *call, struct json_object *request),
                          void *argument);

#endif
