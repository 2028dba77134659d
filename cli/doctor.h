/* doctor.h - `terminals doctor`: what is wrong with this deployment, and what to do about it, in a line each. */
#ifndef TERMINALS_CLI_DOCTOR_H
#define TERMINALS_CLI_DOCTOR_H

/* Returns the exit status: 0 if all is well, 1 with warnings only, 2 if something is broken (or the arguments are). */
int doctor(int argc, char **argv);

#endif
