/* ipc_client.h - asks the provisioner something and waits for the answer, for programs with a thread to spare
 * (terminals-api, `terminals reap`). One client belongs to one thread. */
#ifndef TERMINALS_COMMON_IPC_CLIENT_H
#define TERMINALS_COMMON_IPC_CLIENT_H

#include "common/error.h"
#include "common/json.h"

struct ipc_client;

/* `socket_path` is <run dir>/provisioner.sock; nothing is connected yet. NULL: no memory. */
struct ipc_client *ipc_client_new(const char *socket_path);
void ipc_client_free(struct ipc_client *client);

/* Sends `request` (taken over, also on failure) and waits for its answer, timeout_ms at most. Connects, and connects
 * anew once if the old connection turned out dead before the request was sent whole. While nothing listens it keeps
 * trying for up to `timeout_ms` or 5 s, whichever is less: a provisioner that restarts is not an error. NULL with *err:
 * what the answer said, ERROR_CAPACITY when the provisioner is not there, ERROR_TIMEOUT when it did not answer. The
 * caller puts the answer. */
struct json_object *ipc_client_call(struct ipc_client *client, struct json_object *request, int timeout_ms,
                                    struct error *err);

/* How many connections were made so far. One more than before: the provisioner may be another process by now. */
unsigned ipc_client_connections(const struct ipc_client *client);

#endif
