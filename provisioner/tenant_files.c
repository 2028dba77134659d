#include "provisioner/tenant_files.h"

#include "provisioner/node.h"
#include "provisioner/policies.h"

bool tenant_files_exist(const struct provisioner *provisioner) {
    return provisioner->homes != NULL || provisioner->operations->purge != NULL;
}

static struct instance_spec spec_of(struct provisioner *provisioner, const struct tenant_record *record) {
    return (struct instance_spec){
        .instance_id = record->instance_id,
        .instance_name = record->instance_name,
        .user_id = record->user_id,
        .policy_id = record->policy_id,
        .context_id = record->context_id,
        .key = "",
        .policy = policies_usable(provisioner, record->policy_id, NULL),
    };
}

/* False: another node's turn; `done` has been told. */
static bool may_act(struct provisioner *provisioner, void (*done)(void *argument, const struct error *err),
                    void *argument) {
    struct error err;
    if (node_may_act(provisioner->node)) {
        return true;
    }
    error_set(&err, ERROR_CAPACITY, "another node may lead by now");
    done(argument, &err);
    return false;
}

void tenant_files_remove(struct provisioner *provisioner, const struct tenant *tenant, bool is_reset,
                         void (*done)(void *argument, const struct error *err), void *argument) {
    const struct tenant_record *record = &tenant->record;
    if (!may_act(provisioner, done, argument)) {
        return;
    }
    if (provisioner->operations->purge == NULL) {
        home_folder_purge(provisioner->homes, record->user_id, record->policy_id, record->context_id, done, argument);
        return;
    }
    const struct instance_spec spec = spec_of(provisioner, record);
    provisioner->operations->purge(provisioner->backend, &spec, is_reset, done, argument);
}

void tenant_files_keep(struct provisioner *provisioner, const struct tenant *tenant,
                       void (*done)(void *argument, const struct error *err), void *argument) {
    if (provisioner->operations->forget == NULL) {
        done(argument, NULL);
    } else if (may_act(provisioner, done, argument)) {
        const struct instance_spec spec = spec_of(provisioner, &tenant->record);
        provisioner->operations->forget(provisioner->backend, &spec, done, argument);
    }
}
