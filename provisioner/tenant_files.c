#include "provisioner/tenant_files.h"

#include "provisioner/node.h"
#include "provisioner/policies.h"

bool tenant_files_exist(const struct provisioner *provisioner) {
    return provisioner->homes != NULL || provisioner->operations->purge != NULL;
}

void tenant_files_remove(struct provisioner *provisioner, const struct tenant *tenant, bool is_reset,
                         void (*done)(void *argument, const struct error *err), void *argument) {
    const struct tenant_record *record = &tenant->record;
    if (!node_may_act(provisioner->node)) {
        struct error err;
        error_set(&err, ERROR_CAPACITY, "another node may lead by now");
        done(argument, &err);
        return;
    }
    if (provisioner->operations->purge == NULL) {
        home_folder_purge(provisioner->homes, record->user_id, record->policy_id, record->context_id, done, argument);
        return;
    }
    const struct instance_spec spec = {
        .instance_id = record->instance_id,
        .instance_name = record->instance_name,
        .user_id = record->user_id,
        .policy_id = record->policy_id,
        .context_id = record->context_id,
        .key = "",
        .policy = policies_usable(provisioner, record->policy_id, NULL),
    };
    provisioner->operations->purge(provisioner->backend, &spec, is_reset, done, argument);
}
