/* mcp_stdio.h - the Model Context Protocol on standard input and output: a message a line. */
#ifndef TERMINALS_INSTANCE_MCP_STDIO_H
#define TERMINALS_INSTANCE_MCP_STDIO_H

#include "common/error.h"
#include "instance/mcp.h"

#define MCP_LINE_MAX_BYTES (64 * 1024 * 1024)

struct mcp_stdio;

/* Serves until standard input ends and all that was asked is answered; then the loop is stopped. NULL with *err. */
struct mcp_stdio *mcp_stdio_start(struct instance *instance, struct error *err);
void mcp_stdio_free(struct mcp_stdio *stdio);

#endif
