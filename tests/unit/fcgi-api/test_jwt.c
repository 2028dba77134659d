/* Which tokens are somebody's, and which are nobody's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jwt.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "fcgi-api/jwt.h"

#define SECRET "t0p-s3cr3t"
#define NOW_S  1800000000LL
#define NOW_MS (NOW_S * 1000)

/* Appends base64url without padding. */
static void append_base64url(char *out, const void *data, size_t length) {
    unsigned char text[16384];
    int written = EVP_EncodeBlock(text, data, (int)length);
    out += strlen(out);
    for (int i = 0; i < written && text[i] != '='; i++) {
        *out++ = text[i] == '+' ? '-' : text[i] == '/' ? '_' : (char)text[i];
    }
    *out = '\0';
}

/* A token with any header and any claims, signed with HMAC-SHA-256. The caller frees it. */
static char *make_token(const char *header, const char *claims, const char *secret) {
    unsigned char signature[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    char *token = calloc(1, 32768);
    append_base64url(token, header, strlen(header));
    strcat(token, ".");
    append_base64url(token, claims, strlen(claims));
    HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)token, strlen(token), signature, &length);
    strcat(token, ".");
    append_base64url(token, signature, length);
    return token;
}

#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

static bool is_good(const char *token, struct jwt_claims *claims) {
    struct error err = {0};
    bool good = jwt_verify(token, SECRET, NOW_MS, claims, &err);
    if (!good) {
        assert_int_equal(err.code, ERROR_UNAUTHORIZED);
        assert_string_equal(err.message, "Invalid token");
    }
    return good;
}

static void test_what_open_webui_makes_is_taken(void **state) {
    (void)state;
    struct jwt_claims claims;
    /* jwt.encode({"id": …, "exp": …, "jti": …}, WEBUI_SECRET_KEY, algorithm="HS256") of PyJWT */
    cleanup_free char *with_expiry = make_token(HS256, "{\"id\":\"alice\",\"exp\":1800000060,\"jti\":\"x\"}", SECRET);
    assert_true(is_good(with_expiry, &claims));
    assert_string_equal(claims.user_id, "alice");
    assert_int_equal(claims.expires_at_ms, NOW_MS + 60000);
    cleanup_free char *for_ever = make_token(HS256, "{\"id\":\"bob@example.com\"}", SECRET);
    assert_true(is_good(for_ever, &claims));
    assert_string_equal(claims.user_id, "bob@example.com");
    assert_true(claims.expires_at_ms == INT64_MAX);
    cleanup_free char *without_type = make_token("{\"alg\":\"HS256\"}", "{\"id\":\"alice\"}", SECRET);
    assert_true(is_good(without_type, &claims));
}

static void test_no_algorithm_but_ours_is_taken(void **state) {
    (void)state;
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",
        "{\"alg\":\"None\"}",
        "{\"alg\":\"NONE\",\"typ\":\"JWT\"}",
        "{\"alg\":\"hs256\"}",
        "{\"alg\":\"HS384\"}",
        "{\"alg\":\"HS512\"}",
        "{\"alg\":\"RS256\"}",
        "{\"alg\":\"ES256\"}",
        "{\"alg\":\"PS256\"}",
        "{\"alg\":\"HS256 \"}",
        "{\"alg\":\"\"}",
        "{\"alg\":256}",
        "{\"alg\":null}",
        "{\"alg\":[\"HS256\"]}",
        "{\"typ\":\"JWT\"}",
        "{}",
        "[]",
        "\"HS256\"",
        "{\"alg\":\"HS256\",\"alg\":\"none\"}",
        "{\"alg\":\"none\",\"alg\":\"HS384\"}",
        "{\"alg\":\"HS256\\u0000\"}",
        "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"HS256\",\"typ\":\"JWT\"",
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct jwt_claims claims;
        cleanup_free char *token = make_token(headers[i], "{\"id\":\"alice\"}", SECRET);
        if (is_good(token, &claims)) {
            fail_msg("a token with the header %s was taken", headers[i]);
        }
        /* The same without its signature. */
        strrchr(token, '.')[1] = '\0';
        assert_false(is_good(token, &claims));
        *strrchr(token, '.') = '\0';
        assert_false(is_good(token, &claims));
    }
}

/* RSA's public key as HMAC's secret is the classic: it needs a verifier that lets the token choose. */
static void test_tokens_that_libjwt_signs_otherwise_are_refused(void **state) {
    (void)state;
    static const jwt_alg_t algorithms[] = {JWT_ALG_NONE, JWT_ALG_HS384, JWT_ALG_HS512, JWT_ALG_HS256};
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        struct jwt_claims claims;
        jwt_t *jwt = NULL;
        bool is_none = algorithms[i] == JWT_ALG_NONE;
        assert_int_equal(jwt_new(&jwt), 0);
        assert_int_equal(jwt_add_grant(jwt, "id", "alice"), 0);
        assert_int_equal(jwt_set_alg(jwt, algorithms[i], is_none ? NULL : (const unsigned char *)SECRET,
                                     is_none ? 0 : (int)strlen(SECRET)),
                         0);
        char *token = jwt_encode_str(jwt);
        assert_non_null(token);
        assert_int_equal(is_good(token, &claims), algorithms[i] == JWT_ALG_HS256);
        free(token);
        jwt_free(jwt);
    }
}

static void test_another_secret_is_refused(void **state) {
    (void)state;
    struct jwt_claims claims;
    static const char *const secrets[] = {"", "t0p-s3cr3", "t0p-s3cr3t ", "T0P-S3CR3T"};
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        cleanup_free char *token = make_token(HS256, "{\"id\":\"alice\"}", secrets[i]);
        assert_false(is_good(token, &claims));
    }
    struct error err;
    cleanup_free char *token = make_token(HS256, "{\"id\":\"alice\"}", "");
    assert_false(jwt_verify(token, "", NOW_MS, &claims, &err));
}

static void test_a_token_with_any_byte_changed_is_refused(void **state) {
    (void)state;
    struct jwt_claims claims;
    cleanup_free char *token = make_token(HS256, "{\"id\":\"alice\",\"exp\":1800000060}", SECRET);
    size_t length = strlen(token);
    assert_true(is_good(token, &claims));
    for (size_t i = 0; i + 1 < length; i++) { /* the last digit has bits that mean nothing */
        char before = token[i];
        token[i] = before == 'A' ? 'B' : 'A';
        assert_false(is_good(token, &claims));
        token[i] = before;
    }
    for (size_t cut = 0; cut < length; cut++) {
        cleanup_free char *shorter = strndup(token, cut);
        assert_false(is_good(shorter, &claims));
    }
}

static void test_time_is_honoured_with_half_a_minute_of_leeway(void **state) {
    (void)state;
    static const struct {
        const char *claims;
        bool good;
    } cases[] = {
        {"{\"id\":\"a\",\"exp\":1800000001}", true},
        {"{\"id\":\"a\",\"exp\":1800000000}", true},
        {"{\"id\":\"a\",\"exp\":1799999971}", true},
        {"{\"id\":\"a\",\"exp\":1799999970}", false},
        {"{\"id\":\"a\",\"exp\":1799999970.5}", true},
        {"{\"id\":\"a\",\"exp\":0}", false},
        {"{\"id\":\"a\",\"exp\":-1}", false},
        {"{\"id\":\"a\",\"exp\":1e300}", true},
        {"{\"id\":\"a\",\"exp\":-1e300}", false},
        {"{\"id\":\"a\",\"exp\":9223372036854775807}", true},
        {"{\"id\":\"a\",\"exp\":\"1800000060\"}", false},
        {"{\"id\":\"a\",\"exp\":null}", false},
        {"{\"id\":\"a\",\"exp\":true}", false},
        {"{\"id\":\"a\",\"exp\":[1800000060]}", false},
        {"{\"id\":\"a\",\"nbf\":1800000000}", true},
        {"{\"id\":\"a\",\"nbf\":1800000030}", true},
        {"{\"id\":\"a\",\"nbf\":1800000031}", false},
        {"{\"id\":\"a\",\"nbf\":\"0\"}", false},
        {"{\"id\":\"a\",\"nbf\":1e300}", false},
        {"{\"id\":\"a\",\"nbf\":-1e300}", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct jwt_claims claims;
        cleanup_free char *token = make_token(HS256, cases[i].claims, SECRET);
        if (is_good(token, &claims) != cases[i].good) {
            fail_msg("%s was %s", cases[i].claims, cases[i].good ? "refused" : "taken");
        }
    }
}

static void test_who_it_is_must_be_a_user(void **state) {
    (void)state;
    static const char *const claims_of_nobody[] = {
        "{}",
        "{\"sub\":\"alice\"}",
        "{\"id\":\"\"}",
        "{\"id\":\"*\"}",
        "{\"id\":null}",
        "{\"id\":1}",
        "{\"id\":[\"alice\"]}",
        "{\"id\":{\"id\":\"alice\"}}",
        "{\"id\":\"a\\nb\"}",
        "{\"id\":\"alice\\u0000\"}",
        "{\"id\":\"\\ud800\"}",
        "{\"id\":\"a\xff\"}",
        "[\"alice\"]",
        "{\"id\":\"alice\"} {}",
        "{\"id\":\"alice\"",
        "",
    };
    struct jwt_claims claims;
    for (size_t i = 0; i < sizeof claims_of_nobody / sizeof claims_of_nobody[0]; i++) {
        cleanup_free char *token = make_token(HS256, claims_of_nobody[i], SECRET);
        if (is_good(token, &claims)) {
            fail_msg("%s was taken", claims_of_nobody[i]);
        }
    }
    char long_claims[NAME_USER_ID_MAX_BYTES + 32];
    for (int length = NAME_USER_ID_MAX_BYTES; length <= NAME_USER_ID_MAX_BYTES + 1; length++) {
        snprintf(long_claims, sizeof long_claims, "{\"id\":\"%0*d\"}", length, 7);
        cleanup_free char *token = make_token(HS256, long_claims, SECRET);
        assert_int_equal(is_good(token, &claims), length == NAME_USER_ID_MAX_BYTES);
    }
}

static void test_what_is_no_token_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        ".",
                                        "..",
                                        "...",
                                        "a.b.c",
                                        "a.b.c.d.e",
                                        "....",
                                        "e30.e30.",
                                        "e30.e30.e30",
                                        "e30=.e30.e30",
                                        "eyJhbGciOiJIUzI1NiJ9..",
                                        "\x80.\x80.\x80",
                                        "e30.e30.e30.e30"};
    struct jwt_claims claims;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_false(is_good(texts[i], &claims));
        assert_true(jwt_expiry_ms(texts[i]) == INT64_MAX);
    }
    cleanup_free char *huge = calloc(1, 2 * JWT_MAX_BYTES);
    memset(huge, 'A', 2 * JWT_MAX_BYTES - 1);
    huge[10] = huge[20] = '.';
    assert_false(is_good(huge, &claims));
}

static void test_the_expiry_of_a_token_is_read_without_its_secret(void **state) {
    (void)state;
    cleanup_free char *token = make_token("{\"alg\":\"RS256\"}", "{\"exp\":1800000060.25}", "whose");
    cleanup_free char *without = make_token(HS256, "{\"id\":\"alice\"}", "whose");
    assert_int_equal(jwt_expiry_ms(token), NOW_MS + 60250);
    assert_true(jwt_expiry_ms(without) == INT64_MAX);
    assert_true(jwt_expiry_ms("sk-0123456789abcdef") == INT64_MAX);
}

static void test_a_bearer_token_is_visible_ascii(void **state) {
    (void)state;
    cleanup_free char *huge = calloc(1, JWT_MAX_BYTES + 2);
    memset(huge, 'A', JWT_MAX_BYTES);
    assert_true(jwt_is_bearer_token("sk-x"));
    assert_true(jwt_is_bearer_token(huge));
    huge[JWT_MAX_BYTES] = 'A';
    assert_false(jwt_is_bearer_token(huge));
    assert_false(jwt_is_bearer_token(""));
    assert_false(jwt_is_bearer_token("a b"));
    assert_false(jwt_is_bearer_token("a\r\nX-Admin: 1"));
    assert_false(jwt_is_bearer_token("\xc3\xa4"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_open_webui_makes_is_taken),
        cmocka_unit_test(test_no_algorithm_but_ours_is_taken),
        cmocka_unit_test(test_tokens_that_libjwt_signs_otherwise_are_refused),
        cmocka_unit_test(test_another_secret_is_refused),
        cmocka_unit_test(test_a_token_with_any_byte_changed_is_refused),
        cmocka_unit_test(test_time_is_honoured_with_half_a_minute_of_leeway),
        cmocka_unit_test(test_who_it_is_must_be_a_user),
        cmocka_unit_test(test_what_is_no_token_is_refused),
        cmocka_unit_test(test_the_expiry_of_a_token_is_read_without_its_secret),
        cmocka_unit_test(test_a_bearer_token_is_visible_ascii),
    };
    return cmocka_run_group_tests_name("jwt", tests, NULL, NULL);
}
