#include "provisioner/census.h"

#include "provisioner/tenants.h"

void census_take(struct provisioner *provisioner, struct census *census) {
    *census = (struct census){0};
    TENANTS_EACH(provisioner, tenant) {
        if (!tenant->is_warm) {
            census->by_status[tenant->record.status]++;
            census->total++;
        }
    }
}

bool census_add_to(const struct census *census, struct json_object *object) {
    bool ok = true;
    for (int state = 0; ok && state < INSTANCE_STATE_COUNT; state++) {
        ok = json_add_int(object, instance_state_name((enum instance_state)state), census->by_status[state]);
    }
    return ok;
}
