/* tenant_files.h - the files of one (user, policy, context), wherever the backend has them. */
#ifndef TERMINALS_PROVISIONER_TENANT_FILES_H
#define TERMINALS_PROVISIONER_TENANT_FILES_H

#include "provisioner/tenants.h"

/* False for `static`, whose one instance is everybody's. */
bool tenant_files_exist(const struct provisioner *provisioner);

/* Removes them, at a reset (`is_reset`) to begin anew in the same place, and calls `done` on the event loop, perhaps
 * before this returns. `err` is NULL on success. The instance is stopped. */
void tenant_files_remove(struct provisioner *provisioner, const struct tenant *tenant, bool is_reset,
                         void (*done)(void *argument, const struct error *err), void *argument);

/* The tenant is being deleted and its files stay: whatever else the backend keeps of its instance goes. As above. */
void tenant_files_keep(struct provisioner *provisioner, const struct tenant *tenant,
                       void (*done)(void *argument, const struct error *err), void *argument);

#endif
