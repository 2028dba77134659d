/* Which call a request means, what it asks the provisioner, and what becomes of the answer. */
#include "tests/unit/fcgi-api/world.h"

#include "fcgi-api/responder.h"

#define AUTHORIZED "HTTP_AUTHORIZATION=Bearer the-key\n"

/* Answers one request; `asked` gets the request to the provisioner as text, or "". */
static void respond(struct world_provisioner *world, bool may_wait, const char *method, const char *target,
                    const char *more, struct answer *answer) {
    struct settings settings = {0};
    cleanup_api struct api api = world_api(&settings);
    struct provisioner provisioner = {world_call, world};
    cleanup_free char *list = NULL;
    assert_true(asprintf(&list, "REQUEST_METHOD=%s\nREQUEST_URI=%s\n%s", method, target, more) > 0);
    cleanup_world_request struct world_request request;
    world_request_init(&request, list);
    responder_answer(&api, &provisioner, may_wait, &request.request, answer);
}

static void test_each_request_finds_its_call(void **state) {
    (void)state;
    static const struct {
        const char *method, *target, *more;
        int status;
        const char *asked; /* but for the actor; NULL: nothing */
    } cases[] = {
        {"GET", "/api/v1/tenants", "", 200, "{\"op\":\"tenant_list\",\"limit\":1000,\"offset\":0}"},
        {"GET", "/api/v1/tenants/", "", 200, "{\"op\":\"tenant_list\",\"limit\":1000,\"offset\":0}"},
        {"HEAD", "/api/v1/tenants/?limit=3&unknown=%ff", "", 200, "{\"op\":\"tenant_list\",\"limit\":3,\"offset\":0}"},
        {"GET", "/api/v1/tenants?status=error&user_id=a%26+b", "", 200,
         "{\"op\":\"tenant_list\",\"status\":\"error\",\"user_id\":\"a& b\",\"limit\":1000,\"offset\":0}"},
        {"POST", "/api/v1/tenants", "HTTP_X_USER_ID=al\n", 200, "{\"op\":\"tenant_create\",\"user_id\":\"al\"}"},
        {"POST", "/api/v1/tenants/?context_id=&policy_id=p", "HTTP_X_USER_ID=al\n", 200,
         "{\"op\":\"tenant_create\",\"policy_id\":\"p\",\"context_id\":\"default\",\"user_id\":\"al\"}"},
        {"POST", "/api/v1/tenants", "", 422, NULL},
        {"POST", "/api/v1/tenants", "HTTP_X_USER_ID=a\nHTTP_X_USER_ID=b\n", 400, NULL},
        {"GET", "/api/v1/tenants/a%2Fb", "", 200, "{\"op\":\"tenant_get\",\"user_id\":\"a/b\"}"},
        {"GET", "/api/v1/tenants/start", "", 200, "{\"op\":\"tenant_get\",\"user_id\":\"start\"}"},
        {"GET", "/api/v1/tenants/..", "", 200, "{\"op\":\"tenant_get\",\"user_id\":\"..\"}"},
        {"GET", "/api/v1/tenants/%00", "", 400, NULL},
        {"GET", "/api/v1/tenants/a%0Ab", "", 400, NULL},
        {"POST", "/api/v1/tenants/a/start/", "", 200, "{\"op\":\"tenant_start\",\"user_id\":\"a\"}"},
        {"POST", "/api/v1/tenants/a%2Fstart/stop", "", 200, "{\"op\":\"tenant_stop\",\"user_id\":\"a/start\"}"},
        {"DELETE", "/api/v1/tenants/a?purge=Yes", "", 200,
         "{\"op\":\"tenant_delete\",\"user_id\":\"a\",\"purge\":true}"},
        {"DELETE", "/api/v1/tenants/a?purge=perhaps", "", 422, NULL},
        {"DELETE", "/api/v1/tenants/", "", 405, NULL},
        {"PUT", "/api/v1/tenants", "", 405, NULL},
        {"get", "/api/v1/tenants", "", 405, NULL},
        {"GET", "/api/v1/audit-logs?since=2026-01-02", "", 200,
         "{\"op\":\"audit_list\",\"limit\":100,\"offset\":0,\"since\":\"2026-01-02T00:00:00.000Z\",\"format\":"
         "\"json\"}"},
        {"GET", "/api/v1/audit-logs?since=yesterday", "", 422, NULL},
        {"GET", "/api/v1/stats?x", "", 200, "{\"op\":\"stats\"}"},
        {"GET", "/api/v1/status", "", 200, "{\"op\":\"status\"}"},
        {"GET", "/openapi.json", "", 200, "{\"op\":\"openapi\"}"},
        {"GET", "/p/gpu/openapi.json", "", 200, "{\"op\":\"openapi\",\"policy_id\":\"gpu\"}"},
        {"GET", "/p/G/openapi.json", "", 400, NULL},
        {"GET", "/p//openapi.json", "", 400, NULL},
        {"GET", "/p/a/b/openapi.json", "", 404, NULL},
        {"GET", "/api/v1", "", 404, NULL},
        {"GET", "/api/v1/tenants//", "", 404, NULL},
        {"GET", "/api/v1/tenants/a/restart", "", 404, NULL},
        {"GET", "/api/v1/tenantsx", "", 404, NULL},
        {"GET", "/", "", 404, NULL},
        {"GET", "", "", 400, NULL},
        {"GET", "*", "", 400, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world_provisioner world = {
            .answer = "{\"tenant\":{},\"tenants\":[],\"total\":7,\"stats\":{},\"status\":{},\"audit_logs\":[],"
                      "\"document\":null}"};
        cleanup_answer struct answer answer = {0};
        cleanup_free char *more = NULL;
        assert_true(asprintf(&more, "%s%s", cases[i].more, AUTHORIZED) > 0);
        respond(&world, true, cases[i].method, cases[i].target, more, &answer);
        const char *asked = NULL;
        if (world.asked != NULL) {
            json_object_object_del(world.asked, "actor");
            asked = json_text(world.asked, NULL);
        }
        if (answer.status != cases[i].status || (asked == NULL) != (cases[i].asked == NULL) ||
            (asked != NULL && strcmp(asked, cases[i].asked) != 0)) {
            fail_msg("%s %s: got %d %s and asked %s", cases[i].method, cases[i].target, answer.status,
                     world_body(&answer), asked);
        }
        json_object_put(world.asked);
    }
}

static void test_credentials_come_first(void **state) {
    (void)state;
    static const char *const targets[] = {"/api/v1/tenants", "/api/v1/nothing", "/openapi.json", "nonsense"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        struct world_provisioner world = {0};
        cleanup_answer struct answer answer = {0};
        respond(&world, true, "DELETE", targets[i], "HTTP_AUTHORIZATION=Bearer wrong\n", &answer);
        assert_int_equal(answer.status, 401);
        assert_null(world.asked);
    }
}

static void test_what_waits_is_never_asked_where_nobody_may_wait(void **state) {
    (void)state;
    static const char *const waiting[][2] = {{"POST", "/api/v1/tenants"},
                                             {"POST", "/api/v1/tenants/a/start"},
                                             {"POST", "/api/v1/tenants/a/stop"},
                                             {"DELETE", "/api/v1/tenants/a"}};
    for (size_t i = 0; i < sizeof waiting / sizeof waiting[0]; i++) {
        struct world_provisioner world = {.answer = "{\"tenant\":{}}"};
        cleanup_answer struct answer answer = {0};
        respond(&world, false, waiting[i][0], waiting[i][1], AUTHORIZED "HTTP_X_USER_ID=a\n", &answer);
        assert_int_equal(answer.status, 500);
        assert_null(world.asked);
    }
}

static void test_errors_of_the_provisioner_become_http(void **state) {
    (void)state;
    static const struct {
        enum error_code code;
        int status;
    } cases[] = {{ERROR_NOT_FOUND, 404}, {ERROR_INVALID, 400}, {ERROR_CONFLICT, 409}, {ERROR_CAPACITY, 503},
                 {ERROR_TIMEOUT, 504},   {ERROR_BACKEND, 502}, {ERROR_INTERNAL, 500}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world_provisioner world = {.code = cases[i].code};
        cleanup_answer struct answer answer = {0};
        respond(&world, true, "GET", "/api/v1/stats", AUTHORIZED, &answer);
        assert_int_equal(answer.status, cases[i].status);
        assert_string_equal(world_body(&answer), "{\"detail\":\"the reason\"}");
        bool says_when = answer.headers.data != NULL && strstr(answer.headers.data, "Retry-After: ") != NULL;
        assert_int_equal(says_when, cases[i].status == 503);
        json_object_put(world.asked);
    }
}

static void test_every_bad_value_is_named(void **state) {
    (void)state;
    struct world_provisioner world = {0};
    cleanup_answer struct answer answer = {0};
    respond(&world, true, "GET", "/api/v1/tenants?limit=0&offset=x&status=", AUTHORIZED, &answer);
    assert_int_equal(answer.status, 422);
    assert_string_equal(
        world_body(&answer),
        "{\"detail\":["
        "{\"type\":\"enum\",\"loc\":[\"query\",\"status\"],\"msg\":\"Input should be one of 'provisioning', 'running', "
        "'stopping', 'stopped', 'error'\",\"input\":\"\"},"
        "{\"type\":\"greater_than_equal\",\"loc\":[\"query\",\"limit\"],\"msg\":\"Input should be greater than or "
        "equal "
        "to 1\",\"input\":\"0\"},"
        "{\"type\":\"int_parsing\",\"loc\":[\"query\",\"offset\"],\"msg\":\"Input should be a valid integer, unable to "
        "parse string as an integer\",\"input\":\"x\"}]}");
}

static void test_the_actor_is_told_without_bytes_that_json_cannot_carry(void **state) {
    (void)state;
    struct world_provisioner world = {.answer = "{\"stats\":{}}"};
    cleanup_answer struct answer answer = {0};
    respond(&world, true, "GET", "/api/v1/stats",
            AUTHORIZED "HTTP_X_REQUEST_ID=r 1\nREMOTE_ADDR=192.0.2.1\nHTTP_USER_AGENT=a\xff\xc3\xbc\n", &answer);
    assert_string_equal(json_text(json_get_object(world.asked, "actor"), NULL),
                        "{\"ip\":\"192.0.2.1\",\"user_agent\":\"a?\xc3\xbc\"}");
    json_object_put(world.asked);
}

static void test_an_answer_is_written_as_fastcgi_has_it(void **state) {
    (void)state;
    struct world_provisioner world = {.answer = "{\"tenants\":[1],\"total\":7}"};
    cleanup_answer struct answer answer = {0};
    cleanup_buffer struct buffer whole = {0};
    cleanup_buffer struct buffer head = {0};
    respond(&world, true, "GET", "/api/v1/tenants", AUTHORIZED, &answer);
    assert_true(answer_write(&answer, &whole));
    assert_string_equal(whole.data, "Status: 200 OK\r\nX-Total-Count: 7\r\nContent-Type: application/json\r\n"
                                    "Cache-Control: no-store\r\nContent-Length: 3\r\n\r\n[1]");
    answer.omits_body = true;
    assert_true(answer_write(&answer, &head));
    assert_int_equal(head.length, whole.length - 3);
    json_object_put(world.asked);
}

static void test_an_answer_without_a_status_is_500(void **state) {
    (void)state;
    cleanup_answer struct answer answer = {0};
    cleanup_buffer struct buffer out = {0};
    assert_true(answer_write(&answer, &out));
    assert_memory_equal(out.data, "Status: 500", strlen("Status: 500"));
    assert_non_null(strstr(out.data, "\r\n\r\n{\"detail\":"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_request_finds_its_call),
        cmocka_unit_test(test_credentials_come_first),
        cmocka_unit_test(test_what_waits_is_never_asked_where_nobody_may_wait),
        cmocka_unit_test(test_errors_of_the_provisioner_become_http),
        cmocka_unit_test(test_every_bad_value_is_named),
        cmocka_unit_test(test_the_actor_is_told_without_bytes_that_json_cannot_carry),
        cmocka_unit_test(test_an_answer_is_written_as_fastcgi_has_it),
        cmocka_unit_test(test_an_answer_without_a_status_is_500),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
