/* program_output.h - runs another program and takes what it prints. */
#ifndef TERMINALS_CLI_PROGRAM_OUTPUT_H
#define TERMINALS_CLI_PROGRAM_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buffer.h"
#include "common/error.h"

/* Becomes `program` (a path) with these arguments, 8 at most, ended by NULL. Returns only if that cannot be, with
 * errno.
 */
void program_become(const char *program, const char *const *arguments);

/* Runs it as a child, with `input_fd` as its standard input (-1: ours); what it prints to standard output is added to
 * *output, its standard error is ours. *status: its exit status, or 128 and the number of the signal that ended it.
 * False with *err if it could not be run, or printed more than `max_bytes`. */
bool program_output(const char *program, const char *const *arguments, int input_fd, size_t max_bytes,
                    struct buffer *output, int *status, struct error *err);

#endif
