/* policy_census.h - how many tenants there are of each policy, in each state: of those policies that have the most, and
 * of all the others together, so that nobody's thousands of policies become thousands of time series. */
#ifndef TERMINALS_PROVISIONER_POLICY_CENSUS_H
#define TERMINALS_PROVISIONER_POLICY_CENSUS_H

#include "provisioner/census.h"

#define POLICY_CENSUS_MAX   20
#define POLICY_CENSUS_OTHER "other" /* where a policy of this name is counted too */

/* Calls `each` for each of them, the others last, if there are any. False: no memory. */
bool policy_census_each(struct provisioner *provisioner,
                        void (*each)(void *argument, const char *policy_id, const struct census *census),
                        void *argument);

#endif
