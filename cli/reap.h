/* reap.h - `terminals reap`: one sweep over idle instances, done by the provisioner. For cron. */
#ifndef TERMINALS_CLI_REAP_H
#define TERMINALS_CLI_REAP_H

/* Waits until the sweep is done and prints one line. With `--every SECONDS` it goes on like that until it is killed
 * (what a sweep has begun, the provisioner finishes), for where there is no cron; 0: it only waits. Returns the exit
 * status: 0, 1 if there was no sweep, 2 for wrong arguments. */
int reap(int argc, char **argv);

#endif
