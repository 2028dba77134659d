/* mcp_tools.h - the operations of an OpenAPI document as tools of the Model Context Protocol. Thread-safe. */
#ifndef TERMINALS_INSTANCE_MCP_TOOLS_H
#define TERMINALS_INSTANCE_MCP_TOOLS_H

#include "common/error.h"
#include "common/json.h"

/* [{"name": operationId, "description": …, "inputSchema": …}, …]: parameters and members of the body side by side,
 * references resolved. NULL: no memory. */
struct json_object *mcp_tools_list(struct json_object *document);

/* The HTTP request that a call of a tool means. */
struct mcp_tool_call {
    const char *method; /* "POST"; static */
    char *target;       /* "/execute?wait=5" */
    char *json;         /* the body; NULL: none */
};

/* Translates a call; `arguments` (an object, or NULL) that are null are left out, unknown ones are an error. False with
 * ERROR_NOT_FOUND (no such tool) or ERROR_INVALID. */
bool mcp_tool_call_make(struct json_object *document, const char *name, struct json_object *arguments,
                        struct mcp_tool_call *call, struct error *err);
void mcp_tool_call_free(struct mcp_tool_call *call);

#endif
