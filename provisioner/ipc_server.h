/* ipc_server.h - the provisioner's socket: peers, their requests and the answers, in any order.
 *
 * A peer that sends no valid messages, or does not read what it asked for, is dropped. A peer that goes away loses its
 * answers and nothing else: what it asked for goes on. */
#ifndef TERMINALS_PROVISIONER_IPC_SERVER_H
#define TERMINALS_PROVISIONER_IPC_SERVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/json.h"

struct ipc_server;
struct ipc_call; /* one request, until it is answered */

#define IPC_PEERS_MAX              256
#define IPC_CALLS_PER_PEER_MAX     20000
#define IPC_OUTPUT_PAUSE_BYTES     (1024 * 1024)      /* more unread answers: no more requests are read */
#define IPC_OUTPUT_MAX_BYTES       (32 * 1024 * 1024) /* more: the peer is dropped */
#define IPC_UNREAD_TIMEOUT_SECONDS 60                 /* answers lie there and none is read: the same */

/* `handle` is called for each request and must see to it that the call is answered, once, then or later. `listener` is
 * taken over. NULL with *err. */
struct ipc_server *ipc_server_open(int listener, struct event_base *base,
                                   void (*handle)(void *argument, struct ipc_call *call, struct json_object *request),
                                   void *argument, struct error *err);

/* Drops all peers, after what they can take at once has been sent. Calls that are still open may be answered later, to
 * nobody. */
void ipc_server_close(struct ipc_server *server);

/* An answer to the call, to be filled and passed to ipc_call_answer(). NULL: no memory (and that can be passed too). */
struct json_object *ipc_call_new_answer(const struct ipc_call *call);

/* Sends the answer (taken over) and ends the call. */
void ipc_call_answer(struct ipc_call *call, struct json_object *answer);
void ipc_call_fail(struct ipc_call *call, const struct error *err);

/* A call that came another way: `answered` is told what would have been sent (borrowed; NULL: no memory for it). NULL:
 * no memory. */
struct ipc_call *ipc_call_new_remote(void (*answered)(void *argument, struct json_object *answer), void *argument);

/* Sends an answer that was made for another call (taken over) and ends this one. */
void ipc_call_pass_on(struct ipc_call *call, struct json_object *answer);

/* Drops all peers as ipc_server_close() does, but goes on listening: they come back, and ask again. */
void ipc_server_drop_peers(struct ipc_server *server);

/* Who is called from now on for each request. */
void ipc_server_set_handler(struct ipc_server *server,
                            void (*handle)(void *argument, struct ipc_call *call, struct json_object *request),
                            void *argument);

/* What the gate reports: WebSockets open in all. Forgotten when it goes away. */
void ipc_call_report_websockets(struct ipc_call *call, int64_t websockets);

/* The processes at the other ends, each once, `max` at most; returns how many. Those of another PID namespace (another
 * container) are left out. */
size_t ipc_server_pids(const struct ipc_server *server, pid_t *pids, size_t max);

/* The sum over all peers, and whether any peer reports activity at all. */
int64_t ipc_server_websockets(const struct ipc_server *server);
bool ipc_server_has_reporter(const struct ipc_server *server);

#endif
