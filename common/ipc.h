/* ipc.h - the messages between our own processes: one JSON object a line (docs/internals.md lists the operations).
 *
 * request   {"id": n, "op": "…", …}
 * answer    {"id": n, "ok": true, …}  or  {"id": n, "ok": false, "code": "not_found", "detail": "…"} */
#ifndef TERMINALS_COMMON_IPC_H
#define TERMINALS_COMMON_IPC_H

#include <stddef.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/json.h"

#define IPC_LINE_MAX_BYTES    (16 * 1024 * 1024)
#define IPC_REQUEST_MAX_BYTES (1024 * 1024) /* what the provisioner accepts from a peer */

/* Takes the first whole line off `input` and parses it. Returns 1 and *message (the caller puts it), 0 when the line is
 * not complete yet, -1 with *err when it is no JSON object or longer than `max_bytes`: the connection is then past
 * saving. */
int ipc_take_message(struct buffer *input, size_t max_bytes, struct json_object **message, struct error *err);

/* Appends a message and its line feed. Texts in it that are no UTF-8 lose the bytes that are not. */
bool ipc_append_message(struct buffer *output, struct json_object *message);

/* A new request: {"op": op}; the id is added by whoever sends it. NULL: no memory. */
struct json_object *ipc_request(const char *op);

/* A new answer to the request with this id. The error becomes code, detail and, where users are told
 * something else, told. */
struct json_object *ipc_answer(int64_t id);
struct json_object *ipc_error_answer(int64_t id, const struct error *err);

/* True if the answer says ok; else fills *err. */
bool ipc_answer_ok(struct json_object *answer, struct error *err);

#endif
