/* key_rotation.h - another encryption key: everything that was sealed with the old one is sealed anew, in one
 * transaction (`terminals db rotate-key`). */
#ifndef TERMINALS_PROVISIONER_KEY_ROTATION_H
#define TERMINALS_PROVISIONER_KEY_ROTATION_H

#include "provisioner/provisioner.h"

/* Changes the key of a provisioner whose state is open, running or not; sets how many keys were sealed anew. `new_key`:
 * see vault_successor(). False with *err: then nothing has changed, unless the message says so. */
bool key_rotation_run(struct provisioner *provisioner, const char *new_key, size_t *count, struct error *err);

/* The same for a provisioner that does not run, which it makes sure of. `new_key_file` may be NULL. */
bool key_rotation_run_alone(const struct settings *settings, const struct backend_operations *operations,
                            const char *new_key_file, size_t *count, struct error *err);

#endif
