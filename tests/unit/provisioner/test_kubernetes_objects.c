/* Names, labels and settings of Kubernetes objects, and what a pod's status means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/kubernetes_settings.h"
#include "provisioner/backends/kubernetes_manifest.h"
#include "provisioner/backends/kubernetes_names.h"
#include "provisioner/backends/kubernetes_pod.h"

static struct json_object *parse(const char *text) {
    struct json_object *json = json_parse(text, strlen(text), NULL);
    assert_non_null(json);
    return json;
}

/* --- names and labels --------------------------------------------------------------------------------------------- */

static void test_names_are_upstreams_and_fit_a_service(void **state) {
    char name[KUBERNETES_NAME_SIZE];
    char other[KUBERNETES_NAME_SIZE];
    char policy[64];
    (void)state;
    assert_true(kubernetes_object_name("alice", "default", "default", name));
    assert_string_equal(name, "terminal-2bd806c97f0e");
    assert_true(kubernetes_object_name("alice", "gpu", "default", name));
    assert_string_equal(name, "terminal-2bd806c97f0e-gpu");
    assert_true(kubernetes_object_name("alice", "default", "chat:1", name));
    assert_int_equal(strlen(name), strlen("terminal-2bd806c97f0e") + 13);
    memset(policy, 'p', 63);
    policy[63] = '\0';
    assert_true(kubernetes_object_name("alice", policy, "chat:1", name));
    assert_int_equal(strlen(name), 63);
    policy[62] = 'q';
    assert_true(kubernetes_object_name("alice", policy, "chat:1", other));
    assert_string_not_equal(name, other);
}

static void test_what_fits_no_label_is_in_an_annotation(void **state) {
    const struct instance_spec spec = {.user_id = "alice@example.org", .policy_id = "gpu", .context_id = "chat:ü"};
    const struct instance_spec another = {.user_id = "bob@example.org", .policy_id = "gpu", .context_id = "chat:ü"};
    struct kubernetes_identity identity;
    (void)state;
    struct json_object *metadata = kubernetes_metadata_make(&spec, "n", "id", NULL, NULL);
    struct json_object *labels = json_get_object(metadata, "labels");
    json_object_object_foreach(labels, key, value) {
        (void)key;
        assert_true(kubernetes_is_label_value(json_object_get_string(value)));
    }
    assert_int_equal(strlen(json_get_string(labels, "openwebui.com/user-id")), 12);
    assert_string_equal(json_get_string(labels, "openwebui.com/context-type"), "chat");
    kubernetes_identity_read(metadata, &identity);
    assert_true(kubernetes_identity_matches(&identity, &spec));
    assert_false(kubernetes_identity_matches(&identity, &another));
    assert_string_equal(identity.instance_id, "id");
    json_object_put(metadata);
}

static void test_a_template_does_not_speak_for_an_identity(void **state) {
    const struct instance_spec spec = {.user_id = "alice", .policy_id = "default", .context_id = "default"};
    struct kubernetes_identity identity;
    struct json_object *template = parse("{\"annotations\": {\"openwebui.com/user-id\": \"bob\", \"x\": \"y\","
                                         "\"openwebui.com/context-id\": \"chat:1\"},"
                                         "\"labels\": {\"openwebui.com/user-id\": \"bob\"}}");
    (void)state;
    struct json_object *metadata = kubernetes_metadata_make(&spec, "n", "id", template, NULL);
    kubernetes_identity_read(metadata, &identity);
    assert_true(kubernetes_identity_matches(&identity, &spec));
    assert_string_equal(json_get_string(json_get_object(metadata, "annotations"), "x"), "y");
    json_object_put(metadata);
    json_object_put(template);
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

static void expect_refused(const char *assignment, const char *words) {
    struct settings settings;
    struct error err = {0};
    const char *const environment[] = {assignment, NULL};
    assert_false(settings_parse(&settings, environment, NULL, NULL, &err));
    if (strstr(err.message, words) == NULL) {
        fail_msg("`%s` does not say `%s`", err.message, words);
    }
}

static void test_settings_that_no_cluster_takes_stop_the_start(void **state) {
    (void)state;
    expect_refused("TERMINALS_KUBERNETES_NAMESPACE=Not_One", "KUBERNETES_NAMESPACE");
    expect_refused("TERMINALS_KUBERNETES_LABELS=a", "expected `key=value");
    expect_refused("TERMINALS_KUBERNETES_LABELS=a=b c", "no Kubernetes label");
    expect_refused("TERMINALS_KUBERNETES_LABELS=app.kubernetes.io/managed-by=me", "Terminals' own");
    expect_refused("TERMINALS_KUBERNETES_NODE_SELECTOR={\"a\": 1}", "no Kubernetes label");
    expect_refused("TERMINALS_KUBERNETES_TOLERATIONS={}", "TOLERATIONS is no JSON array");
    expect_refused("TERMINALS_KUBERNETES_TOLERATIONS=[1]", "number 1 is no object");
    expect_refused("TERMINALS_KUBERNETES_POD_SECURITY_CONTEXT=[]", "no JSON object");
    expect_refused("TERMINALS_KUBERNETES_STORAGE_MODE=mine", "per-user, shared, shared-rwo");
    expect_refused("TERMINALS_KUBERNETES_STORAGE_SIZE=big", "Kubernetes quantity");
    expect_refused("TERMINALS_KUBERNETES_SERVICE_TYPE=x", "ClusterIP");
}

static void test_pairs_come_in_two_spellings(void **state) {
    struct settings settings;
    struct kubernetes_settings parsed;
    const char *const environment[] = {"TERMINALS_KUBERNETES_LABELS=a=b, example.org/c=",
                                       "TERMINALS_KUBERNETES_NODE_SELECTOR={\"disk\": \"ssd\"}", NULL};
    (void)state;
    assert_true(settings_parse(&settings, environment, NULL, NULL, NULL));
    assert_true(kubernetes_settings_read(&settings, &parsed, NULL));
    assert_string_equal(json_get_string(parsed.labels, "a"), "b");
    assert_string_equal(json_get_string(parsed.labels, "example.org/c"), "");
    assert_string_equal(json_get_string(parsed.node_selector, "disk"), "ssd");
    assert_null(parsed.tolerations);
    kubernetes_settings_free(&parsed);
    settings_free(&settings);
}

/* --- pods --------------------------------------------------------------------------------------------------------- */

#define POD(meta, status)                                                                                              \
    "{\"metadata\": {\"name\": \"p\", \"uid\": \"u\"" meta "}, \"spec\": {\"containers\": [{\"name\": \"side\"},"      \
    "{\"name\": \"open-terminal\"}]}, \"status\": {" status "}}"
#define OURS(state) "\"containerStatuses\": [{\"name\": \"open-terminal\", \"state\": {" state "}}]"

static const struct {
    const char *json;
    enum kubernetes_pod_state state;
    const char *reason;
} pods[] = {
    {POD("", ""), KUBERNETES_POD_PENDING, ""},
    {POD("", "\"phase\": \"Pending\", " OURS("\"waiting\": {\"reason\": \"ContainerCreating\"}")),
     KUBERNETES_POD_PENDING, "ContainerCreating"},
    {POD("", "\"conditions\": [{\"type\": \"PodScheduled\", \"status\": \"False\", \"reason\": \"Unschedulable\","
             "\"message\": \"0/1 nodes\"}]"),
     KUBERNETES_POD_UNSCHEDULABLE, "Unschedulable: 0/1 nodes"},
    {POD("", OURS("\"waiting\": {\"reason\": \"ErrImagePull\", \"message\": \"no x\"}")), KUBERNETES_POD_STUCK,
     "ErrImagePull: no x"},
    {POD("", "\"initContainerStatuses\": [{\"state\": {\"waiting\": {\"reason\": \"CrashLoopBackOff\"}}}]"),
     KUBERNETES_POD_STUCK, "CrashLoopBackOff"},
    /* The kubelet's view of secrets is a moment old. */
    {POD("", OURS("\"waiting\": {\"reason\": \"CreateContainerConfigError\", \"message\": \"failed to sync secret "
                  "cache\"}")),
     KUBERNETES_POD_PENDING, "CreateContainerConfigError: failed to sync secret cache"},
    {POD("", "\"podIP\": \"10.1.2.3\", " OURS("\"running\": {}")), KUBERNETES_POD_RUNNING, ""},
    /* A sidecar that crashes is no end of what runs. */
    {POD("", "\"podIP\": \"10.1.2.3\", " OURS("\"running\": {}") ", \"initContainerStatuses\": [{\"state\": {"
                                                                 "\"waiting\": {\"reason\": \"CrashLoopBackOff\"}}}]"),
     KUBERNETES_POD_RUNNING, ""},
    {POD("", OURS("\"running\": {}")), KUBERNETES_POD_PENDING, ""},
    {POD("", "\"podIP\": \"evil|address\", " OURS("\"running\": {}")), KUBERNETES_POD_PENDING, ""},
    {POD("", "\"podIP\": \"10.1.2.3\", \"containerStatuses\": [{\"name\": \"side\", \"state\": {\"running\": {}}}]"),
     KUBERNETES_POD_PENDING, ""},
    {POD("", "\"phase\": \"Failed\", \"reason\": \"Evicted\", \"message\": \"low on memory\""), KUBERNETES_POD_ENDED,
     "Evicted: low on memory"},
    {POD("", OURS("\"terminated\": {\"exitCode\": 137, \"reason\": \"OOMKilled\"}")), KUBERNETES_POD_ENDED,
     "its container ended with status 137 (OOMKilled)"},
    {POD(", \"deletionTimestamp\": \"2026\"", "\"podIP\": \"10.1.2.3\", " OURS("\"running\": {}")),
     KUBERNETES_POD_TERMINATING, ""},
};

static void test_a_pods_status_means_what_it_says(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pods / sizeof pods[0]; i++) {
        struct json_object *json = parse(pods[i].json);
        struct kubernetes_pod *pod = kubernetes_pod_read(json);
        assert_non_null(pod);
        if (pod->state != pods[i].state || strcmp(pod->reason, pods[i].reason) != 0) {
            fail_msg("%s: state %d, reason `%s`", pods[i].json, (int)pod->state, pod->reason);
        }
        kubernetes_pod_free(pod);
        json_object_put(json);
    }
}

static void test_odd_json_is_no_pod(void **state) {
    static const char *const odd[] = {"{}", "{\"metadata\": []}", "{\"metadata\": {\"name\": \"x\"}}",
                                      "{\"metadata\": {\"name\": 1, \"uid\": \"u\"}}"};
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct json_object *json = parse(odd[i]);
        assert_null(kubernetes_pod_read(json));
        json_object_put(json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_upstreams_and_fit_a_service),
        cmocka_unit_test(test_what_fits_no_label_is_in_an_annotation),
        cmocka_unit_test(test_a_template_does_not_speak_for_an_identity),
        cmocka_unit_test(test_settings_that_no_cluster_takes_stop_the_start),
        cmocka_unit_test(test_pairs_come_in_two_spellings),
        cmocka_unit_test(test_a_pods_status_means_what_it_says),
        cmocka_unit_test(test_odd_json_is_no_pod),
    };
    return cmocka_run_group_tests_name("kubernetes_objects", tests, NULL, NULL);
}
