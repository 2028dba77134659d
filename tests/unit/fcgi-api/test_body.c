/* What a call's body may be, and what it becomes. */
#include "tests/unit/fcgi-api/world.h"

#include "fcgi-api/responder.h"

static const char answers[] =
    "{\"policy\":{\"id\":\"p\"},\"tenant\":{},\"result\":{},\"lifecycle\":{\"reset\":\"@daily\"}}";

/* A body, or the status with which reading it ends. */
struct fake_body {
    const char *text;
    int status;
    int reads;
};

static int read_fake(void *argument, size_t max_bytes, struct buffer *body) {
    struct fake_body *fake = argument;
    fake->reads++;
    assert_int_equal(max_bytes, 65536);
    assert_true(buffer_append_string(body, fake->text));
    return fake->status;
}

/* Answers one request; the caller frees both. */
static void respond(struct world_provisioner *world, struct fake_body *body, const char *method, const char *target,
                    const char *token, struct answer *answer) {
    struct settings settings = {0};
    cleanup_api struct api api = world_api(&settings);
    struct provisioner provisioner = {world_call, world};
    cleanup_free char *list = NULL;
    assert_true(asprintf(&list, "REQUEST_METHOD=%s\nREQUEST_URI=/api/v1%s\nHTTP_AUTHORIZATION=Bearer %s\n", method,
                         target, token) > 0);
    cleanup_world_request struct world_request request;
    world_request_init(&request, list);
    request.request.read_body = read_fake;
    request.request.body_argument = body;
    responder_answer(&api, &provisioner, true, &request.request, answer);
}

static void test_each_body_becomes_its_request(void **state) {
    (void)state;
    static const struct {
        const char *method, *target, *body;
        int status;
        const char *asked; /* but for the actor; NULL: nothing */
        const char *named; /* in the answer */
    } cases[] = {
        {"POST", "/policies", "{\"id\":\"p\",\"data\":{\"a\":1}}", 201,
         "{\"op\":\"policy_create\",\"policy_id\":\"p\",\"data\":{\"a\":1}}", "\"p\""},
        {"POST", "/policies/", " {\"a\":1,\"id\":\"p\"} ", 201,
         "{\"op\":\"policy_create\",\"policy_id\":\"p\",\"data\":{\"a\":1}}", ""},
        {"POST", "/policies", "{\"id\":\"p\"}", 201, "{\"op\":\"policy_create\",\"policy_id\":\"p\",\"data\":{}}", ""},
        {"POST", "/policies", "", 422, NULL, "[\"body\"]"},
        {"POST", "/policies", "{\"data\":{}}", 422, NULL, "[\"body\",\"id\"],\"msg\":\"Field required\""},
        {"POST", "/policies", "{\"id\":null,\"data\":{}}", 422, NULL, "Field required"},
        {"POST", "/policies", "{\"id\":7,\"data\":{}}", 422, NULL, "valid string"},
        {"POST", "/policies", "{\"id\":\"p\\u0000\",\"data\":{}}", 422, NULL, "valid string"},
        {"POST", "/policies", "{\"id\":\"P\",\"data\":{}}", 400, NULL, "policy id"},
        {"POST", "/policies", "{\"id\":\"p\",\"data\":null}", 422, NULL, "[\"body\",\"data\"]"},
        {"POST", "/policies", "{\"id\":\"p\",\"data\":{},\"image\":\"x\"}", 422, NULL, "[\"body\",\"image\"]"},
        {"POST", "/policies", "{\"id\":\"p\"", 400, NULL, "The body is not JSON"},
        {"PUT", "/policies/p", "{\"data\":{\"a\":1}}", 200,
         "{\"op\":\"policy_update\",\"policy_id\":\"p\",\"data\":{\"a\":1}}", ""},
        {"PUT", "/policies/p", "{\"id\":\"p\",\"a\":1}", 200,
         "{\"op\":\"policy_update\",\"policy_id\":\"p\",\"data\":{\"a\":1}}", ""},
        {"PUT", "/policies/p", "{\"id\":\"q\",\"data\":{}}", 400, NULL, "`id`"},
        {"PUT", "/policies/p", "{\"id\":7}", 400, NULL, "`id`"},
        {"PUT", "/policies/P", "{}", 400, NULL, "policy id"},
        {"PUT", "/policies/p", "[]", 422, NULL, "valid dictionary"},
        {"PUT", "/policies/p", "null", 422, NULL, "valid dictionary"},
        {"PUT", "/policies", "{}", 405, NULL, ""},
        {"POST", "/policies/p", "{}", 405, NULL, ""},
        {"DELETE", "/policies/p", "", 200, "{\"op\":\"policy_delete\",\"policy_id\":\"p\"}", "deleted"},
        {"PUT", "/policies/p/lifecycle", "{\"reset\":{\"schedule\":\"@weekly\"}}", 200,
         "{\"op\":\"lifecycle_update\",\"policy_id\":\"p\",\"lifecycle\":{\"reset\":{\"schedule\":\"@weekly\"}}}",
         "@daily"},
        {"PUT", "/policies/p/lifecycle", "", 422, NULL, "[\"body\"]"},
        {"PUT", "/policies/p/lifecycle", "[]", 422, NULL, "valid dictionary"},
        {"PUT", "/policies/P/lifecycle", "{}", 400, NULL, "policy id"},
        {"GET", "/policies/p/lifecycle", "", 200, "{\"op\":\"lifecycle_get\",\"policy_id\":\"p\"}", "@daily"},
        {"DELETE", "/policies/p/lifecycle", "", 405, NULL, ""},
        {"POST", "/terminals/stop", "{\"user_id\":\"u\",\"policy_id\":null,\"context_id\":\"chat:1\"}", 200,
         "{\"op\":\"terminal_stop\",\"user_id\":\"u\",\"context_id\":\"chat:1\"}", ""},
        {"POST", "/terminals/stop", "{}", 422, NULL, "[\"body\",\"user_id\"]"},
        {"POST", "/terminals/stop", "", 422, NULL, "[\"body\",\"user_id\"]"},
        {"POST", "/terminals/stop", "{\"user_id\":\"u\\u0000\"}", 422, NULL, "valid string"},
        {"POST", "/terminals/refresh", "", 200, "{\"op\":\"terminal_refresh\"}", ""},
        {"POST", "/terminals/refresh/", "{\"only_idle\":false,\"reset\":true,\"user_id\":\"u\"}", 200,
         "{\"op\":\"terminal_refresh\",\"user_id\":\"u\",\"only_idle\":false,\"reset\":true}", ""},
        {"POST", "/terminals/refresh", "{\"only_idle\":\"false\"}", 422, NULL, "valid boolean"},
        {"POST", "/terminals/refresh", "{\"user\":\"u\"}", 422, NULL, "[\"body\",\"user\"]"},
        {"GET", "/terminals/refresh", "", 405, NULL, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world_provisioner world = {.answer = answers};
        struct fake_body body = {.text = cases[i].body};
        cleanup_answer struct answer answer = {0};
        respond(&world, &body, cases[i].method, cases[i].target, KEY, &answer);
        const char *asked = NULL;
        if (world.asked != NULL) {
            json_object_object_del(world.asked, "actor");
            asked = json_text(world.asked, &(size_t){0});
        }
        bool as_expected =
            (asked == NULL) == (cases[i].asked == NULL) && (asked == NULL || strcmp(asked, cases[i].asked) == 0);
        if (answer.status != cases[i].status || !as_expected || strstr(world_body(&answer), cases[i].named) == NULL) {
            fail_msg("%s %s %s -> %d %s, asked %s", cases[i].method, cases[i].target, cases[i].body, answer.status,
                     world_body(&answer), asked == NULL ? "nothing" : asked);
        }
        json_object_put(world.asked);
    }
}

static void test_a_body_that_cannot_be_read_says_why(void **state) {
    (void)state;
    static const int statuses[] = {400, 408, 413, 500};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct world_provisioner world = {.answer = answers};
        struct fake_body body = {.text = "{\"id\":\"p\"", .status = statuses[i]};
        cleanup_answer struct answer answer = {0};
        respond(&world, &body, "POST", "/policies", KEY, &answer);
        assert_int_equal(answer.status, statuses[i]);
        assert_null(world.asked);
    }
}

static void test_a_body_is_read_only_where_it_matters(void **state) {
    (void)state;
    static const struct {
        const char *method, *target, *token;
    } cases[] = {
        {"POST", "/policies", "wrong"}, {"POST", "/nothing", KEY},        {"DELETE", "/policies/p", KEY},
        {"PUT", "/policies/P", KEY},    {"POST", "/tenants/a/stop", KEY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world_provisioner world = {.answer = answers};
        struct fake_body body = {.text = "{}"};
        cleanup_answer struct answer answer = {0};
        respond(&world, &body, cases[i].method, cases[i].target, cases[i].token, &answer);
        assert_int_equal(body.reads, 0);
        json_object_put(world.asked);
    }
}

static void test_a_refresh_is_waited_for(void **state) {
    (void)state;
    struct world_provisioner world = {.answer = answers};
    struct fake_body body = {.text = ""};
    cleanup_answer struct answer answer = {0};
    respond(&world, &body, "POST", "/terminals/refresh", KEY, &answer);
    assert_true(world.timeout_ms >= 600000);
    json_object_put(world.asked);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_body_becomes_its_request),
        cmocka_unit_test(test_a_body_that_cannot_be_read_says_why),
        cmocka_unit_test(test_a_body_is_read_only_where_it_matters),
        cmocka_unit_test(test_a_refresh_is_waited_for),
    };
    return cmocka_run_group_tests_name("body", tests, NULL, NULL);
}
