/* local_reference.h - how the database remembers a local instance: enough to recognize its process after we died. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_LOCAL_REFERENCE_H
#define TERMINALS_PROVISIONER_BACKENDS_LOCAL_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "provisioner/backends/process.h"

#define LOCAL_REFERENCE_SIZE 160

struct local_reference {
    pid_t pid;                     /* of the process we forked: bwrap, or the instance itself */
    unsigned long long start_time; /* clock ticks since boot */
    char boot_id[PROCESS_BOOT_ID_SIZE];
    uint16_t port;
    bool sandboxed;
};

/* "local 1234 567890 <boot id> 9000 bwrap" */
void local_reference_format(const struct local_reference *reference, char out[LOCAL_REFERENCE_SIZE]);

/* False if `text` is nothing that local_reference_format() writes. */
bool local_reference_parse(const char *text, struct local_reference *reference);

/* Whether the process it names has ended: its pid is free, or another one's by the start time, or the boot is another.
 * False if it runs, and, with errno, if we cannot look. `boot_id` is this boot's. */
bool local_reference_is_gone(const struct local_reference *reference, const char *boot_id);

#endif
