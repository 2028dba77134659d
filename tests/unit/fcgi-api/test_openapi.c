/* The OpenAPI document loses what asks for an instance's key, and nothing else. */
#include "tests/unit/fcgi-api/world.h"

#include "fcgi-api/openapi.h"

static void test_security_goes_and_the_rest_stays(void **state) {
    (void)state;
    static const struct {
        const char *document, *stripped;
    } cases[] = {
        {"{}", "{}"},
        {"{\"security\":[],\"openapi\":\"3.1.0\"}", "{\"openapi\":\"3.1.0\"}"},
        {"{\"components\":{\"securitySchemes\":{},\"schemas\":{\"security\":{}}}}",
         "{\"components\":{\"schemas\":{\"security\":{}}}}"},
        {"{\"paths\":{\"/security\":{\"get\":{\"security\":[{\"A\":[]}],\"parameters\":[{\"name\":\"security\"}]},"
         "\"post\":{\"security\":[]}}}}",
         "{\"paths\":{\"/security\":{\"get\":{\"parameters\":[{\"name\":\"security\"}]},\"post\":{}}}}"},
        {"{\"webhooks\":{\"x\":{\"post\":{\"security\":[]}}}}", "{\"webhooks\":{\"x\":{\"post\":{}}}}"},
        {"{\"paths\":[],\"components\":7,\"webhooks\":null}", "{\"paths\":[],\"components\":7,\"webhooks\":null}"},
        {"{\"paths\":{\"/x\":null,\"/y\":{\"get\":null,\"summary\":\"s\"}}}",
         "{\"paths\":{\"/x\":null,\"/y\":{\"get\":null,\"summary\":\"s\"}}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cleanup_json struct json_object *document =
            json_parse_object(cases[i].document, strlen(cases[i].document), NULL);
        openapi_strip_security(document);
        assert_string_equal(json_text(document, NULL), cases[i].stripped);
    }
}

static void test_the_built_in_document_is_whole(void **state) {
    (void)state;
    struct error err = {0};
    cleanup_free char *text = openapi_built_in(&err);
    assert_non_null(text);
    assert_null(strstr(text, "securitySchemes"));
    assert_null(strstr(text, "\"security\":"));
    assert_non_null(strstr(text, "/execute"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_security_goes_and_the_rest_stays),
        cmocka_unit_test(test_the_built_in_document_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
