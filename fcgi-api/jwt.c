#include "fcgi-api/jwt.h"

#include <jwt.h>
#include <math.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/json.h"

#define ALGORITHM         "HS256"
#define ANYBODY           "*"
#define LATEST_SECONDS    1e12 /* 30,000 years: far from overflow in milliseconds */
#define MILLISECONDS_IN_S 1000

/* base64url without padding (RFC 7515 §2). NULL if it is none, or no memory. */
static char *decode_base64url(const char *text, size_t length, size_t *decoded_length) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    cleanup_free char *out = malloc(length / 4 * 3 + 4);
    unsigned bits = 0;
    size_t used = 0;
    if (out == NULL || length == 0 || length % 4 == 1) {
        return NULL;
    }
    for (size_t i = 0; i < length; i++) {
        const char *digit = text[i] == '\0' ? NULL : strchr(digits, text[i]);
        if (digit == NULL) {
            return NULL;
        }
        bits = bits << 6 | (unsigned)(digit - digits);
        if (i % 4 != 0) {
            out[used++] = (char)(bits >> (6 - 2 * (i % 4)));
        }
    }
    *decoded_length = used;
    return steal_pointer(&out);
}

/* One part of the token as a JSON object; NULL if it is none. */
static struct json_object *decode_part(const char *text, size_t length) {
    size_t json_length = 0;
    cleanup_free char *json = decode_base64url(text, length, &json_length);
    return json == NULL ? NULL : json_parse_object(json, json_length, NULL);
}

/* Header and claims of a token in the compact form, which has three parts (RFC 7515 §7.1). */
static bool split(const char *token, struct json_object **header, struct json_object **claims) {
    size_t header_length = strcspn(token, ".");
    const char *second = token + header_length;
    if (*second == '\0' || strnlen(token, JWT_MAX_BYTES + 1) > JWT_MAX_BYTES) {
        return false;
    }
    second++;
    size_t claims_length = strcspn(second, ".");
    const char *third = second + claims_length;
    size_t signature_length = 0;
    cleanup_free char *signature = *third == '\0' ? NULL
                                                  : decode_base64url(third + 1, strlen(third + 1), //
                                                                     &signature_length);
    if (signature == NULL) {
        return false;
    }
    *header = decode_part(token, header_length);
    *claims = decode_part(second, claims_length);
    return *header != NULL && *claims != NULL;
}

/* `crit` names extensions that must be understood (RFC 7515 §4.1.11): we understand none. */
static bool header_is_ours(struct json_object *header) {
    const char *algorithm = json_get_string(header, "alg");
    return algorithm != NULL && strcmp(algorithm, ALGORITHM) == 0 && !json_object_object_get_ex(header, "crit", NULL);
}

static bool signature_is_good(const char *token, const char *secret) {
    jwt_t *jwt = NULL;
    bool good = secret[0] != '\0' && jwt_decode(&jwt, token, (const unsigned char *)secret, (int)strlen(secret)) == 0 &&
                jwt_get_alg(jwt) == JWT_ALG_HS256;
    jwt_free(jwt);
    return good;
}

/* A NumericDate (RFC 7519 §2), which may have a fraction; `fallback` if the claim is not there. */
static bool read_time(struct json_object *claims, const char *name, int64_t fallback, int64_t *unix_ms) {
    struct json_object *value = NULL;
    *unix_ms = fallback;
    if (!json_object_object_get_ex(claims, name, &value)) {
        return true;
    }
    if (!json_object_is_type(value, json_type_int) && !json_object_is_type(value, json_type_double)) {
        return false;
    }
    double seconds = json_object_get_double(value);
    bool is_number = !isnan(seconds);
    seconds = seconds > LATEST_SECONDS ? LATEST_SECONDS : seconds < -LATEST_SECONDS ? -LATEST_SECONDS : seconds;
    *unix_ms = is_number ? (int64_t)(seconds * MILLISECONDS_IN_S) : fallback;
    return is_number;
}

static bool is_in_force(struct json_object *claims, int64_t now_ms, int64_t *expires_at_ms) {
    int64_t not_before_ms = 0;
    return read_time(claims, "exp", INT64_MAX, expires_at_ms) && read_time(claims, "nbf", INT64_MIN, &not_before_ms) &&
           now_ms - JWT_LEEWAY_MS < *expires_at_ms && now_ms + JWT_LEEWAY_MS >= not_before_ms;
}

static bool read_user_id(struct json_object *claims, struct jwt_claims *out) {
    const char *user_id = json_get_string(claims, "id");
    if (user_id == NULL || !name_check_user_id(user_id, NULL) || strcmp(user_id, ANYBODY) == 0) {
        return false;
    }
    memcpy(out->user_id, user_id, strlen(user_id) + 1);
    return true;
}

bool jwt_verify(const char *token, const char *secret, int64_t now_ms, struct jwt_claims *claims, struct error *err) {
    cleanup_json struct json_object *header = NULL;
    cleanup_json struct json_object *content = NULL;
    *claims = (struct jwt_claims){0};
    bool good = split(token, &header, &content) && header_is_ours(header) && signature_is_good(token, secret) &&
                is_in_force(content, now_ms, &claims->expires_at_ms) && read_user_id(content, claims);
    return good || error_set(err, ERROR_UNAUTHORIZED, "Invalid token");
}

int64_t jwt_expiry_ms(const char *token) {
    cleanup_json struct json_object *header = NULL;
    cleanup_json struct json_object *claims = NULL;
    int64_t expires_at_ms = INT64_MAX;
    return split(token, &header, &claims) && read_time(claims, "exp", INT64_MAX, &expires_at_ms) ? expires_at_ms
                                                                                                 : INT64_MAX;
}

bool jwt_is_bearer_token(const char *token) {
    size_t length = 0;
    for (; token[length] > 0x20 && token[length] < 0x7f; length++) {
    }
    return length > 0 && length <= JWT_MAX_BYTES && token[length] == '\0';
}
