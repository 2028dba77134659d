/* backup.h - `terminals backup` and `terminals restore`: all that a deployment remembers, in one file. */
#ifndef TERMINALS_CLI_BACKUP_H
#define TERMINALS_CLI_BACKUP_H

/* Return the exit status: 0, 1 with a sentence, 2 for wrong arguments. */
int backup(int argc, char **argv);
int restore(int argc, char **argv);

#endif
