/* system_info.h - one paragraph on the machine that commands run on, for models that are about to use it. Thread-safe.
 */
#ifndef TERMINALS_INSTANCE_SYSTEM_INFO_H
#define TERMINALS_INSTANCE_SYSTEM_INFO_H

/* "This system is running Linux 6.1.0 (x86_64) on box as user 'user' with /bin/bash. Python 3.11.2 is available."
 * Runs `python3 --version`, if there is a python3, for 2 seconds at most. From malloc(); NULL: no memory. */
char *system_info_describe(void);

#endif
