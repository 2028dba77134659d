#include "fcgi-api/authenticate.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/auth_settings.h"
#include "common/clock.h"
#include "common/secret.h"
#include "fcgi-api/identity_announcer.h"
#include "fcgi-api/jwt.h"
#include "fcgi-api/login_limit.h"
#include "fcgi-api/open_webui.h"
#include "fcgi-api/token_waiter.h"

#define SCHEME            "bearer"
#define SCHEME_LENGTH     (sizeof SCHEME - 1)
#define MILLISECONDS_IN_S 1000

/* A token that is no API key, and its digest. */
struct presented {
    const char *token;
    char digest[DIGEST_HEX_SIZE];
    bool is_suspect; /* its address has to wait: only what proves itself here, or did before, is good */
};

struct authentication_mode {
    const char *name;
    /* Says whose it is. NULL: nobody has to prove anything. */
    bool (*check)(const struct authenticator *authenticator, struct request *request, const struct presented *presented,
                  struct identity *identity, struct error *err);
};

/* The token of the Authorization header (RFC 6750 §2.1; RFC 9110 §11.1: the scheme in any case, then spaces), or NULL
 * with what is wrong. */
static const char *bearer_token(const struct request *request, struct error *err) {
    const char *header = request_parameter(request, "HTTP_AUTHORIZATION");
    if (header == NULL || header[0] == '\0') {
        error_set(err, ERROR_UNAUTHORIZED, "Missing Authorization header");
        return NULL;
    }
    bool is_bearer = strncasecmp(header, SCHEME, SCHEME_LENGTH) == 0 && header[SCHEME_LENGTH] == ' ';
    const char *token = is_bearer ? header + SCHEME_LENGTH + strspn(header + SCHEME_LENGTH, " ") : "";
    if (*token == '\0' || request_header_count(request, "HTTP_AUTHORIZATION", "TERMINALS_AUTHORIZATION_COUNT") > 1) {
        error_set(err, ERROR_UNAUTHORIZED, "Invalid Authorization header");
        return NULL;
    }
    return token;
}

/* --- modes -------------------------------------------------------------------------------------------------------- */

static bool check_api_key(const struct authenticator *authenticator, struct request *request,
                          const struct presented *presented, struct identity *identity, struct error *err) {
    (void)authenticator;
    (void)request;
    (void)presented;
    (void)identity;
    return error_set(err, ERROR_UNAUTHORIZED, "Invalid API key");
}

/* A token that is good for longer than the cache time is told of again and again, by each request that goes the long
 * way: so HAProxy asks us anew whenever that time is over. */
static bool check_jwt(const struct authenticator *authenticator, struct request *request,
                      const struct presented *presented, struct identity *identity, struct error *err) {
    struct jwt_claims claims;
    int64_t now_ms = clock_unix_ms();
    (void)request;
    if (!jwt_verify(presented->token, authenticator->settings->jwt_secret, now_ms, &claims, err)) {
        return false;
    }
    int64_t until_ms = now_ms + authenticator->settings->token_cache_ttl * MILLISECONDS_IN_S;
    until_ms = claims.expires_at_ms < until_ms ? claims.expires_at_ms : until_ms;
    if (until_ms > now_ms) {
        identity_announcer_tell(authenticator->announcer, presented->digest, claims.user_id, until_ms);
    }
    memcpy(identity->user_id, claims.user_id, sizeof claims.user_id);
    return true;
}

static bool check_open_webui(const struct authenticator *authenticator, struct request *request,
                             const struct presented *presented, struct identity *identity, struct error *err) {
    struct token_waiter *waiter = request->waiter;
    struct token_outcome outcome;
    if (!jwt_is_bearer_token(presented->token)) {
        return error_set(err, ERROR_UNAUTHORIZED, "Invalid token");
    }
    if (waiter != NULL && waiter->is_settled) {
        outcome = waiter->outcome;
    } else if (!open_webui_check(authenticator->open_webui, presented->token, presented->digest, presented->is_suspect,
                                 waiter, &outcome)) {
        request->is_put_aside = true;
        return false;
    }
    if (outcome.err.code != ERROR_NONE) {
        *err = outcome.err;
        return false;
    }
    memcpy(identity->user_id, outcome.user_id, sizeof outcome.user_id);
    return true;
}

static const struct authentication_mode mode_open = {"open", NULL};
static const struct authentication_mode mode_api_key = {"API key", check_api_key};
static const struct authentication_mode mode_jwt = {"local JWT", check_jwt};
static const struct authentication_mode mode_open_webui = {"Open WebUI JWT", check_open_webui};

/* --- the authenticator -------------------------------------------------------------------------------------------- */

static bool add_key(void *argument, const char *key, size_t length) {
    struct authenticator *authenticator = argument;
    if (length == 0) {
        return false;
    }
    void *grown = reallocarray(authenticator->key_digests, authenticator->key_count + 1, DIGEST_HEX_SIZE);
    if (grown == NULL) {
        return false;
    }
    authenticator->key_digests = grown;
    return digest_sha256_hex(key, length, authenticator->key_digests[authenticator->key_count++]);
}

static const struct authentication_mode *choose_mode(const struct settings *settings) {
    return settings->open_webui_url != NULL ? &mode_open_webui
           : settings->jwt_secret != NULL   ? &mode_jwt
           : settings->api_key != NULL      ? &mode_api_key
           : settings->open                 ? &mode_open
                                            : NULL;
}

static bool prepare_for_users(struct authenticator *authenticator, struct error *err) {
    const struct settings *settings = authenticator->settings;
    authenticator->announcer = identity_announcer_new();
    if (authenticator->announcer == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    if (settings->open_webui_url != NULL) {
        authenticator->open_webui =
            open_webui_new(settings->open_webui_url, settings->token_cache_ttl, authenticator->announcer, err);
    }
    return settings->open_webui_url == NULL || authenticator->open_webui != NULL;
}

bool authenticator_init(struct authenticator *authenticator, const struct settings *settings, struct error *err) {
    *authenticator = (struct authenticator){.settings = settings, .mode = choose_mode(settings)};
    if (authenticator->mode == NULL || (settings->open && authenticator->mode != &mode_open)) {
        return error_set(err, ERROR_INVALID,
                         "set TERMINALS_API_KEY, TERMINALS_OPEN_WEBUI_URL, TERMINALS_JWT_SECRET or, alone, "
                         "TERMINALS_OPEN=true");
    }
    bool has_users = authenticator->mode == &mode_jwt || authenticator->mode == &mode_open_webui;
    if (settings->failed_login_limit > 0 && authenticator->mode != &mode_open) {
        authenticator->login_limit = login_limit_new(settings->failed_login_limit, settings->failed_login_seconds);
        if (authenticator->login_limit == NULL) {
            return error_set(err, ERROR_INTERNAL, "no memory or no random numbers for TERMINALS_FAILED_LOGIN_LIMIT");
        }
    }
    bool good = (auth_settings_each_key(settings->api_key, add_key, authenticator) ||
                 error_set(err, ERROR_INTERNAL, "no memory for the API keys, or an empty one")) &&
                (!has_users || prepare_for_users(authenticator, err));
    if (!good) {
        authenticator_free(authenticator);
    }
    return good;
}

void authenticator_free(struct authenticator *authenticator) {
    open_webui_free(authenticator->open_webui);
    identity_announcer_free(authenticator->announcer);
    login_limit_free(authenticator->login_limit);
    free(authenticator->key_digests);
    *authenticator = (struct authenticator){0};
}

const char *authenticator_mode(const struct authenticator *authenticator) {
    return authenticator->mode->name;
}

/* Digests are compared, not keys: they are of one length, so that timing tells nothing of the keys'; and all of them,
 * so that it does not tell which. */
static bool is_api_key(const struct authenticator *authenticator, const char *digest) {
    bool found = false;
    for (size_t i = 0; i < authenticator->key_count; i++) {
        found = secret_equals(digest, authenticator->key_digests[i]) || found;
    }
    return found;
}

/* A token was refused: one more failure of its address, unless that has to wait anyway, and is told so. */
static void note_failure(const struct authenticator *authenticator, struct request *request, int64_t wait_seconds,
                         struct error *err) {
    if (wait_seconds > 0) {
        request->retry_after_seconds = wait_seconds;
        error_set(err, ERROR_TOO_MANY, "Too many failed logins from this address");
    } else {
        login_limit_count(authenticator->login_limit, request_client(request), clock_monotonic_ms());
    }
}

static bool identify(const struct authenticator *authenticator, struct request *request, struct identity *identity,
                     struct error *err) {
    if (authenticator->mode->check == NULL) {
        identity->is_trusted = true;
        return true;
    }
    struct presented presented = {.token = bearer_token(request, err)};
    if (presented.token == NULL) {
        return false;
    }
    if (!digest_sha256_hex(presented.token, strlen(presented.token), presented.digest)) {
        return error_set(err, ERROR_INTERNAL, "cannot compute SHA-256");
    }
    int64_t wait_seconds =
        login_limit_wait_seconds(authenticator->login_limit, request_client(request), clock_monotonic_ms());
    presented.is_suspect = wait_seconds > 0;
    identity->is_trusted = is_api_key(authenticator, presented.digest);
    bool known = identity->is_trusted || authenticator->mode->check(authenticator, request, &presented, identity, err);
    explicit_bzero(presented.digest, sizeof presented.digest);
    if (!known && !request->is_put_aside && err->code == ERROR_UNAUTHORIZED) {
        note_failure(authenticator, request, wait_seconds, err);
    }
    return known;
}

bool authenticate(const struct authenticator *authenticator, struct request *request, struct identity *identity,
                  struct error *err) {
    *identity = (struct identity){0};
    request->is_put_aside = false;
    bool known = identify(authenticator, request, identity, err);
    if (known || !request->is_put_aside) {
        request_forget_credentials(request);
    }
    return known;
}

bool authenticator_knows_metrics_token(const struct authenticator *authenticator, struct request *request) {
    struct error ignored;
    char wanted[DIGEST_HEX_SIZE];
    char presented[DIGEST_HEX_SIZE];
    const char *good = authenticator->settings->metrics_token;
    const char *token = good == NULL ? NULL : bearer_token(request, &ignored);
    /* Digests, so that timing tells nothing of the token's length either. */
    bool is_good = token != NULL && digest_sha256_hex(good, strlen(good), wanted) &&
                   digest_sha256_hex(token, strlen(token), presented) && secret_equals(wanted, presented);
    explicit_bzero(wanted, sizeof wanted);
    explicit_bzero(presented, sizeof presented);
    if (is_good) {
        request_forget_credentials(request);
    }
    return is_good;
}

bool identity_may_act_for(const struct identity *identity, const char *user_id, struct error *err) {
    return identity->is_trusted || (identity->user_id[0] != '\0' && strcmp(identity->user_id, user_id) == 0) ||
           error_set(err, ERROR_FORBIDDEN, "The token belongs to another user than X-User-Id");
}

bool identity_may_administer(const struct authenticator *authenticator, const struct identity *identity,
                             struct error *err) {
    if (identity->is_trusted) {
        return true;
    }
    return authenticator->key_count == 0 ? error_set(err, ERROR_UNAUTHORIZED, "Invalid API key")
                                         : error_set(err, ERROR_FORBIDDEN, "Only the API key may do this");
}
