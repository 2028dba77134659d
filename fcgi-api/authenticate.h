/* authenticate.h - whose token is this, and whom may it act for.
 *
 * A mode (docs/api.md, "Who may call") is one row of the table in authenticate.c: a name and how a user's token is
 * checked. Which one is in force follows from the settings and never changes. An API key, where there is one, is good
 * in every mode. Thread-safe after authenticator_init(). */
#ifndef TERMINALS_FCGI_API_AUTHENTICATE_H
#define TERMINALS_FCGI_API_AUTHENTICATE_H

#include <stdbool.h>

#include "common/digest.h"
#include "common/error.h"
#include "common/names.h"
#include "common/settings.h"
#include "fcgi-api/request.h"

struct open_webui;
struct identity_announcer;
struct login_limit;

/* Who a request has proved to be. */
struct identity {
    bool is_trusted; /* acts for any user, and may administer: an API key, or anyone in open mode */
    char user_id[NAME_USER_ID_MAX_BYTES + 1]; /* the only user it acts for, unless it is trusted */
};

struct authentication_mode;

struct authenticator {
    const struct authentication_mode *mode;
    char (*key_digests)[DIGEST_HEX_SIZE]; /* of the API keys */
    size_t key_count;
    const struct settings *settings;
    struct identity_announcer *announcer; /* where users have tokens; its caller runs it in a thread */
    struct login_limit *login_limit;      /* NULL: none */
    struct open_webui *open_webui;        /* in that mode; its caller runs it in a thread */
};

/* Chooses the mode. False if the settings name none: nothing may be served without one. `settings` must outlive the
 * authenticator. On failure *authenticator needs no free. */
bool authenticator_init(struct authenticator *authenticator, const struct settings *settings, struct error *err);
void authenticator_free(struct authenticator *authenticator);

/* The mode's name in docs/api.md, for the log. */
const char *authenticator_mode(const struct authenticator *authenticator);

/* Looks at the Authorization header. ERROR_UNAUTHORIZED with one of the sentences that clients match on: `Missing
 * Authorization header`, `Invalid Authorization header`, `Invalid API key`, `Invalid token`; ERROR_TOO_MANY with
 * request->retry_after_seconds if the client's address has had too many tokens refused, and this is neither an API key
 * nor a token that is, or in this process once was, known to be good; another code if the token cannot be checked now.
 * The presented token is overwritten in the request, whatever comes out; unless this returned
 * false and request->is_put_aside is set: then nothing is decided, and the request is the waiter's (token_waiter.h). */
bool authenticate(const struct authenticator *authenticator, struct request *request, struct identity *identity,
                  struct error *err);

/* Does the Authorization header present TERMINALS_METRICS_TOKEN, which is good for /metrics and nothing else? Then it
 * is overwritten in the request; if not, authenticate() decides. */
bool authenticator_knows_metrics_token(const struct authenticator *authenticator, struct request *request);

/* The rules for what an identity may do. False with ERROR_FORBIDDEN. */
bool identity_may_act_for(const struct identity *identity, const char *user_id, struct error *err);

/* False with ERROR_UNAUTHORIZED where there is no API key that could ever do this. */
bool identity_may_administer(const struct authenticator *authenticator, const struct identity *identity,
                             struct error *err);

#endif
