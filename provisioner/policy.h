/* policy.h - a policy: one kind of machine that a user may have. What an administrator stores, checked and parsed.
 *
 * A backend reads a policy and never writes one. */
#ifndef TERMINALS_PROVISIONER_POLICY_H
#define TERMINALS_PROVISIONER_POLICY_H

#include <stdint.h>

#include "common/json.h"
#include "common/names.h"

#define POLICY_UNSET (-1) /* the settings hold */

struct policy {
    char id[NAME_POLICY_MAX_BYTES + 1];
    struct json_object *data; /* what the API shows: clamped to the caps, members we do not know included */

    /* Parsed from `data`; borrowed from it. NULL and POLICY_UNSET: not said. */
    const char *image;
    struct json_object *env; /* an object of strings; never OPEN_TERMINAL_API_KEY */
    int64_t cpu_millicores;
    int64_t memory_bytes;
    int64_t storage_bytes;
    int64_t idle_timeout_minutes;                   /* 0: never */
    struct json_object *container_security_context; /* a Kubernetes SecurityContext */
};

#endif
