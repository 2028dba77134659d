/* command_line.h - the head of a command: its arguments, `--help`, and what is said about an argument that it does not
 * have. No state; any thread. */
#ifndef TERMINALS_CLI_COMMAND_LINE_H
#define TERMINALS_CLI_COMMAND_LINE_H

#include <stdbool.h>

#include "common/error.h"

#define COMMAND_LINE_WRONG 2 /* the exit status of a command that was not called as its usage says */

/* One argument that a command takes. Where it leads says which kind it is. */
struct command_argument {
    const char *name;   /* "--dry-run"; NULL: what stands there without one, such as a file */
    bool *flag;         /* becomes true when the name was said; NULL: it has a value */
    const char **value; /* becomes the word after the name, or the one that has no name; it points into argv */
};

/* Reads argv, where argv[0] is the command's name, by `arguments`, which end with {0}. An option that comes twice
 * counts as it came last; the argument without a name comes once, and does not begin with `-`.
 *
 * True: the command may begin. False: it is over, and *status is its exit status: `--help` (or `-h`) alone was asked
 * for and `usage` printed, or an argument was not understood, which is said, with `usage`, on standard error. */
bool command_line_read(const char *usage, const struct command_argument *arguments, int argc, char **argv, int *status);

/* For arguments that do not go together, or are too few: prints `usage` on standard error and returns the exit status.
 */
int command_line_refuse(const char *usage);

/* A number of whole seconds from `least` to `most`: decimal digits and nothing else. False with *err: it is not that.
 */
bool command_line_seconds(const char *text, long least, long most, long *seconds, struct error *err);

#endif
