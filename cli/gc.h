/* gc.h - `terminals gc`: lists what nobody owns any more, and removes it once somebody has said yes. */
#ifndef TERMINALS_CLI_GC_H
#define TERMINALS_CLI_GC_H

/* Returns the exit status: 0, 1 if something could not be looked at or removed, 2 for wrong arguments or nobody to ask.
 */
int gc(int argc, char **argv);

#endif
