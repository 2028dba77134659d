/* mcp.h - the Model Context Protocol (revision 2025-06-18, and the two before it), server side: JSON-RPC 2.0 messages
 * in, messages out. The tools are the operations of our own OpenAPI document, and a call of one is a request to
 * ourselves. One loop, not thread-safe. */
#ifndef TERMINALS_INSTANCE_MCP_H
#define TERMINALS_INSTANCE_MCP_H

#include "common/json.h"
#include "instance/instance.h"

struct mcp;

/* NULL: no memory. */
struct mcp *mcp_new(struct instance *instance);
/* Hangs up on all calls that run; none of them is answered. */
void mcp_free(struct mcp *mcp);

/* Takes one message. `reply` is called exactly once, now or later, with the answer, which it takes over, or with NULL
 * if the message needs none (a notification). */
void mcp_receive(struct mcp *mcp, const char *text, size_t length,
                 void (*reply)(void *state, struct json_object *answer), void *state);

/* Hangs up on the calls whose answers would go to `state`; they are not answered. */
void mcp_forget(struct mcp *mcp, const void *state);

/* True if we speak this revision of the protocol ("2025-06-18"). */
bool mcp_speaks(const char *revision);

#endif
