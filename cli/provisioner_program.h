/* provisioner_program.h - terminals-provisioner as this command line uses it: what must know the database or the
 * backend is done by that program, which has their libraries and reads their secrets, whether one runs already or not.
 */
#ifndef TERMINALS_CLI_PROVISIONER_PROGRAM_H
#define TERMINALS_CLI_PROVISIONER_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"
#include "common/error.h"
#include "common/json.h"
#include "common/settings.h"

/* The path of its socket. The caller frees; NULL with *err: no memory. */
char *provisioner_socket_path(const struct settings *settings, struct error *err);

/* Does a provisioner, or `terminals serve` for one, listen at this socket? */
bool provisioner_is_running(const char *socket_path);

/* Sends the running one a request (taken over; NULL: there was no memory for it) and waits for the answer, timeout_ms
 * at most. NULL with *err: it is not there, does not answer, or has refused. The caller puts the answer. */
struct json_object *provisioner_ask(const char *socket_path, struct json_object *request, int timeout_ms,
                                    struct error *err);

/* Becomes terminals-provisioner, which is beside this program and reads the same settings, with these arguments (ended
 * by NULL). Returns only with *err. */
bool provisioner_become(const char *const *arguments, struct error *err);

/* Runs it as a child instead; program_output() in program_output.h says how its output and its end are told. */
bool provisioner_run(const char *const *arguments, int input_fd, size_t max_bytes, struct buffer *output, int *status,
                     struct error *err);

#endif
