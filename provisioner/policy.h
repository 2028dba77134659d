/* policy.h - a policy: one kind of machine that a user may have. What an administrator stores, checked and parsed.
 *
 * A backend reads a policy and never writes one. */
#ifndef TERMINALS_PROVISIONER_POLICY_H
#define TERMINALS_PROVISIONER_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/json.h"
#include "common/names.h"
#include "common/settings.h"

#define POLICY_UNSET                (-1) /* the settings hold */
#define POLICY_DATA_MAX_BYTES       (64 * 1024)
#define POLICY_DATA_MAX_DEPTH       32
#define POLICY_ENV_MAX              512
#define POLICY_NAME_MAX_BYTES       256 /* of an environment variable */
#define POLICY_IMAGE_MAX_BYTES      512
#define POLICY_IDLE_MINUTES_MAX     (100LL * 365 * 24 * 60)
#define POLICY_LIFETIME_MINUTES_MAX POLICY_IDLE_MINUTES_MAX
#define POLICY_COMMAND_MAX_BYTES    8192
#define POLICY_PRE_STOP_SECONDS     10 /* unless it says otherwise */
#define POLICY_PRE_STOP_SECONDS_MAX 60
#define POLICY_WARM_MAX             100
#define POLICY_HASH_SIZE            17

struct policy {
    char id[NAME_POLICY_MAX_BYTES + 1];
    struct json_object *data;    /* what the API shows: clamped to the caps, members we do not know included */
    char hash[POLICY_HASH_SIZE]; /* of `data`: an instance that was started with another one is outdated. "": no data */

    /* Parsed from `data`; borrowed from it. NULL and POLICY_UNSET: not said. */
    const char *image;
    struct json_object *env; /* an object of texts; never OPEN_TERMINAL_API_KEY or …_FILE */
    int64_t cpu_millicores;
    int64_t memory_bytes;
    int64_t storage_bytes;
    int64_t idle_timeout_minutes; /* 0: never */
    int64_t max_lifetime_minutes; /* POLICY_UNSET: no limit */
    int64_t warm;                 /* instances to keep ready */
    const char *pre_stop_command;
    int64_t pre_stop_timeout_seconds;
    struct json_object *container_security_context; /* a Kubernetes SecurityContext */
};

/* Checks `data` (borrowed; an object) and fills *policy, which policy_free() empties: `data` becomes a copy without
 * what is null, OPEN_TERMINAL_API_KEY and what exceeds the caps of `settings`. False with ERROR_INVALID and the name of
 * the member that is wrong (and *policy empty), or ERROR_INTERNAL. */
bool policy_parse(struct policy *policy, const char *id, struct json_object *data, const struct settings *settings,
                  struct error *err);

/* Frees what it holds; `{0}` holds nothing. */
void policy_free(struct policy *policy);

/* Whether an image is one of those that TERMINALS_ALLOWED_IMAGES allows. */
bool policy_image_is_allowed(const char *image, const char *allowed_images);

#endif
