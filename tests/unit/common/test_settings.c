/* Settings: what an admin writes is what holds, and a mistake is named in one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/origins.h"
#include "common/settings.h"

#define NOTHING ((const char *const[]){NULL})

static void test_defaults(void **state) {
    (void)state;
    struct settings settings;
    struct error err = {0};
    assert_true(settings_parse(&settings, NOTHING, NULL, NULL, &err));
    assert_int_equal(settings.port, 3000);
    assert_int_equal(settings.idle_timeout_seconds, 1800);
    assert_null(settings.api_key);
    assert_false(settings.open);
    assert_string_equal(settings.local_binary, "open-terminal");
    settings_free(&settings);
}

static void test_flags_win_over_environment_over_dotenv(void **state) {
    (void)state;
    struct settings settings;
    struct error err = {0};
    const char *const environment[] = {"PATH=/bin", "TERMINALS_PORT=3001", "TERMINALS_HOST=127.0.0.1", NULL};
    const struct settings_override overrides[] = {{"TERMINALS_PORT", "3002"}, {NULL, NULL}};
    const char *dotenv =
        "# comment\nTERMINALS_PORT=1\nTERMINALS_HOST='::'\nexport TERMINALS_LOG_FORMAT=json # why\nOTHER=1\n"
        "TERMINALS_API_KEY=\"a\\\"b\"\n";
    assert_true(settings_parse(&settings, environment, dotenv, overrides, &err));
    assert_int_equal(settings.port, 3002);
    assert_string_equal(settings.host, "127.0.0.1");
    assert_int_equal(settings.log_format, 1);
    assert_string_equal(settings.api_key, "a\"b");
    settings_free(&settings);
}

static void test_mistakes_are_named(void **state) {
    (void)state;
    static const struct {
        const char *assignment;
        const char *message;
    } cases[] = {
        {"TERMINALS_PORT=70000", "TERMINALS_PORT: `70000` is not a number from 1 to 65535"},
        {"TERMINALS_PORT=3000x", "TERMINALS_PORT: `3000x` is not a number from 1 to 65535"},
        {"TERMINALS_PORT= 3000", "TERMINALS_PORT: ` 3000` is not a number from 1 to 65535"},
        {"TERMINALS_BACKEND=dokcer",
         "TERMINALS_BACKEND: `dokcer` is not one of docker, kubernetes, kubernetes-operator, local, static"},
        {"TERMINALS_MAX_CPU=two",
         "TERMINALS_MAX_CPU: `two` is not a Kubernetes quantity above zero (500m, 2, 512Mi, 4Gi)"},
        {"TERMINALS_MAX_MEMORY=4GB",
         "TERMINALS_MAX_MEMORY: `4GB` is not a Kubernetes quantity above zero (500m, 2, 512Mi, 4Gi)"},
        {"TERMINALS_MAX_STORAGE=-1Gi",
         "TERMINALS_MAX_STORAGE: `-1Gi` is not a Kubernetes quantity above zero (500m, 2, 512Mi, 4Gi)"},
        {"TERMINALS_OPEN=maybe", "TERMINALS_OPEN: `maybe` is neither true nor false"},
        {"TERMINALS_PROT=3000", "TERMINALS_PROT is not a setting of this version"},
        {"TERMINALS_PORT_FILE=/x", "TERMINALS_PORT_FILE is not a setting of this version"},
        {"TERMINALS_DATA_DIR=", "TERMINALS_DATA_DIR is empty"},
        {"TERMINALS_IDLE_TIMEOUT_MINUTES=9223372036854775807",
         "TERMINALS_IDLE_TIMEOUT_SECONDS: `9223372036854775807` is not a number from 0 to 3153600000"},
        {"TERMINALS_API_KEY_FILE=/nonexistent",
         "TERMINALS_API_KEY_FILE: open `/nonexistent`: No such file or directory"},
        {"TERMINALS_DOCKER_HOST=/var/run/docker.sock",
         "TERMINALS_DOCKER_HOST: `/var/run/docker.sock` is neither unix:///path nor tcp://host:port"},
        {"TERMINALS_DOCKER_PUBLISH=example.com", "TERMINALS_DOCKER_PUBLISH: `example.com` is no IP address"},
        {"TERMINALS_DOCKER_PUBLISH=0.0.0.0",
         "TERMINALS_DOCKER_PUBLISH: `0.0.0.0` is no address that HAProxy could connect to: name one of this machine"},
        {"TERMINALS_DOCKER_NETWORK=a,,b", "TERMINALS_DOCKER_NETWORK: `a,,b` is no comma-separated list of networks"},
        {"TERMINALS_DOCKER_MOUNTS=x", "TERMINALS_DOCKER_MOUNTS: not JSON: unexpected character at byte 0"},
        {"TERMINALS_DOCKER_MOUNTS={}", "TERMINALS_DOCKER_MOUNTS is not a JSON array"},
        {"TERMINALS_DOCKER_MOUNTS=[{\"source\": \"/a\"}]",
         "TERMINALS_DOCKER_MOUNTS: mount 1 has no `target` that is an absolute path"},
        {"TERMINALS_DOCKER_MOUNTS=[{\"source\": \"a/b\", \"target\": \"/b\"}]",
         "TERMINALS_DOCKER_MOUNTS: mount 1 has a `source` that is neither an absolute path nor the name of a volume"},
        {"TERMINALS_DOCKER_MOUNTS=[{\"source\": \"/a\", \"target\": \"/home/user\"}]",
         "TERMINALS_DOCKER_MOUNTS: mount 1 would hide the user's home /home/user"},
        {"TERMINALS_DOCKER_MOUNTS=[{\"source\": \"/a\", \"target\": \"/b\", \"readonly\": true}]",
         "TERMINALS_DOCKER_MOUNTS: mount 1 has `readonly`, where only source, target and readOnly (true or false) may "
         "be"},
        {"TERMINALS_API_KEY=a b", "TERMINALS_API_KEY: a bearer token has printable ASCII characters only"},
        {"TERMINALS_TRUSTED_PROXIES=10.0.0.0/8,proxy",
         "TERMINALS_TRUSTED_PROXIES: `proxy` is no address (10.0.0.1, fd00::1) and no network (10.0.0.0/8)"},
        {"TERMINALS_TRUSTED_PROXIES=10.0.0.0/33",
         "TERMINALS_TRUSTED_PROXIES: `10.0.0.0/33` is no address (10.0.0.1, fd00::1) and no network (10.0.0.0/8)"},
        {"TERMINALS_TRUSTED_PROXIES=::1/+8",
         "TERMINALS_TRUSTED_PROXIES: `::1/+8` is no address (10.0.0.1, fd00::1) and no network (10.0.0.0/8)"},
        {"TERMINALS_TRUSTED_PROXIES= , ", "TERMINALS_TRUSTED_PROXIES: it names no address"},
        {"TERMINALS_CORS_ALLOWED_ORIGINS=https://a.example, https://b.example/",
         "TERMINALS_CORS_ALLOWED_ORIGINS: `https://b.example/` is no origin (https://chat.example.com, in lower case "
         "and with nothing behind it)"},
        {"TERMINALS_CORS_ALLOWED_ORIGINS=chat.example",
         "TERMINALS_CORS_ALLOWED_ORIGINS: `chat.example` is no origin (https://chat.example.com, in lower case and "
         "with nothing behind it)"},
        {"TERMINALS_CORS_ALLOWED_ORIGINS=https://Chat.example",
         "TERMINALS_CORS_ALLOWED_ORIGINS: `https://Chat.example` is no origin (https://chat.example.com, in lower case "
         "and with nothing behind it)"},
        {"TERMINALS_CORS_ALLOWED_ORIGINS=*,https://a.example",
         "TERMINALS_CORS_ALLOWED_ORIGINS: `*` is no origin (https://chat.example.com, in lower case and with nothing "
         "behind it)"},
        {"TERMINALS_CORS_ALLOWED_ORIGINS=https://*.example",
         "TERMINALS_CORS_ALLOWED_ORIGINS: `https://*.example` is no origin (https://chat.example.com, in lower case "
         "and with nothing behind it)"},
        {"TERMINALS_CORS_ALLOWED_ORIGINS=https://",
         "TERMINALS_CORS_ALLOWED_ORIGINS: `https://` is no origin (https://chat.example.com, in lower case and with "
         "nothing behind it)"},
        {"TERMINALS_INSTANCE_SANDBOX=allow-scripts allow-everything",
         "TERMINALS_INSTANCE_SANDBOX: `allow-everything` is neither `off` nor one of the words that `sandbox` knows"},
        {"TERMINALS_INSTANCE_SANDBOX=off allow-scripts",
         "TERMINALS_INSTANCE_SANDBOX: `off` is neither `off` nor one of the words that `sandbox` knows"},
        {"TERMINALS_INSTANCE_SANDBOX=allow-scripts;",
         "TERMINALS_INSTANCE_SANDBOX: `allow-scripts;` is neither `off` nor one of the words that `sandbox` knows"},
        {"TERMINALS_FAILED_LOGIN_SECONDS=0", "TERMINALS_FAILED_LOGIN_SECONDS: `0` is not a number from 1 to 86400"},
        {"TERMINALS_AUDIT_RETENTION_DAYS=-1", "TERMINALS_AUDIT_RETENTION_DAYS: `-1` is not a number from 0 to 36500"},
        {"TERMINALS_SIEM_WEBHOOK_URL=ftp://user:secret@siem",
         "TERMINALS_SIEM_WEBHOOK_URL: expected `http://…` or `https://…`"},
        {"TERMINALS_SIEM_WEBHOOK_URL=https:///path", "TERMINALS_SIEM_WEBHOOK_URL: expected `http://…` or `https://…`"},
        {"TERMINALS_SIEM_WEBHOOK_URL=https://siem/a b",
         "TERMINALS_SIEM_WEBHOOK_URL: expected `http://…` or `https://…`"},
        {"TERMINALS_SIEM_WEBHOOK_TOKEN=Splunk\t1",
         "TERMINALS_SIEM_WEBHOOK_TOKEN: a header has printable ASCII characters only"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings settings;
        struct error err = {0};
        const char *const environment[] = {cases[i].assignment, NULL};
        assert_false(settings_parse(&settings, environment, NULL, NULL, &err));
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(err.code, ERROR_INVALID);
    }
}

static void test_an_empty_optional_text_is_not_set(void **state) {
    (void)state;
    struct settings settings;
    const char *const environment[] = {"TERMINALS_DOCKER_NETWORK=", "TERMINALS_DOCKER_MOUNTS=", NULL};
    assert_true(settings_parse(&settings, environment, NULL, NULL, NULL));
    assert_null(settings.docker_network);
    assert_null(settings.docker_mounts);
    assert_int_equal(settings.backend, BACKEND_DOCKER);
    settings_free(&settings);
}

static void test_origins_as_browsers_say_them(void **state) {
    (void)state;
    static const char *const good[] = {"*", "https://chat.example.com", "http://localhost:8080,https://a.example",
                                       "http://[::1]:3000, chrome-extension://abcdef , null"};
    struct error err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!origins_check(good[i], &err)) {
            fail_msg("%s: %s", good[i], err.message);
        }
    }
}

static void test_open_and_a_key_contradict(void **state) {
    (void)state;
    struct settings settings;
    struct error err = {0};
    const char *const environment[] = {"TERMINALS_OPEN=true", "TERMINALS_API_KEY=k", NULL};
    assert_false(settings_parse(&settings, environment, NULL, NULL, &err));
}

static void test_aliases(void **state) {
    (void)state;
    struct settings settings;
    const char *const minutes[] = {"TERMINALS_IDLE_TIMEOUT_MINUTES=2", "TERMINALS_DOCKER_DATA_DIR=/srv/homes", NULL};
    assert_true(settings_parse(&settings, minutes, NULL, NULL, NULL));
    assert_int_equal(settings.idle_timeout_seconds, 120);
    assert_string_equal(settings.data_dir, "/srv/homes");
    settings_free(&settings);

    const char *const both[] = {"TERMINALS_IDLE_TIMEOUT_SECONDS=7", "TERMINALS_IDLE_TIMEOUT_MINUTES=2", NULL};
    assert_true(settings_parse(&settings, both, NULL, NULL, NULL));
    assert_int_equal(settings.idle_timeout_seconds, 7);
    settings_free(&settings);
}

static void test_secret_from_a_file(void **state) {
    (void)state;
    char path[] = "/tmp/terminals-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "s3cret\n", 7), 7);
    close(fd);
    char assignment[128];
    snprintf(assignment, sizeof assignment, "TERMINALS_API_KEY_FILE=%s", path);
    const char *const environment[] = {assignment, NULL};
    struct settings settings;
    assert_true(settings_parse(&settings, environment, NULL, NULL, NULL));
    assert_string_equal(settings.api_key, "s3cret");
    settings_free(&settings);
    unlink(path);
}

static void test_dotenv_mistakes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"A=1\nnonsense\n", ".env line 2: expected NAME=value"},
        {"A=\"b\n", ".env line 1: the quotes of A are not closed at the line's end"},
        {"A='b' c\n", ".env line 1: the quotes of A are not closed at the line's end"},
        {"=b", ".env line 1: expected NAME=value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings settings;
        struct error err = {0};
        assert_false(settings_parse(&settings, NOTHING, cases[i].text, NULL, &err));
        assert_string_equal(err.message, cases[i].message);
    }
}

static void test_each_process_gets_only_what_it_needs(void **state) {
    (void)state;
    struct settings settings;
    const char *const environment[] = {"TERMINALS_API_KEY=k1", "TERMINALS_ENCRYPTION_KEY=k2", NULL};
    assert_true(settings_parse(&settings, environment, NULL, NULL, NULL));
    setenv("TERMINALS_ENCRYPTION_KEY", "k2", 1);
    setenv("TERMINALS_API_KEY_FILE", "/x", 1);
    assert_true(settings_export(&settings, READER_API, NULL));
    assert_string_equal(getenv("TERMINALS_API_KEY"), "k1");
    assert_null(getenv("TERMINALS_ENCRYPTION_KEY"));
    assert_null(getenv("TERMINALS_API_KEY_FILE"));
    assert_true(settings_export(&settings, READER_HAPROXY, NULL));
    assert_null(getenv("TERMINALS_API_KEY"));
    assert_string_equal(getenv("TERMINALS_PORT"), "3000");

    struct json_object *object = settings_to_json(&settings, READER_API | READER_PROVISIONER);
    assert_true(json_get_bool(object, "has_api_key", false));
    assert_null(strstr(json_text(object, NULL), "k1"));
    json_object_put(object);
    settings_free(&settings);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_flags_win_over_environment_over_dotenv),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_an_empty_optional_text_is_not_set),
        cmocka_unit_test(test_origins_as_browsers_say_them),
        cmocka_unit_test(test_open_and_a_key_contradict),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_secret_from_a_file),
        cmocka_unit_test(test_dotenv_mistakes),
        cmocka_unit_test(test_each_process_gets_only_what_it_needs),
    };
    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
