/* Who we are to an API server: kubeconfig files and a pod's own credentials. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "provisioner/backends/kubernetes_config.h"

#define HEAD                                                                                                           \
    "apiVersion: v1\nkind: Config\ncurrent-context: b\n"                                                               \
    "contexts:\n- name: a\n  context: {cluster: none, user: none}\n- name: b\n  context: {cluster: c, user: u}\n"
#define CLUSTER "clusters:\n- name: c\n  cluster:\n    server: https://api.example:6443/\n"
#define USER    "users:\n- name: u\n  user:\n"

static bool parse(const char *text, struct kubernetes_config *config, struct error *err) {
    return kubernetes_config_parse(text, strlen(text), "/etc/kube", config, err);
}

static void refuse(const char *text, const char *words) {
    struct kubernetes_config config;
    struct error err = {0};
    assert_false(parse(text, &config, &err));
    assert_int_equal(err.code, ERROR_INVALID);
    if (strstr(err.message, words) == NULL) {
        fail_msg("`%s` does not say `%s`", err.message, words);
    }
}

static void test_the_current_context_counts(void **state) {
    struct kubernetes_config config;
    struct error err = {0};
    (void)state;
    if (!parse(HEAD CLUSTER "    certificate-authority-data: cGVt\n    tls-server-name: kubernetes\n" USER
                            "    token: abc.def\n",
               &config, &err)) {
        fail_msg("%s", err.message);
    }
    assert_string_equal(config.server, "https://api.example:6443");
    assert_string_equal(config.server_name, "kubernetes");
    assert_string_equal(config.token, "abc.def");
    assert_int_equal(config.ca.length, 3);
    assert_memory_equal(config.ca.data, "pem", 3);
    assert_null(config.ca_file);
    kubernetes_config_free(&config);
}

static void test_paths_are_relative_to_the_file(void **state) {
    struct kubernetes_config config;
    (void)state;
    assert_true(parse(HEAD CLUSTER "    certificate-authority: pki/ca.crt\n" USER
                                   "    client-certificate: /abs/me.crt\n    client-key: me.key\n",
                      &config, NULL));
    assert_string_equal(config.ca_file, "/etc/kube/pki/ca.crt");
    assert_string_equal(config.certificate_file, "/abs/me.crt");
    assert_string_equal(config.key_file, "/etc/kube/me.key");
    kubernetes_config_free(&config);
}

static void test_what_cannot_be_used_is_refused_with_a_reason(void **state) {
    (void)state;
    refuse("", "current-context");
    refuse(HEAD CLUSTER, "no user `u`");
    refuse(HEAD USER "    token: t\n", "no cluster `c`");
    refuse(HEAD CLUSTER USER "    exec: {command: aws}\n", "credential plugins are programs");
    refuse(HEAD CLUSTER USER "    auth-provider: {name: gcp}\n", "auth-provider");
    refuse(HEAD CLUSTER USER "    username: me\n    password: x\n", "basic authentication");
    refuse(HEAD CLUSTER USER "    token: t\n    as: admin\n", "impersonation");
    refuse(HEAD CLUSTER "    insecure-skip-tls-verify: true\n" USER "    token: t\n", "always verified");
    refuse(HEAD "clusters:\n- name: c\n  cluster: {server: \"http://x:1\"}\n" USER "    token: t\n", "in the clear");
    refuse(HEAD CLUSTER USER "    {}\n", "neither a token nor a client certificate");
    refuse(HEAD CLUSTER USER "    client-certificate: a\n", "come together");
    refuse(HEAD CLUSTER USER "    token: \"a\\nX-Evil: b\"\n", "characters that no token has");
    refuse(HEAD CLUSTER "    certificate-authority-data: \"?\"\n" USER "    token: t\n", "no base64");
    refuse(HEAD CLUSTER USER "    tokenFile: /no/such/file\n", "/no/such/file");
}

static void test_a_verified_cluster_may_say_so(void **state) {
    struct kubernetes_config config;
    (void)state;
    assert_true(parse(HEAD CLUSTER "    insecure-skip-tls-verify: false\n" USER "    token: t\n", &config, NULL));
    kubernetes_config_free(&config);
}

static void write_token(const char *folder, const char *token) {
    cleanup_free char *path = NULL;
    cleanup_free char *fresh = NULL;
    assert_true(asprintf(&path, "%s/token", folder) > 0 && asprintf(&fresh, "%s/token.new", folder) > 0);
    FILE *file = fopen(fresh, "w");
    assert_non_null(file);
    fputs(token, file);
    fclose(file);
    assert_int_equal(rename(fresh, path), 0);
}

static void test_a_pod_finds_its_own_credentials_and_new_tokens(void **state) {
    struct kubernetes_config config;
    struct error err = {0};
    char folder[] = "/tmp/test-kubernetes-XXXXXX";
    cleanup_free char *path = NULL;
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_true(asprintf(&path, "%s/token", folder) > 0);
    assert_false(kubernetes_config_in_cluster(NULL, NULL, folder, &config, &err));
    assert_non_null(strstr(err.message, "TERMINALS_KUBERNETES_KUBECONFIG"));
    assert_false(kubernetes_config_in_cluster("10.0.0.1", "443", folder, &config, &err));
    assert_non_null(strstr(err.message, "service account"));
    write_token(folder, "first\n");
    assert_true(kubernetes_config_in_cluster("fd00::1", "443", folder, &config, NULL));
    assert_string_equal(config.server, "https://[fd00::1]:443");
    assert_string_equal(config.token, "first");
    write_token(folder, "second, which is no token");
    assert_false(kubernetes_config_refresh_token(&config, &err));
    assert_string_equal(config.token, "first");
    write_token(folder, "third");
    assert_true(kubernetes_config_refresh_token(&config, NULL));
    assert_string_equal(config.token, "third");
    kubernetes_config_free(&config);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_current_context_counts),
        cmocka_unit_test(test_paths_are_relative_to_the_file),
        cmocka_unit_test(test_what_cannot_be_used_is_refused_with_a_reason),
        cmocka_unit_test(test_a_verified_cluster_may_say_so),
        cmocka_unit_test(test_a_pod_finds_its_own_credentials_and_new_tokens),
    };
    return cmocka_run_group_tests_name("kubernetes_config", tests, NULL, NULL);
}
