/* policies.h - which policies there are. */
#ifndef TERMINALS_PROVISIONER_POLICIES_H
#define TERMINALS_PROVISIONER_POLICIES_H

#include <stdbool.h>
#include <stddef.h>

bool policy_exists(const char *policy_id);
size_t policy_count(void);

#endif
