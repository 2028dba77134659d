/* security_context.h - the members of a Kubernetes SecurityContext, or of a PodSecurityContext: are they what
 * Kubernetes takes there? Members that this version does not know pass unchecked. Thread-safe. */
#ifndef TERMINALS_PROVISIONER_SECURITY_CONTEXT_H
#define TERMINALS_PROVISIONER_SECURITY_CONTEXT_H

#include <stdbool.h>

#include "common/error.h"
#include "common/json.h"

enum security_context_kind { SECURITY_CONTEXT_CONTAINER = 1 << 0, SECURITY_CONTEXT_POD = 1 << 1 };

/* False with ERROR_INVALID, which names the member below `name`. */
bool security_context_check(const char *name, struct json_object *value, enum security_context_kind kind,
                            struct error *err);

#endif
