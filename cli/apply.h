/* apply.h - `terminals apply -f DIR [--dry-run] [--prune] [--url URL]`: makes the policies and lifecycles be what files
 * say.
 *
 * Exit status: 0, all is as the files say; 1, something could not be done, and what could is said; 2, the files or the
 * flags are wrong and nothing was changed; 3, with --dry-run: something would be changed. */
#ifndef TERMINALS_CLI_APPLY_H
#define TERMINALS_CLI_APPLY_H

/* The command, whose name is argv[0]; returns its exit status. */
int apply(int argc, char **argv);

#endif
