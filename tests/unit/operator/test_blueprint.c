/* What a Terminal's spec becomes, and what its status says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "provisioner/backends/kubernetes_json.h"
#include "provisioner/operator/blueprint.h"
#include "provisioner/operator/status.h"

static struct settings settings;
static struct controller controller;

static int make(void **state) {
    static const char *const environment[] = {"TERMINALS_IMAGE=fallback:1",
                                              "TERMINALS_ALLOWED_IMAGES=good/*,fallback:*", NULL};
    struct error err;
    (void)state;
    assert_true(settings_parse(&settings, environment, NULL, NULL, &err));
    controller = (struct controller){.settings = &settings, .api_version = (char *)"openwebui.com/v1alpha1"};
    return 0;
}

static int end(void **state) {
    (void)state;
    settings_free(&settings);
    return 0;
}

static struct kubernetes_terminal *terminal_of_text(const char *spec, const char *status) {
    const struct kubernetes_watch_kind kind = kubernetes_terminals_kind("apis/x/v1");
    struct json_object *json = json_object_new_object();
    struct json_object *metadata = kubernetes_json_object(json, "metadata");
    json_add_string(metadata, "name", "t");
    json_add_string(metadata, "uid", "uid-of-t");
    json_add_string(metadata, "resourceVersion", "7");
    json_add(json, "spec", json_parse(spec, strlen(spec), NULL));
    json_add(json, "status", json_parse(status, strlen(status), NULL));
    struct kubernetes_item *item = kind.read(json);
    json_object_put(json);
    assert_non_null(item);
    return (struct kubernetes_terminal *)item;
}

static void terminal_free(struct kubernetes_terminal *terminal) {
    kubernetes_terminals_kind("").free(&terminal->item);
}

static struct json_object *pod_of(const char *spec) {
    struct kubernetes_terminal *terminal = terminal_of_text(spec, "{}");
    struct blueprint blueprint;
    struct error err = {0};
    if (!blueprint_read(&blueprint, &controller, terminal, &err)) {
        fail_msg("%s: %s", spec, err.message);
    }
    struct json_object *pod = blueprint_pod(&blueprint, "uid-of-secret", &err);
    if (pod == NULL) {
        fail_msg("%s: %s", spec, err.message);
    }
    blueprint_free(&blueprint);
    terminal_free(terminal);
    return pod;
}

static struct json_object *container_of(struct json_object *pod) {
    return json_object_array_get_idx(json_get_array(json_get_object(pod, "spec"), "containers"), 0);
}

static const char *variable(struct json_object *pod, const char *name) {
    return json_get_string(kubernetes_json_find(json_get_array(container_of(pod), "env"), "name", name), "value");
}

static void expect_refused(const char *spec, const char *words) {
    struct kubernetes_terminal *terminal = terminal_of_text(spec, "{}");
    struct blueprint blueprint;
    struct error err = {0};
    bool is_read = blueprint_read(&blueprint, &controller, terminal, &err);
    struct json_object *pod = is_read ? blueprint_pod(&blueprint, "", &err) : NULL;
    assert_null(pod);
    assert_int_equal(err.code, ERROR_INVALID);
    if (strstr(err.message, words) == NULL) {
        fail_msg("`%s` does not say `%s`", err.message, words);
    }
    blueprint_free(&blueprint);
    terminal_free(terminal);
}

static void test_the_least_spec_makes_a_pod_of_the_settings(void **state) {
    struct json_object *pod = pod_of("{\"userId\": \"alice\"}");
    struct json_object *owner =
        json_object_array_get_idx(json_get_array(json_get_object(pod, "metadata"), "ownerReferences"), 0);
    (void)state;
    assert_string_equal(json_get_string(container_of(pod), "image"), "fallback:1");
    assert_string_equal(json_get_string(owner, "uid"), "uid-of-t");
    assert_true(json_get_bool(owner, "controller", false));
    /* A right to the owner's finalizers would be needed for that. */
    assert_false(json_object_object_get_ex(owner, "blockOwnerDeletion", NULL));
    json_object_put(pod);
}

static void test_variables_and_packages_come_in_either_form(void **state) {
    struct json_object *pod =
        pod_of("{\"userId\": \"a\", \"env\": {\"A\": \"$b\", \"N\": 7}, \"packages\": [\"x\", \"y\"],"
               "\"pipPackages\": \"p q\"}");
    (void)state;
    assert_string_equal(variable(pod, "A"), "$$b"); /* $ is Kubernetes' sign for other variables */
    assert_string_equal(variable(pod, "N"), "7");
    assert_string_equal(variable(pod, "OPEN_TERMINAL_PACKAGES"), "x y");
    assert_string_equal(variable(pod, "OPEN_TERMINAL_PIP_PACKAGES"), "p q");
    json_object_put(pod);
    pod = pod_of("{\"userId\": \"a\", \"env\": [{\"name\": \"A\", \"value\": \"1\"},"
                 "{\"name\": \"OPEN_TERMINAL_API_KEY\", \"value\": \"mine\"}]}");
    assert_string_equal(variable(pod, "A"), "1");
    assert_null(variable(pod, "OPEN_TERMINAL_API_KEY"));
    json_object_put(pod);
}

static void test_a_home_without_a_claim_goes_with_the_pod_or_is_the_templates(void **state) {
    struct json_object *pod = pod_of("{\"userId\": \"a\", \"persistence\": {\"enabled\": false}}");
    struct json_object *volumes = json_get_array(json_get_object(pod, "spec"), "volumes");
    (void)state;
    assert_non_null(json_get_object(kubernetes_json_find(volumes, "name", "terminals-home"), "emptyDir"));
    json_object_put(pod);
    pod = pod_of("{\"userId\": \"a\", \"persistence\": {\"enabled\": false}, \"podTemplate\": {\"spec\": {"
                 "\"volumes\": [{\"name\": \"mine\", \"emptyDir\": {}}], \"containers\": [{\"name\": \"open-terminal\","
                 "\"volumeMounts\": [{\"name\": \"mine\", \"mountPath\": \"/home/user\"}]}]}}}");
    struct json_object *mounts = json_get_array(container_of(pod), "volumeMounts");
    assert_int_equal(json_object_array_length(mounts), 1);
    assert_string_equal(json_get_string(json_object_array_get_idx(mounts, 0), "name"), "mine");
    json_object_put(pod);
}

static void test_a_spec_that_cannot_be_is_refused(void **state) {
    (void)state;
    expect_refused("{}", "`spec.userId`");
    expect_refused("{\"userId\": \"a\", \"contextId\": \"x\"}", "`spec.contextId`");
    expect_refused("{\"userId\": \"a\", \"image\": \"evil/x\"}", "TERMINALS_ALLOWED_IMAGES");
    expect_refused("{\"userId\": \"a\", \"env\": 7}", "`spec.env`");
    expect_refused("{\"userId\": \"a\", \"env\": [7]}", "`spec.env`: number 1");
    expect_refused("{\"userId\": \"a\", \"packages\": [7]}", "`spec.packages`: number 1");
    expect_refused("{\"userId\": \"a\", \"restricted\": true, \"podTemplate\": {\"spec\": {\"hostPID\": true}}}",
                   "hostPID");
}

static int64_t idle_ms_of(const char *spec) {
    struct kubernetes_terminal *terminal = terminal_of_text(spec, "{}");
    struct blueprint blueprint;
    struct error err = {0};
    assert_true(blueprint_read(&blueprint, &controller, terminal, &err));
    int64_t idle_ms = blueprint.idle_ms;
    blueprint_free(&blueprint);
    terminal_free(terminal);
    return idle_ms;
}

/* Whatever the CRD of another version lets pass. */
static void test_an_idle_time_without_end_or_below_nothing_is_no_trouble(void **state) {
    (void)state;
    assert_int_equal(idle_ms_of("{\"userId\": \"a\", \"idleTimeoutMinutes\": 5}"), 300000);
    assert_int_equal(idle_ms_of("{\"userId\": \"a\", \"idleTimeoutMinutes\": 9223372036854775807}"),
                     POLICY_IDLE_MINUTES_MAX * 60000);
    assert_int_equal(idle_ms_of("{\"userId\": \"a\", \"idleTimeoutMinutes\": -5}"), 0);
    assert_int_equal(idle_ms_of("{\"userId\": \"a\"}"), 0);
}

static void test_a_key_is_new_each_time_and_a_claim_has_no_owner(void **state) {
    struct kubernetes_terminal *terminal = terminal_of_text("{\"userId\": \"a\"}", "{}");
    struct blueprint blueprint;
    struct error err = {0};
    (void)state;
    assert_true(blueprint_read(&blueprint, &controller, terminal, &err));
    struct json_object *one = blueprint_secret(&blueprint, &err);
    struct json_object *other = blueprint_secret(&blueprint, &err);
    struct json_object *claim = blueprint_claim(&blueprint, &err);
    const char *key = json_get_string(json_get_object(one, "stringData"), "api-key");
    assert_int_equal(strlen(key), 32);
    assert_string_not_equal(key, json_get_string(json_get_object(other, "stringData"), "api-key"));
    assert_null(json_get_array(json_get_object(claim, "metadata"), "ownerReferences"));
    json_object_put(one);
    json_object_put(other);
    json_object_put(claim);
    blueprint_free(&blueprint);
    terminal_free(terminal);
}

static void test_a_status_is_written_only_where_it_says_something_new(void **state) {
    struct status status = {.phase = KUBERNETES_PHASE_RUNNING,
                            .is_ready = true,
                            .reason = "PodRuns",
                            .namespace_name = "n",
                            .has_pod = true,
                            .has_secret = true};
    struct kubernetes_terminal *terminal =
        terminal_of_text("{}", "{\"phase\": \"Error\", \"message\": \"old\","
                               "\"lastActivityAt\": \"2026-01-01T00:00:00Z\","
                               "\"conditions\": [{\"type\": \"Other\", \"status\": \"True\"}]}");
    bool is_needed = false;
    (void)state;
    struct json_object *patch = status_patch(&status, terminal, &is_needed);
    struct json_object *now = json_get_object(patch, "status");
    assert_true(is_needed);
    assert_string_equal(json_get_string(now, "phase"), "Running");
    assert_true(json_object_object_get_ex(now, "message", NULL)); /* null: it is removed */
    assert_false(json_object_object_get_ex(now, "lastActivityAt", NULL));
    assert_int_equal(json_object_array_length(json_get_array(now, "conditions")), 2);
    assert_string_equal(json_get_string(json_get_object(patch, "metadata"), "resourceVersion"), "7");
    json_object_object_del(now, "message");
    struct kubernetes_terminal *after = terminal_of_text("{}", json_text(now, NULL));
    assert_null(status_patch(&status, after, &is_needed));
    assert_false(is_needed);
    json_object_put(patch);
    terminal_free(terminal);
    terminal_free(after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_least_spec_makes_a_pod_of_the_settings),
        cmocka_unit_test(test_variables_and_packages_come_in_either_form),
        cmocka_unit_test(test_a_home_without_a_claim_goes_with_the_pod_or_is_the_templates),
        cmocka_unit_test(test_a_spec_that_cannot_be_is_refused),
        cmocka_unit_test(test_an_idle_time_without_end_or_below_nothing_is_no_trouble),
        cmocka_unit_test(test_a_key_is_new_each_time_and_a_claim_has_no_owner),
        cmocka_unit_test(test_a_status_is_written_only_where_it_says_something_new),
    };
    return cmocka_run_group_tests(tests, make, end);
}
