#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/openapi_document.h"
#include "instance/base64.h"
#include "instance/mcp_tools.h"

static struct json_object *document;

static int read_document(void **state) {
    (void)state;
    document = json_parse_object(openapi_document, openapi_document_length, NULL);
    return document == NULL;
}

static int free_document(void **state) {
    (void)state;
    json_object_put(document);
    return 0;
}

static void assert_call(const char *name, const char *arguments, const char *method, const char *target,
                        const char *json) {
    struct mcp_tool_call call;
    struct error err = {0};
    struct json_object *given = json_tokener_parse(arguments);
    assert_true(mcp_tool_call_make(document, name, given, &call, &err));
    assert_string_equal(call.method, method);
    assert_string_equal(call.target, target);
    if (json == NULL) {
        assert_null(call.json);
    } else {
        assert_string_equal(call.json, json);
    }
    mcp_tool_call_free(&call);
    json_object_put(given);
}

static void test_arguments_go_where_they_belong(void **state) {
    (void)state;
    assert_call("run_command", "{\"command\":\"a\",\"wait\":1.5,\"cwd\":null}", "POST", "/execute?wait=1.5",
                "{\"command\":\"a\",\"cwd\":null}");
    assert_call("list_files", "{\"directory\":\"a b&c=\\u00e4\\u0000/\"}", "GET",
                "/files/list?directory=a%20b%26c%3D%C3%A4%00%2F", NULL);
    assert_call("kill_process", "{\"process_id\":\"../x?\",\"force\":true}", "DELETE", "/execute/..%2Fx%3F?force=true",
                NULL);
    assert_call("get_process_status", "{\"process_id\":5,\"wait\":null}", "GET", "/execute/5/status", NULL);
    assert_call("run_command", "{}", "POST", "/execute", "{}");
}

static void test_what_is_no_call_is_refused(void **state) {
    (void)state;
    struct mcp_tool_call call;
    struct error err = {0};
    assert_false(mcp_tool_call_make(document, "nope", NULL, &call, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_false(mcp_tool_call_make(document, "kill_process", NULL, &call, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    struct json_object *unknown = json_tokener_parse("{\"nope\":1}");
    assert_false(mcp_tool_call_make(document, "list_files", unknown, &call, &err));
    json_object_put(unknown);
}

static void test_base64(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        char out[16];
        base64_encode(pairs[i][0], strlen(pairs[i][0]), out);
        assert_string_equal(out, pairs[i][1]);
        assert_int_equal(strlen(out), BASE64_LENGTH(strlen(pairs[i][0])));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments_go_where_they_belong),
        cmocka_unit_test(test_what_is_no_call_is_refused),
        cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, read_document, free_document);
}
