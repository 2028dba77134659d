/* serve.h - `terminals serve`: everything, in the foreground, until Ctrl-C. */
#ifndef TERMINALS_CLI_SERVE_H
#define TERMINALS_CLI_SERVE_H

/* Returns the exit status: 0 after an orderly end, 1 if it could not start, 2 for wrong arguments. */
int serve(int argc, char **argv);

#endif
