/* gc_owners.h - all that somebody owns, by name, for gc.c: from the rows of the database, and from the tenants in
 * memory who have none yet. */
#ifndef TERMINALS_PROVISIONER_GC_OWNERS_H
#define TERMINALS_PROVISIONER_GC_OWNERS_H

#include "provisioner/provisioner.h"

struct gc_owners;

/* NULL with *err. */
struct gc_owners *gc_owners_read(struct provisioner *provisioner, struct error *err);
void gc_owners_free(struct gc_owners *owners);

/* Is there a tenant with this instance? With this home, a path below the data folder? With an object of this name that
 * holds its files? */
bool gc_owners_have_instance(const struct gc_owners *owners, const char *instance_id);
bool gc_owners_have_folder(const struct gc_owners *owners, const char *relative);
bool gc_owners_have_files(const struct gc_owners *owners, const char *name);

#endif
