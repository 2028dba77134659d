/* jwt.h - JSON Web Tokens as Open WebUI makes them (RFC 7519): signed with HMAC-SHA-256, the user in the claim `id`.
 *
 * The signature is libjwt's business; what the token says is read here, strictly, and its algorithm is compared with
 * the one we want and never chosen by the token (RFC 8725 §3.1). Thread-safe. */
#ifndef TERMINALS_FCGI_API_JWT_H
#define TERMINALS_FCGI_API_JWT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/names.h"

/* What a token may be off by, since clocks differ. */
#define JWT_LEEWAY_MS (30 * 1000)

/* Longer ones are refused unread. A request's head has 15 KB. */
#define JWT_MAX_BYTES 8192

struct jwt_claims {
    char user_id[NAME_USER_ID_MAX_BYTES + 1];
    int64_t expires_at_ms; /* `exp` in Unix milliseconds; INT64_MAX without one */
};

/* Verifies a token made with `secret` at `now_ms` (Unix): HS256 and nothing else, `exp` and `nbf` with leeway, and an
 * `id` that is a user id (names.h) but not `*`, which stands for everybody elsewhere. ERROR_UNAUTHORIZED with the
 * sentence `Invalid token`, whatever is wrong: it tells a forger nothing. */
bool jwt_verify(const char *token, const char *secret, int64_t now_ms, struct jwt_claims *claims, struct error *err);

/* `exp` of a token that somebody else has verified; INT64_MAX if it has none, or is no JWT. */
int64_t jwt_expiry_ms(const char *token);

/* Can this be sent as a bearer token at all: visible ASCII, not too long? */
bool jwt_is_bearer_token(const char *token);

#endif
