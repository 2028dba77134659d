/* reap.h - `terminals reap`: one sweep over idle instances, done by the provisioner. For cron. */
#ifndef TERMINALS_CLI_REAP_H
#define TERMINALS_CLI_REAP_H

/* Waits until the sweep is done and prints one line. Returns the exit status: 0, 1 if there was no sweep, 2 for wrong
 * arguments. */
int reap(int argc, char **argv);

#endif
