#include "fcgi-api/authenticate.h"

#include <string.h>
#include <strings.h>

#include "common/secret.h"

#define SCHEME        "bearer"
#define SCHEME_LENGTH (sizeof SCHEME - 1)

struct authentication_mode {
    const char *name;
    bool (*authenticate)(const struct authenticator *authenticator, const struct request *request,
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

static bool authenticate_open(const struct authenticator *authenticator, const struct request *request,
                              struct identity *identity, struct error *err) {
    (void)authenticator;
    (void)request;
    (void)err;
    identity->is_trusted = true;
    return true;
}

/* Digests are compared, not keys: they are of one length, so that timing tells nothing of the key's. */
static bool authenticate_api_key(const struct authenticator *authenticator, const struct request *request,
                                 struct identity *identity, struct error *err) {
    const char *token = bearer_token(request, err);
    if (token == NULL) {
        return false;
    }
    char digest[DIGEST_HEX_SIZE];
    bool good = digest_sha256_hex(token, strlen(token), digest) && secret_equals(digest, authenticator->key_digest);
    explicit_bzero(digest, sizeof digest);
    identity->is_trusted = good;
    return good || error_set(err, ERROR_UNAUTHORIZED, "Invalid API key");
}

static const struct authentication_mode mode_open = {"open", authenticate_open};
static const struct authentication_mode mode_api_key = {"API key", authenticate_api_key};

bool authenticator_init(struct authenticator *authenticator, const struct settings *settings, struct error *err) {
    *authenticator = (struct authenticator){0};
    bool has_key = settings->api_key != NULL && settings->api_key[0] != '\0';
    if (has_key == settings->open) {
        return error_set(err, ERROR_INVALID, "set exactly one of TERMINALS_API_KEY and TERMINALS_OPEN=true");
    }
    authenticator->mode = has_key ? &mode_api_key : &mode_open;
    return !has_key || digest_sha256_hex(settings->api_key, strlen(settings->api_key), authenticator->key_digest) ||
           error_set(err, ERROR_INTERNAL, "cannot compute SHA-256");
}

const char *authenticator_mode(const struct authenticator *authenticator) {
    return authenticator->mode->name;
}

bool authenticate(const struct authenticator *authenticator, struct request *request, struct identity *identity,
                  struct error *err) {
    *identity = (struct identity){0};
    bool known = authenticator->mode->authenticate(authenticator, request, identity, err);
    request_forget_credentials(request);
    return known;
}

bool identity_may_act_for(const struct identity *identity, const char *user_id, struct error *err) {
    return identity->is_trusted || (identity->user_id[0] != '\0' && strcmp(identity->user_id, user_id) == 0) ||
           error_set(err, ERROR_FORBIDDEN, "The token belongs to another user than X-User-Id");
}

bool identity_may_administer(const struct identity *identity, struct error *err) {
    return identity->is_trusted || error_set(err, ERROR_FORBIDDEN, "Only the API key may do this");
}
