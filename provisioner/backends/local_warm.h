/* local_warm.h - warm instances of the `local` backend: started before anybody needs them, without a home.
 *
 * In a sandbox /home/user is empty memory over which the user's folder is mounted when the instance is handed over
 * (home_mount.h). Without one, an instance's home is a folder `.warm/<instance id>` in the data folder, which becomes a
 * link to the user's folder; no user's folder starts with a dot. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_LOCAL_WARM_H
#define TERMINALS_PROVISIONER_BACKENDS_LOCAL_WARM_H

#include "provisioner/backends/local_instance.h"

#define LOCAL_WARM_FOLDER ".warm"

/* Makes the empty home of an instance that has no sandbox, and returns its path without links in it, for the caller to
 * free; NULL with *err. */
char *local_warm_home_make(struct backend *backend, const char *instance_id, struct error *err);

/* Removes it, or the link that it has become; nothing, if it never was. */
void local_warm_home_remove(struct backend *backend, const char *instance_id);

/* Once all instances are known: removes those of others, which a killed predecessor left. */
void local_warm_homes_tidy(struct backend *backend);

/* The instance ends: a handover under way fails, and its owner is told; or nobody is told any more. */
void local_warm_fail(struct local_instance *instance);
void local_warm_cancel(struct local_instance *instance);

#endif
