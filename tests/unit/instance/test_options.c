#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <stdio.h>
#include <sys/stat.h>

#include "instance/options.h"

static struct options options;
static struct error err;

static bool parse(const char *const *arguments) {
    static char storage[16][64];
    char *argv[16] = {NULL};
    int argc = 0;
    for (; arguments[argc] != NULL; argc++) {
        argv[argc] = strcpy(storage[argc], arguments[argc]);
    }
    return options_parse(argc, argv, &options, &err);
}

#define PARSE(...) parse((const char *const[]){"open-terminal", __VA_ARGS__, NULL})

static int clear_environment(void **state) {
    (void)state;
    static const char *const names[] = {"API_KEY",
                                        "API_KEY_FILE",
                                        "HOST",
                                        "PORT",
                                        "CORS_ALLOWED_ORIGINS",
                                        "MULTI_USER",
                                        "MAX_SESSIONS",
                                        "EXECUTE_TIMEOUT",
                                        "LOG_DIR",
                                        "ENABLE_TERMINAL",
                                        "INFO"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "OPEN_TERMINAL_%s", names[i]);
        unsetenv(name);
    }
    setenv("HOME", "/tmp", 1);
    setenv("XDG_CONFIG_HOME", "/nope", 1);
    unsetenv("XDG_STATE_HOME");
    return 0;
}

static void test_defaults(void **state) {
    (void)state;
    assert_true(PARSE("run"));
    assert_string_equal(options.host, "0.0.0.0");
    assert_int_equal(options.port, 8000);
    assert_int_equal(strlen(options.api_key), 64);
    assert_true(options.is_key_generated);
    assert_string_equal(options.home, "/tmp");
    assert_string_equal(options.log_dir, "/tmp/.local/state/open-terminal/logs");
    assert_int_equal(options.max_sessions, 16);
    assert_true(options.session_keepalive_seconds == 0);
    assert_true(options.is_terminal_enabled);
    assert_string_equal(options.cors_allowed_origins, "*");
    options_free(&options);
}

static void test_flags_win_over_the_environment(void **state) {
    (void)state;
    setenv("OPEN_TERMINAL_PORT", "1000", 1);
    setenv("OPEN_TERMINAL_API_KEY", "from the environment", 1);
    assert_true(PARSE("run", "--port=2000", "--host", "::1", "--cwd", "/"));
    assert_int_equal(options.port, 2000);
    assert_string_equal(options.host, "::1");
    assert_string_equal(options.home, "/");
    assert_string_equal(options.api_key, "from the environment");
    assert_null(getenv("OPEN_TERMINAL_API_KEY"));
    options_free(&options);
    setenv("OPEN_TERMINAL_API_KEY", "from the environment", 1);
    assert_true(PARSE("run", "--api-key", "k"));
    assert_string_equal(options.api_key, "k");
    assert_int_equal(options.port, 1000);
    options_free(&options);
}

static void test_the_key_may_be_in_a_file(void **state) {
    (void)state;
    char path[] = "/tmp/key-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "secret\r\nmore\n", 13), 13);
    close(fd);
    setenv("OPEN_TERMINAL_API_KEY_FILE", path, 1);
    assert_true(PARSE("run"));
    assert_string_equal(options.api_key, "secret");
    options_free(&options);
    assert_int_equal(truncate(path, 0), 0);
    setenv("OPEN_TERMINAL_API_KEY_FILE", path, 1);
    assert_false(PARSE("run"));
    unlink(path);
    setenv("OPEN_TERMINAL_API_KEY_FILE", path, 1);
    assert_false(PARSE("run"));
    assert_non_null(strstr(err.message, path));
}

static const char *write_file(const char *text) {
    static char path[32];
    strcpy(path, "/tmp/config-XXXXXX");
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

static void test_flag_then_environment_then_file_then_default(void **state) {
    (void)state;
    const char *path = write_file("port = 1\nhost = \"::1\"\nmax_sessions = 3\napi_key = \"from the file\"\n"
                                  "enable_terminal = false\nexecute_timeout = 1.5\nunknown = 1\n");
    setenv("OPEN_TERMINAL_PORT", "2", 1);
    setenv("OPEN_TERMINAL_MAX_SESSIONS", "4", 1);
    setenv("OPEN_TERMINAL_LOG_DIR", "logs", 1);
    assert_true(PARSE("run", "--port", "3", "--config", path));
    assert_int_equal(options.port, 3);
    assert_int_equal(options.max_sessions, 4);
    assert_string_equal(options.host, "::1");
    assert_string_equal(options.api_key, "from the file");
    assert_false(options.is_key_generated);
    assert_false(options.is_terminal_enabled);
    assert_true(options.execute_timeout == 1.5);
    assert_string_equal(options.cors_allowed_origins, "*");
    assert_string_equal(options.log_dir, "/tmp/logs");
    options_free(&options);
    unlink(path);
    assert_false(PARSE("run", "--config", path));
    assert_non_null(strstr(err.message, path));
}

static void test_a_bad_file_that_was_named_stops_the_start(void **state) {
    (void)state;
    static const char *const bad[] = {"port = \"8000\"", "port = 1\nport = 2",  "max_sessions = 0", "port",
                                      "info = 1",        "log_format = \"xml\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *path = write_file(bad[i]);
        assert_false(PARSE("run", "--config", path));
        unlink(path);
    }
}

static void test_a_bad_file_of_the_users_own_locks_nobody_out(void **state) {
    (void)state;
    static const char *const bad[] = {"port = 70000", "enable_terminal = \"perhaps\"", "port = ", "\xff",
                                      "multi_user = true"};
    char folder[] = "/tmp/config-home-XXXXXX";
    char path[128];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/open-terminal", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/config.toml");
    setenv("XDG_CONFIG_HOME", folder, 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        FILE *file = fopen(path, "w");
        fputs(bad[i], file);
        fclose(file);
        assert_true(PARSE("run"));
        assert_int_equal(options.port, 8000);
        options_free(&options);
    }
    FILE *file = fopen(path, "w");
    fputs("port = 8001", file);
    fclose(file);
    assert_true(PARSE("run"));
    assert_int_equal(options.port, 8001);
    options_free(&options);
    unlink(path);
}

static void test_multi_user_mode_is_refused_with_a_reason(void **state) {
    (void)state;
    setenv("OPEN_TERMINAL_MULTI_USER", "false", 1);
    assert_true(PARSE("run"));
    options_free(&options);
    setenv("OPEN_TERMINAL_MULTI_USER", "true", 1);
    assert_false(PARSE("run"));
    assert_non_null(strstr(err.message, "one instance is one user's"));
    unsetenv("OPEN_TERMINAL_MULTI_USER");
    assert_false(PARSE("run", "--multi-user"));
    assert_non_null(strstr(err.message, "one instance is one user's"));
}

static void test_a_key_is_given_once(void **state) {
    (void)state;
    setenv("OPEN_TERMINAL_API_KEY", "", 1);
    setenv("OPEN_TERMINAL_API_KEY_FILE", "/etc/hostname", 1);
    assert_false(PARSE("run"));
    assert_non_null(strstr(err.message, "not both"));
}

static void test_mcp_has_two_transports(void **state) {
    (void)state;
    assert_true(PARSE("mcp"));
    assert_true(options.is_mcp && options.is_stdio);
    assert_null(options.api_key);
    options_free(&options);
    assert_true(PARSE("mcp", "--transport", "streamable-http", "--api-key", "k"));
    assert_true(options.is_mcp && !options.is_stdio);
    options_free(&options);
    assert_false(PARSE("mcp", "--transport", "pigeon"));
    assert_false(PARSE("run", "--transport", "stdio"));
}

static void test_bad_values_are_named(void **state) {
    (void)state;
    static const char *const ports[] = {"0", "65536", "x", "1x", "-1", " 1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        assert_false(PARSE("run", "--port", ports[i]));
        assert_non_null(strstr(err.message, ports[i]));
    }
    assert_false(PARSE("run", "--prot", "1"));
    assert_non_null(strstr(err.message, "--prot"));
    assert_false(PARSE("run", "--port"));
    assert_false(PARSE("run", "--cwd", "/nope"));
    assert_non_null(strstr(err.message, "/nope"));
    assert_false(PARSE("walk"));
}

static void test_help_is_no_error(void **state) {
    (void)state;
    assert_true(PARSE("--help"));
    assert_true(options.is_help_wanted);
    assert_true(PARSE("run", "--help"));
    assert_true(options.is_help_wanted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, clear_environment),
        cmocka_unit_test_setup(test_flags_win_over_the_environment, clear_environment),
        cmocka_unit_test_setup(test_the_key_may_be_in_a_file, clear_environment),
        cmocka_unit_test_setup(test_flag_then_environment_then_file_then_default, clear_environment),
        cmocka_unit_test_setup(test_a_bad_file_that_was_named_stops_the_start, clear_environment),
        cmocka_unit_test_setup(test_a_bad_file_of_the_users_own_locks_nobody_out, clear_environment),
        cmocka_unit_test_setup(test_multi_user_mode_is_refused_with_a_reason, clear_environment),
        cmocka_unit_test_setup(test_a_key_is_given_once, clear_environment),
        cmocka_unit_test_setup(test_mcp_has_two_transports, clear_environment),
        cmocka_unit_test_setup(test_bad_values_are_named, clear_environment),
        cmocka_unit_test_setup(test_help_is_no_error, clear_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
