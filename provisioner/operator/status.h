/* status.h - what the operator writes into a Terminal's status. Pure. */
#ifndef TERMINALS_PROVISIONER_OPERATOR_STATUS_H
#define TERMINALS_PROVISIONER_OPERATOR_STATUS_H

#include <stdbool.h>

#include "provisioner/backends/kubernetes_terminal.h"

struct status {
    const char *phase;  /* KUBERNETES_PHASE_… */
    bool is_ready;      /* the condition `Ready`, */
    const char *reason; /* its reason, one word in CamelCase, */
    char message[512];  /* and its message, which is the status' own, too; "": none */
    const char *namespace_name;
    bool has_pod, has_service, has_secret; /* there is one of the Terminal's name */
};

/* A merge patch that makes the Terminal's status say this, and that fails if the Terminal has changed since it was
 * looked at (409): what was decided before somebody asked for it again is not said afterwards. NULL with *is_needed
 * false: it says it already. NULL with *is_needed true: no memory. */
struct json_object *status_patch(const struct status *status, const struct kubernetes_terminal *terminal,
                                 bool *is_needed);

#endif
