/* top.h - `terminals top`: whose instances run, the most active first, in the terminal. */
#ifndef TERMINALS_CLI_TOP_H
#define TERMINALS_CLI_TOP_H

/* Returns the exit status: 0, 1 with a sentence, 2 for wrong arguments. */
int top(int argc, char **argv);

#endif
