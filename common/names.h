/* names.h - who a request is for: the rules for user ids, policies and contexts, and the names made of them.
 *
 * A tenant's instance is named by (user, policy, context). Thread-safe. */
#ifndef TERMINALS_COMMON_NAMES_H
#define TERMINALS_COMMON_NAMES_H

#include <stdbool.h>

#include "common/digest.h"
#include "common/error.h"

#define NAME_USER_ID_MAX_BYTES 256
#define NAME_CONTEXT_MAX_BYTES 256
#define NAME_POLICY_MAX_BYTES  63
#define NAME_DEFAULT           "default"
#define NAME_FOLDER_SIZE       512

/* A user id: 1 to 256 bytes of UTF-8 without control characters. Absent or empty: ERROR_UNPROCESSABLE (422), otherwise
 * bad: ERROR_INVALID. */
bool name_check_user_id(const char *user_id, struct error *err);

/* A policy id: a lower-case DNS label (RFC 1123 §2.1), as it becomes part of container and folder names. Bad:
 * ERROR_INVALID. */
bool name_check_policy_id(const char *policy_id, struct error *err);

/* A context: `default`, `chat:<id>` or `automation:<id>`, 256 bytes of UTF-8 at most, no control characters. Bad:
 * ERROR_INVALID. */
bool name_check_context_id(const char *context_id, struct error *err);

/* NULL and "" mean `default`, for policies and contexts alike. */
const char *name_or_default(const char *name);

/* The key of routes.map: upper-case hex of SHA-256(policy \n context \n user). None of the three can hold a line feed,
 * so no user can forge another's key. HAProxy computes the same (haproxy/haproxy.cfg). */
bool name_route_key(const char *user_id, const char *policy_id, const char *context_id, char out[DIGEST_HEX_SIZE]);

/* The folder of a user's home below the data folder: the id itself if it is a plain name (letters, digits, `. _ @ -`,
 * not starting with a dot, 128 bytes at most), else `u-<SHA-256>`. An id that itself looks like `u-<64 hex>` is hashed
 * too, so two users can never meet. */
bool name_user_folder(const char *user_id, char out[NAME_FOLDER_SIZE]);

/* The folder of one (user, policy, context) below the data folder. The default policy and context have the user's
 * folder itself; others lie beside it, under `.policies/` and `.contexts/` (names no user can have), so that none of
 * them shows inside the shared instance. */
bool name_home_folder(const char *user_id, const char *policy_id, const char *context_id, char out[NAME_FOLDER_SIZE]);

/* `terminals-<first 12 hex of SHA-256(user)>[-<policy>][-<first 12 hex of SHA-256(context)>]`; policy and context only
 * where they are not `default`. */
bool name_instance(const char *user_id, const char *policy_id, const char *context_id, char out[NAME_FOLDER_SIZE]);

#endif
