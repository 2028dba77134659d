/* authenticate.h - whose token is this, and whom may it act for.
 *
 * A mode (docs/api.md, "Who may call") is one row of the table in authenticate.c: a name and a function. Which one is
 * in force follows from the settings and never changes. Thread-safe after authenticator_init(). */
#ifndef TERMINALS_FCGI_API_AUTHENTICATE_H
#define TERMINALS_FCGI_API_AUTHENTICATE_H

#include <stdbool.h>

#include "common/digest.h"
#include "common/error.h"
#include "common/names.h"
#include "common/settings.h"
#include "fcgi-api/request.h"

/* Who a request has proved to be. */
struct identity {
    bool is_trusted; /* acts for any user, and may administer: the API key, or anyone in open mode */
    char user_id[NAME_USER_ID_MAX_BYTES + 1]; /* the only user it acts for, unless it is trusted */
};

struct authentication_mode;

struct authenticator {
    const struct authentication_mode *mode;
    char key_digest[DIGEST_HEX_SIZE]; /* of the API key; "" without one */
};

/* Chooses the mode. False if the settings name none: nothing may be served without one. */
bool authenticator_init(struct authenticator *authenticator, const struct settings *settings, struct error *err);

/* The mode's name in docs/api.md, for the log. */
const char *authenticator_mode(const struct authenticator *authenticator);

/* Looks at the Authorization header. ERROR_UNAUTHORIZED with one of the sentences that clients match on: `Missing
 * Authorization header`, `Invalid Authorization header`, `Invalid API key`. The presented token is overwritten in the
 * request, whatever comes out. */
bool authenticate(const struct authenticator *authenticator, struct request *request, struct identity *identity,
                  struct error *err);

/* The rules for what an identity may do. False with ERROR_FORBIDDEN. */
bool identity_may_act_for(const struct identity *identity, const char *user_id, struct error *err);
bool identity_may_administer(const struct identity *identity, struct error *err);

#endif
