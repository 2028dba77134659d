/* census.h - how many tenants there are in each state. Warm instances are nobody's and do not count. */
#ifndef TERMINALS_PROVISIONER_CENSUS_H
#define TERMINALS_PROVISIONER_CENSUS_H

#include "common/json.h"
#include "provisioner/provisioner.h"

struct census {
    int64_t by_status[INSTANCE_STATE_COUNT];
    int64_t total;
};

/* Counts anew. Walks all tenants. */
void census_take(struct provisioner *provisioner, struct census *census);

/* A member for each state. False: no memory. */
bool census_add_to(const struct census *census, struct json_object *object);

#endif
