/* haproxy_ask.h - a command to the running HAProxy's runtime API, and its answer. Blocks, some seconds at most. */
#ifndef TERMINALS_CLI_HAPROXY_ASK_H
#define TERMINALS_CLI_HAPROXY_ASK_H

#include "common/buffer.h"
#include "common/error.h"

/* Sends `command` to `<run_dir>/haproxy.sock` and puts the whole answer into *answer, which was empty. */
bool haproxy_ask(const char *run_dir, const char *command, struct buffer *answer, struct error *err);

#endif
