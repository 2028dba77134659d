/* provisioner_program.h - terminals-provisioner as this command line uses it: what must know the database or the
 * backend is done by that program, which has their libraries and reads their secrets, whether one runs already or not.
 */
#ifndef TERMINALS_CLI_PROVISIONER_PROGRAM_H
#define TERMINALS_CLI_PROVISIONER_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"
#include "common/error.h"

/* Does a provisioner, or `terminals serve` for one, listen at this socket? */
bool provisioner_is_running(const char *socket_path);

/* Becomes terminals-provisioner, which is beside this program and reads the same settings, with these arguments (ended
 * by NULL). Returns only with *err. */
bool provisioner_become(const char *const *arguments, struct error *err);

/* Runs it as a child instead (program_output.h). */
bool provisioner_run(const char *const *arguments, int input_fd, size_t max_bytes, struct buffer *output, int *status,
                     struct error *err);

#endif
