/* Policies: what an administrator may say, what becomes of it, and that a mistake is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"
#include "provisioner/policy.h"

static bool parse(struct policy *policy, const char *text, const struct settings *settings, struct error *err) {
    cleanup_json struct json_object *data = json_parse(text, strlen(text), err);
    return policy_parse(policy, "gpu", data, settings, err);
}

/* What becomes of `text`; for the caller to free. */
static struct policy parsed(const char *text, const struct settings *settings) {
    struct policy policy;
    struct error err = {0};
    if (!parse(&policy, text, settings, &err)) {
        fail_msg("%s -> %s", text, err.message);
    }
    return policy;
}

static void assert_data(const struct policy *policy, const char *expected) {
    assert_string_equal(json_text(policy->data, &(size_t){0}), expected);
}

static void test_nothing_said_is_nothing_set(void **state) {
    (void)state;
    const struct settings settings = {0};
    struct policy policy = parsed("{\"image\":null,\"env\":null,\"cpu_limit\":null}", &settings);
    assert_string_equal(policy.id, "gpu");
    assert_string_equal(policy.hash, "");
    assert_data(&policy, "{}");
    assert_null(policy.image);
    assert_null(policy.env);
    assert_null(policy.container_security_context);
    assert_int_equal(policy.cpu_millicores, POLICY_UNSET);
    assert_int_equal(policy.memory_bytes, POLICY_UNSET);
    assert_int_equal(policy.storage_bytes, POLICY_UNSET);
    assert_int_equal(policy.idle_timeout_minutes, POLICY_UNSET);
    policy_free(&policy);
}

static void test_everything_said_is_understood_and_kept(void **state) {
    (void)state;
    static const char text[] =
        "{\"image\":\"ghcr.io/a/"
        "b_c:1.0@sha256:0f\",\"env\":{\"A\":\"b\",\"my.property-x\":\"\"},\"cpu_limit\":\"500m\","
        "\"memory_limit\":\"512Mi\",\"storage\":\"4Gi\",\"storage_mode\":\"shared-rwo\",\"idle_timeout_minutes\":0,"
        "\"restricted\":true,\"pod_security_context\":{\"fsGroup\":1000,\"supplementalGroups\":[1,2]},"
        "\"container_security_context\":{\"runAsUser\":0,\"privileged\":false,\"capabilities\":{\"add\":[\"NET_ADMIN\"]"
        ","
        "\"drop\":[\"ALL\"]},\"new\":7},\"podTemplate\":{\"spec\":{}},\"team\":[\"red\",{\"x\":null}]}";
    const struct settings settings = {0};
    struct policy policy = parsed(text, &settings);
    assert_data(&policy, text);
    assert_string_equal(policy.image, "ghcr.io/a/b_c:1.0@sha256:0f");
    assert_string_equal(json_get_string(policy.env, "A"), "b");
    assert_int_equal(policy.cpu_millicores, 500);
    assert_int_equal(policy.memory_bytes, 512 << 20);
    assert_int_equal(policy.storage_bytes, 4LL << 30);
    assert_int_equal(policy.idle_timeout_minutes, 0);
    assert_int_equal(json_get_int(policy.container_security_context, "runAsUser", -1), 0);
    assert_int_equal(strlen(policy.hash), POLICY_HASH_SIZE - 1);
    policy_free(&policy);
}

static void test_what_is_above_a_cap_becomes_the_cap(void **state) {
    (void)state;
    const struct settings settings = {
        .max_cpu = (char *)"2", .max_memory = (char *)"1Gi", .max_storage = (char *)"10G"};
    struct policy policy =
        parsed("{\"cpu_limit\":\"2001m\",\"memory_limit\":\"1e99\",\"storage\":\"10Gi\"}", &settings);
    assert_data(&policy, "{\"cpu_limit\":\"2\",\"memory_limit\":\"1Gi\",\"storage\":\"10G\"}");
    assert_int_equal(policy.cpu_millicores, 2000);
    assert_int_equal(policy.memory_bytes, 1 << 30);
    assert_int_equal(policy.storage_bytes, 10000000000);
    policy_free(&policy);

    policy = parsed("{\"cpu_limit\":\"2000m\",\"memory_limit\":\"1024Mi\",\"storage\":\"10M\"}", &settings);
    assert_data(&policy, "{\"cpu_limit\":\"2000m\",\"memory_limit\":\"1024Mi\",\"storage\":\"10M\"}");
    policy_free(&policy);
}

static void test_the_key_of_an_instance_cannot_be_chosen(void **state) {
    (void)state;
    const struct settings settings = {0};
    struct policy policy = parsed("{\"env\":{\"OPEN_TERMINAL_API_KEY\":7,\"OPEN_TERMINAL_API_KEY_FILE\":\"/x\","
                                  "\"OPEN_TERMINAL_API_KEY\\u0000\":\"x\",\"A\":\"1\"}}",
                                  &settings);
    assert_data(&policy, "{\"env\":{\"A\":\"1\"}}");
    policy_free(&policy);
}

static void test_a_mistake_is_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *named;
    } cases[] = {
        {"[]", "an object"},
        {"7", "an object"},
        {"{\"image\":7}", "`image`"},
        {"{\"image\":\"\"}", "`image`"},
        {"{\"image\":\"a b\"}", "`image`"},
        {"{\"image\":\"a\\u0000b\"}", "`image`"},
        {"{\"image\":\"-v\"}", "`image`"},
        {"{\"image\":\"../x\"}", "`image`"},
        {"{\"image\":\"evil/x\"}", "TERMINALS_ALLOWED_IMAGES"},
        {"{\"env\":[]}", "`env`"},
        {"{\"env\":{\"PORT\":8080}}", "`env.PORT`"},
        {"{\"env\":{\"A\":null}}", "`env.A`"},
        {"{\"env\":{\"A\":\"x\\u0000y\"}}", "`env.A`"},
        {"{\"env\":{\"\":\"x\"}}", "`env`"},
        {"{\"env\":{\"1A\":\"x\"}}", "`env`"},
        {"{\"env\":{\"A=B\":\"x\"}}", "`env`"},
        {"{\"env\":{\"j\xc3\xb6rg\\n\":\"x\"}}", "`j??rg?`"},
        {"{\"cpu_limit\":2}", "`cpu_limit`"},
        {"{\"cpu_limit\":\"two\"}", "`cpu_limit`"},
        {"{\"cpu_limit\":\"0\"}", "`cpu_limit`"},
        {"{\"cpu_limit\":\"-1\"}", "`cpu_limit`"},
        {"{\"cpu_limit\":\"1\\u00002\"}", "`cpu_limit`"},
        {"{\"cpu_limit\":[]}", "`cpu_limit`"},
        {"{\"memory_limit\":\"4GB\"}", "`memory_limit`"},
        {"{\"memory_limit\":true}", "`memory_limit`"},
        {"{\"storage\":\"much\"}", "`storage`"},
        {"{\"storage_mode\":\"Shared\"}", "`storage_mode`"},
        {"{\"storage_mode\":1}", "`storage_mode`"},
        {"{\"idle_timeout_minutes\":-1}", "`idle_timeout_minutes`"},
        {"{\"idle_timeout_minutes\":1.5}", "`idle_timeout_minutes`"},
        {"{\"idle_timeout_minutes\":\"5\"}", "`idle_timeout_minutes`"},
        {"{\"idle_timeout_minutes\":99999999999999999999}", "`idle_timeout_minutes`"},
        {"{\"restricted\":\"yes\"}", "`restricted`"},
        {"{\"pod_security_context\":[]}", "`pod_security_context`"},
        {"{\"pod_security_context\":{\"fsGroup\":\"1\"}}", "`pod_security_context.fsGroup`"},
        {"{\"pod_security_context\":{\"supplementalGroups\":[1,-1]}}", "`pod_security_context.supplementalGroups`"},
        {"{\"container_security_context\":true}", "`container_security_context`"},
        {"{\"container_security_context\":{\"privileged\":\"true\"}}", "`container_security_context.privileged`"},
        {"{\"container_security_context\":{\"runAsUser\":-1}}", "`container_security_context.runAsUser`"},
        {"{\"container_security_context\":{\"runAsUser\":4294967295}}", "`container_security_context.runAsUser`"},
        {"{\"container_security_context\":{\"capabilities\":[]}}", "`container_security_context.capabilities`"},
        {"{\"container_security_context\":{\"capabilities\":{\"add\":[\"net admin\"]}}}", "capabilities.add`"},
        {"{\"container_security_context\":{\"capabilities\":{\"drop\":\"ALL\"}}}", "capabilities.drop`"},
        {"{\"container_security_context\":{\"seccompProfile\":7}}", "`container_security_context.seccompProfile`"},
        {"{\"container_security_context\":{\"procMount\":7}}", "`container_security_context.procMount`"},
        {"{\"podTemplate\":\"x\"}", "`podTemplate`"},
        {"{\"lifecycle\":{}}", "`lifecycle`"},
        {"{\"lifecycle\":null}", "`lifecycle`"},
        {"{\"reset\":{\"schedule\":\"@weekly\"}}", "`reset`"},
    };
    const struct settings settings = {.allowed_images = (char *)"good/*, other/?"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct policy policy;
        struct error err = {0};
        if (parse(&policy, cases[i].text, &settings, &err) || err.code != ERROR_INVALID ||
            strstr(err.message, cases[i].named) == NULL || policy.data != NULL) {
            fail_msg("%s -> %d %s", cases[i].text, err.code, err.message);
        }
    }
}

static void test_sizes_are_bounded(void **state) {
    (void)state;
    const struct settings settings = {0};
    struct policy policy;
    struct error err = {0};
    cleanup_buffer struct buffer text = {0};
    buffer_append_string(&text, "{\"x\":");
    for (int i = 0; i < POLICY_DATA_MAX_DEPTH; i++) {
        buffer_append_string(&text, "[");
    }
    for (int i = 0; i < POLICY_DATA_MAX_DEPTH; i++) {
        buffer_append_string(&text, "]");
    }
    buffer_append_string(&text, "}");
    assert_false(parse(&policy, text.data, &settings, &err));
    assert_non_null(strstr(err.message, "nested"));

    buffer_free(&text);
    buffer_append_string(&text, "{\"x\":\"");
    for (int i = 0; i < POLICY_DATA_MAX_BYTES; i++) {
        buffer_append_string(&text, "y");
    }
    buffer_append_string(&text, "\"}");
    assert_false(parse(&policy, text.data, &settings, &err));
    assert_non_null(strstr(err.message, "65536 bytes"));

    buffer_free(&text);
    buffer_append_string(&text, "{\"env\":{\"A\":\"\"");
    for (int i = 0; i < POLICY_ENV_MAX; i++) {
        buffer_append_format(&text, ",\"A%d\":\"\"", i);
    }
    buffer_append_string(&text, "}}");
    assert_false(parse(&policy, text.data, &settings, &err));
    assert_non_null(strstr(err.message, "`env`"));
}

static void test_images_are_allowed_by_pattern(void **state) {
    (void)state;
    static const struct {
        const char *image, *patterns;
        bool allowed;
    } cases[] = {
        {"any", NULL, true},      {"any", ",", false},    {"a/b:1", "a/b:1", true}, {"a/b:12", "a/b:1", false},
        {"a/b/c:1", "a/*", true}, {"b/a/", "a/*", false}, {"x", "y , x", true},     {"x", " x\t,y", true},
        {"x1", "x[0-9]", true},   {"xx", "x?", true},     {"xa", "x[0-9]", false},  {"good/x", "other, good/?", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(policy_image_is_allowed(cases[i].image, cases[i].patterns), cases[i].allowed);
    }
}

static void test_other_data_has_another_hash(void **state) {
    (void)state;
    const struct settings settings = {0};
    struct policy one = parsed("{\"env\":{\"A\":\"1\"}}", &settings);
    struct policy same =
        parsed(" { \"env\" : {\"A\":\"1\", \"OPEN_TERMINAL_API_KEY\":\"x\"}, \"image\": null }", &settings);
    struct policy other = parsed("{\"env\":{\"A\":\"2\"}}", &settings);
    assert_string_equal(one.hash, same.hash);
    assert_string_not_equal(one.hash, other.hash);
    policy_free(&one);
    policy_free(&same);
    policy_free(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_said_is_nothing_set),
        cmocka_unit_test(test_everything_said_is_understood_and_kept),
        cmocka_unit_test(test_what_is_above_a_cap_becomes_the_cap),
        cmocka_unit_test(test_the_key_of_an_instance_cannot_be_chosen),
        cmocka_unit_test(test_a_mistake_is_named),
        cmocka_unit_test(test_sizes_are_bounded),
        cmocka_unit_test(test_images_are_allowed_by_pattern),
        cmocka_unit_test(test_other_data_has_another_hash),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
