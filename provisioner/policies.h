/* policies.h - which policies there are: in the database, and in memory by id. `default` always exists.
 *
 * What is stored was checked by the rules and caps of its day. Where those have become tighter since (a cap was
 * lowered, an image is no longer allowed), the data is clamped anew at the start, and a policy that can no longer hold
 * at all stays but starts nothing until somebody corrects it. */
#ifndef TERMINALS_PROVISIONER_POLICIES_H
#define TERMINALS_PROVISIONER_POLICIES_H

#include <uthash.h>

#include "provisioner/policy.h"
#include "provisioner/provisioner.h"

#define POLICIES_MAX            1000
#define POLICIES_DATA_MAX_BYTES (4 * 1024 * 1024) /* of all together: what the list of them all must carry */

struct stored_policy {
    struct policy policy;
    size_t data_bytes;
    char *problem; /* why nothing may be started with it; else NULL */
    int64_t created_at_ms;
    int64_t updated_at_ms;
    size_t warm_present;   /* warm.c: those that are ready or start */
    int64_t warm_retry_ms; /* monotonic: no more are started before, since one has failed */
    UT_hash_handle hh;
};

/* Reads them from the database. */
bool policies_load(struct provisioner *provisioner, struct error *err);
void policies_free(struct provisioner *provisioner);

/* NULL with ERROR_NOT_FOUND. What is returned holds until the policy changes. */
struct stored_policy *policies_find(struct provisioner *provisioner, const char *policy_id, struct error *err);

/* The same to start an instance with: NULL also with ERROR_CONFLICT, and why. */
const struct policy *policies_usable(struct provisioner *provisioner, const char *policy_id, struct error *err);

/* How many there are. */
size_t policies_count(const struct provisioner *provisioner);

/* Makes a policy, gives one other data, forgets one. NULL or false with *err: ERROR_CONFLICT where it exists already,
 * where there are too many, or where instances of it run; ERROR_NOT_FOUND; what policy_parse() found. `data` is
 * borrowed. */
struct stored_policy *policies_create(struct provisioner *provisioner, const char *policy_id, struct json_object *data,
                                      struct error *err);
struct stored_policy *policies_update(struct provisioner *provisioner, const char *policy_id, struct json_object *data,
                                      struct error *err);
bool policies_delete(struct provisioner *provisioner, const char *policy_id, struct error *err);

/* The policy as policies_create() or policies_update() would make it, as the API shows it; nothing is changed. NULL
 * with *err, as of those two. */
struct json_object *policies_try(struct provisioner *provisioner, const char *policy_id, struct json_object *data,
                                 bool is_new, struct error *err);

/* A policy as the API shows it, {"id", "data", "error", "created_at", "updated_at"}. NULL: no memory. */
struct json_object *policy_to_json(const struct stored_policy *stored);

/* How long an instance of this policy may be idle, in milliseconds; 0: for ever. */
int64_t policies_idle_timeout_ms(const struct provisioner *provisioner, const char *policy_id);

/* How long an instance of this policy may run at all, in milliseconds; 0: for ever. */
int64_t policies_lifetime_ms(const struct provisioner *provisioner, const char *policy_id);

/* Whether an instance that was started with data of this hash would be another one today. */
bool policies_is_outdated(const struct provisioner *provisioner, const char *policy_id, const char *hash);

#endif
