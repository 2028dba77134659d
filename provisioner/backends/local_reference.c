#include "provisioner/backends/local_reference.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void local_reference_format(const struct local_reference *reference, char out[LOCAL_REFERENCE_SIZE]) {
    snprintf(out, LOCAL_REFERENCE_SIZE, "local %d %llu %s %u %s", (int)reference->pid, reference->start_time,
             reference->boot_id, reference->port, reference->sandboxed ? "bwrap" : "none");
}

bool local_reference_parse(const char *text, struct local_reference *reference) {
    int pid;
    unsigned port;
    char sandbox[8];
    memset(reference, 0, sizeof *reference);
    if (sscanf(text, "local %d %llu %36s %u %7s", &pid, &reference->start_time, reference->boot_id, &port, sandbox) !=
            5 ||
        pid <= 1 || port == 0 || port > UINT16_MAX) {
        return false;
    }
    reference->pid = pid;
    reference->port = (uint16_t)port;
    reference->sandboxed = strcmp(sandbox, "bwrap") == 0;
    char again[LOCAL_REFERENCE_SIZE];
    local_reference_format(reference, again);
    return strcmp(again, text) == 0;
}

bool local_reference_is_gone(const struct local_reference *reference, const char *boot_id) {
    unsigned long long start_time;
    errno = 0;
    if (strcmp(boot_id, reference->boot_id) != 0) {
        return true;
    }
    if (process_start_time(reference->pid, &start_time)) {
        return start_time != reference->start_time;
    }
    return errno == 0;
}
