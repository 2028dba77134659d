/* kubernetes_names.h - what our objects are called and what is written on them, so that they can be found again.
 *
 * The names and the `openwebui.com/…` labels are upstream's. A label's value has 63 bytes of letters, digits and inner
 * `-_.` at most; what does not fit there (an e-mail address) stands in full in an annotation of the same name, and the
 * label holds the first 12 hex digits of its SHA-256. Pure, thread-safe. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_NAMES_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_NAMES_H

#include <stdbool.h>

#include "common/json.h"
#include "provisioner/backend.h"

#define KUBERNETES_NAME_SIZE 64 /* a service's name is a DNS label: 63 bytes */

#define KUBERNETES_LABEL_MANAGED_BY  "app.kubernetes.io/managed-by"
#define KUBERNETES_MANAGED_BY        "terminals"
#define KUBERNETES_MANAGED_SELECTOR  "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dterminals"
#define KUBERNETES_LABEL_INSTANCE_ID "terminals.instance-id"
#define KUBERNETES_LABEL_STORAGE     "terminals.storage"
#define KUBERNETES_LABEL_ROLE        "terminals.role"
#define KUBERNETES_ROLE_PURGE        "purge"
#define KUBERNETES_LABEL_OPERATOR    "terminals.operator" /* on what terminals-operator made: its Terminal's uid */
#define KUBERNETES_SHARED_CLAIM      "terminals-shared"

/* `terminal-<first 12 hex of SHA-256(user)>[-<policy>][-<first 12 hex of SHA-256(context)>]`; of a policy's name that
 * makes this too long, the beginning and 12 hex digits of its hash. False: no memory. */
bool kubernetes_object_name(const char *user_id, const char *policy_id, const char *context_id,
                            char out[KUBERNETES_NAME_SIZE]);

/* Whose an object is. Borrowed from its metadata; NULL where it is not said, but for policy and context, which then are
 * `default`. */
struct kubernetes_identity {
    bool is_managed; /* by some Terminals */
    const char *user_id;
    const char *policy_id;
    const char *context_id;
    const char *instance_id;
};

void kubernetes_identity_read(struct json_object *metadata, struct kubernetes_identity *out);

/* Whether it is for this user, policy and context: the full names, not the 12 digits in the object's name. */
bool kubernetes_identity_matches(const struct kubernetes_identity *identity, const struct instance_spec *spec);

/* The uid of the object whose controller looks after this one (an owner reference with `controller`): `out` is of
 * KUBERNETES_UID_SIZE. False, and "": there is none. */
bool kubernetes_owner_read(struct json_object *metadata, char *out);

/* The metadata of a new object: labels and annotations are added to those of `metadata` (NULL: none), which is not
 * changed; ours win. `instance_id` NULL: the object outlives instances. NULL: no memory. */
struct json_object *kubernetes_metadata_make(const struct instance_spec *spec, const char *name,
                                             const char *instance_id, struct json_object *metadata,
                                             struct json_object *more_labels);

#endif
