/* provisioner_client.h - the gate's one connection to terminals-provisioner: many calls at once, told apart by their
 * ids, over a connection that comes back by itself.
 *
 * What the gate asks (resolve, lookup, recover) can be asked twice, so calls under way are sent again over a new
 * connection. One event loop, one thread. */
#ifndef TERMINALS_GATE_PROVISIONER_CLIENT_H
#define TERMINALS_GATE_PROVISIONER_CLIENT_H

#include <event2/event.h>

#include "common/error.h"
#include "common/json.h"

struct provisioner_client;
struct provisioner_call;

/* Called exactly once unless the call is cancelled, never from within provisioner_call_start(). `answer` is borrowed
 * and NULL on failure, when *err says why: what the provisioner answered, or ERROR_CAPACITY when it was away. */
typedef void provisioner_callback(void *context, struct json_object *answer, const struct error *err);

/* Starts to connect to <run dir>/provisioner.sock. A call waits at most `away_ms` while nobody listens, or answers
 * there at all. NULL with *err.
 */
struct provisioner_client *provisioner_client_new(struct event_base *base, const char *socket_path, int away_ms,
                                                  struct error *err);

/* What is said first over each connection (ipc_request(); NULL: no memory), from the loop: whose connection it is.
 * Without one it is a "ping": the provisioner counts as away until it has answered something. */
typedef struct json_object *provisioner_greeting(void *context);
void provisioner_client_greet_with(struct provisioner_client *client, provisioner_greeting *greeting, void *context);

/* Ends without calling back. */
void provisioner_client_free(struct provisioner_client *client);

/* False also while a connection is tried. */
bool provisioner_client_is_connected(const struct provisioner_client *client);

/* Sends `request` (taken over, also on failure; see ipc_request()). NULL: no memory. */
struct provisioner_call *provisioner_call_start(struct provisioner_client *client, struct json_object *request,
                                                provisioner_callback *callback, void *context);

/* Nobody waits for the answer any more; what the provisioner does goes on. NULL is fine. */
void provisioner_call_cancel(struct provisioner_call *call);

/* Sends a message (taken over) whose answer nobody reads. `must_arrive`: kept and sent again until it was answered,
 * within reason; otherwise dropped unless the provisioner is there. */
void provisioner_client_tell(struct provisioner_client *client, struct json_object *message, bool must_arrive);

#endif
