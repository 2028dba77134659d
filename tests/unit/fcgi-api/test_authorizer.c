/* Who gets in, and where to: one row for each sentence of API.md's "Who may call" and "Details". */
#include "tests/unit/fcgi-api/world.h"

#include "fcgi-api/authorizer.h"

#define GOOD    "HTTP_AUTHORIZATION=Bearer the-key\n"
#define USER    "HTTP_X_USER_ID=alice\n"
#define URI     "REQUEST_URI=/files/list?directory=/\n"
#define POLICY  "TERMINALS_POLICY="
#define CONTEXT "HTTP_X_TERMINAL_CONTEXT_ID="
#define MISSING                                                                                                        \
    "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"header\",\"x-user-id\"],\"msg\":\"Field "                           \
    "required\",\"input\":null}]}"
#define ALLOWED(user, policy, context)                                                                                 \
    "Variable-User: " user "\r\nVariable-Policy: " policy "\r\nVariable-Context: " context "\r\n"
#define CHALLENGE "WWW-Authenticate: Bearer\r\n"

static const struct {
    const char *parameters;
    int status;
    const char *headers; /* NULL: not looked at */
    const char *body;
} decisions[] = {
    {GOOD USER URI, 200, ALLOWED("alice", "default", "default"), ""},
    {GOOD USER URI POLICY "gpu\n" CONTEXT "chat:1\n", 200, ALLOWED("alice", "gpu", "chat:1"), ""},
    {GOOD USER URI CONTEXT "\n", 200, ALLOWED("alice", "default", "default"), ""},
    {GOOD USER URI CONTEXT "default\n", 200, ALLOWED("alice", "default", "default"), ""},
    {GOOD USER URI CONTEXT "automation:x\n", 200, ALLOWED("alice", "default", "automation:x"), ""},
    {GOOD USER URI "TERMINALS_USER_ID_COUNT=1\nTERMINALS_AUTHORIZATION_COUNT=1\n", 200, NULL, ""},

    {USER URI, 401, CHALLENGE, "{\"detail\":\"Missing Authorization header\"}"},
    {"HTTP_AUTHORIZATION=\n" USER URI, 401, CHALLENGE, "{\"detail\":\"Missing Authorization header\"}"},
    {"HTTP_AUTHORIZATION=the-key\n" USER URI, 401, CHALLENGE, "{\"detail\":\"Invalid Authorization header\"}"},
    {"HTTP_AUTHORIZATION=B\n" USER URI, 401, CHALLENGE, "{\"detail\":\"Invalid Authorization header\"}"},
    {"HTTP_AUTHORIZATION=Bearer\n" USER URI, 401, CHALLENGE, "{\"detail\":\"Invalid Authorization header\"}"},
    {"HTTP_AUTHORIZATION=Bearer \n" USER URI, 401, CHALLENGE, "{\"detail\":\"Invalid Authorization header\"}"},
    {"HTTP_AUTHORIZATION=Bearerthe-key\n" USER URI, 401, CHALLENGE, "{\"detail\":\"Invalid Authorization header\"}"},
    {"HTTP_AUTHORIZATION=Basic the-key\n" USER URI, 401, CHALLENGE, "{\"detail\":\"Invalid Authorization header\"}"},
    {GOOD GOOD USER URI, 401, CHALLENGE, "{\"detail\":\"Invalid Authorization header\"}"},
    {GOOD "TERMINALS_AUTHORIZATION_COUNT=2\n" USER URI, 401, CHALLENGE,
     "{\"detail\":\"Invalid Authorization header\"}"},
    {"HTTP_AUTHORIZATION=Bearer the-kez\n" USER URI, 401, CHALLENGE, "{\"detail\":\"Invalid API key\"}"},
    {"HTTP_AUTHORIZATION=Bearer the-key2\n" USER URI, 401, CHALLENGE, "{\"detail\":\"Invalid API key\"}"},
    {"HTTP_AUTHORIZATION=Bearer the-ke\n" USER URI, 401, CHALLENGE, "{\"detail\":\"Invalid API key\"}"},
    {"HTTP_AUTHORIZATION=bEARER  the-key\n" USER URI, 200, NULL, ""},

    /* Credentials come before everything else. */
    {"", 401, CHALLENGE, "{\"detail\":\"Missing Authorization header\"}"},
    {USER USER URI POLICY "!\n", 401, CHALLENGE, "{\"detail\":\"Missing Authorization header\"}"},

    {GOOD URI, 422, "", MISSING},
    {GOOD URI "HTTP_X_USER_ID=\n", 422, "", MISSING},
    {GOOD USER USER URI, 400, "", "{\"detail\":\"X-User-Id was sent more than once\"}"},
    {GOOD USER URI "TERMINALS_USER_ID_COUNT=3\n", 400, "", "{\"detail\":\"X-User-Id was sent more than once\"}"},
    {GOOD URI "HTTP_X_USER_ID=a\tb\n", 400, "", "{\"detail\":\"X-User-Id has a control character\"}"},
    {GOOD URI "HTTP_X_USER_ID=\xc3\x28\n", 400, "", "{\"detail\":\"X-User-Id is not UTF-8\"}"},
    {GOOD USER URI POLICY "\n", 400, "", NULL},
    {GOOD USER URI POLICY "GPU\n", 400, "", NULL},
    {GOOD USER URI POLICY "..%2f\n", 400, "", NULL},
    {GOOD USER URI CONTEXT "room:1\n", 400, "", NULL},
    {GOOD USER URI CONTEXT "chat:\n", 400, "", NULL},
    {GOOD USER URI CONTEXT "chat:1\n" CONTEXT "chat:1\n", 400, "", NULL},
    {GOOD USER, 400, "", NULL},
    {GOOD USER "REQUEST_URI=/../x\n", 400, "", NULL},
    {GOOD USER "REQUEST_URI=/api/v1/tenants\n", 404, "", "{\"detail\":\"Not Found\"}"},
};

static void test_each_request_gets_its_decision(void **state) {
    (void)state;
    struct settings settings = {0};
    cleanup_api struct api api = world_api(&settings);
    for (size_t i = 0; i < sizeof decisions / sizeof decisions[0]; i++) {
        cleanup_world_request struct world_request world;
        world_request_init(&world, decisions[i].parameters);
        cleanup_answer struct answer answer = {0};
        authorizer_answer(&api, &world.request, &answer);
        if (answer.status != decisions[i].status) {
            fail_msg("%s: got %d %s", decisions[i].parameters, answer.status, world_body(&answer));
        }
        if (decisions[i].headers != NULL) {
            assert_string_equal(answer.headers.data == NULL ? "" : answer.headers.data, decisions[i].headers);
        }
        if (decisions[i].body != NULL) {
            assert_string_equal(world_body(&answer), decisions[i].body);
        }
    }
}

static void test_the_presented_token_does_not_stay_in_memory(void **state) {
    (void)state;
    struct settings settings = {0};
    cleanup_api struct api api = world_api(&settings);
    cleanup_world_request struct world_request world;
    world_request_init(&world, GOOD "HTTP_AUTHORIZATION=Bearer another\n" USER URI);
    cleanup_answer struct answer answer = {0};
    authorizer_answer(&api, &world.request, &answer);
    assert_string_equal(world.parameters[0], "HTTP_AUTHORIZATION=");
    assert_memory_equal(world.parameters[0] + strlen("HTTP_AUTHORIZATION="), "\0\0\0\0\0\0\0\0", 8);
    assert_string_equal(world.parameters[1], "HTTP_AUTHORIZATION=");
}

static void test_in_open_mode_nobody_needs_a_token(void **state) {
    (void)state;
    struct settings settings = {.open = true};
    cleanup_api struct api api = world_api(&settings);
    static const char *const requests[] = {USER URI, GOOD GOOD USER URI, "HTTP_AUTHORIZATION=nonsense\n" USER URI};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        cleanup_world_request struct world_request world;
        world_request_init(&world, requests[i]);
        cleanup_answer struct answer answer = {0};
        authorizer_answer(&api, &world.request, &answer);
        assert_int_equal(answer.status, 200);
    }
}

static void test_settings_without_a_mode_or_with_two_are_refused(void **state) {
    (void)state;
    struct authenticator authenticator;
    struct error err = {0};
    char key[] = KEY;
    char empty[] = "";
    assert_false(authenticator_init(&authenticator, &(struct settings){0}, &err));
    assert_false(authenticator_init(&authenticator, &(struct settings){.api_key = empty}, &err));
    assert_false(authenticator_init(&authenticator, &(struct settings){.api_key = key, .open = true}, &err));
}

static void test_an_identity_of_one_user_acts_for_no_other(void **state) {
    (void)state;
    struct error err = {0};
    struct identity alice = {.user_id = "alice"};
    struct identity nobody = {0};
    assert_true(identity_may_act_for(&alice, "alice", &err));
    assert_false(identity_may_act_for(&alice, "Alice", &err));
    assert_int_equal(err.code, ERROR_FORBIDDEN);
    assert_false(identity_may_act_for(&nobody, "", &err));
    struct authenticator without_keys = {0};
    struct authenticator with_keys = {.key_count = 1};
    assert_false(identity_may_administer(&with_keys, &alice, &err));
    assert_int_equal(err.code, ERROR_FORBIDDEN);
    assert_false(identity_may_administer(&without_keys, &alice, &err));
    assert_int_equal(err.code, ERROR_UNAUTHORIZED);
    assert_string_equal(err.message, "Invalid API key");
    assert_true(identity_may_act_for(&(struct identity){.is_trusted = true}, "anyone", &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_request_gets_its_decision),
        cmocka_unit_test(test_the_presented_token_does_not_stay_in_memory),
        cmocka_unit_test(test_in_open_mode_nobody_needs_a_token),
        cmocka_unit_test(test_settings_without_a_mode_or_with_two_are_refused),
        cmocka_unit_test(test_an_identity_of_one_user_acts_for_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
