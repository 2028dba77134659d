#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/child.h"
#include "common/buffer.h"

/* A child that says what it was started with is a shell script; this is what it says. */
struct world {
    char folder[64];
    char script[96];
    char output[96];
    struct settings settings;
    struct run_folder run_folder;
    struct executables executables;
};

static int set_up(void **state) {
    struct world *world = calloc(1, sizeof *world);
    const char *const environment[] = {"TERMINALS_API_KEY=the-key", "TERMINALS_ENCRYPTION_KEY=the-encryption-key",
                                       "TERMINALS_CORS_ALLOWED_ORIGINS=http://a, http://b", NULL};
    struct error err = {0};
    assert_non_null(world);
    strcpy(world->folder, "/tmp/test_child.XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->script, sizeof world->script, "%s/script", world->folder);
    snprintf(world->output, sizeof world->output, "%s/output", world->folder);
    FILE *file = fopen(world->script, "w");
    assert_non_null(file);
    fprintf(file,
            "#!/bin/sh\n"
            "{ env; echo \"mine=$$\"; echo \"group=$(ps -o pgid= -p $$ | tr -d ' ')\"; ls -l /proc/$$/fd; } >%s\n",
            world->output);
    fclose(file);
    chmod(world->script, 0700);
    assert_true(settings_parse(&world->settings, environment, NULL, NULL, &err));
    memset(world->run_folder.listeners, 0xff, sizeof world->run_folder.listeners);
    world->run_folder.path = world->folder;
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        world->executables.programs[i] = world->script;
        for (int j = 0; j < PROGRAM_LISTENERS_MAX && programs[i].listeners[j] != NULL; j++) {
            world->run_folder.listeners[i][j] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 20);
        }
    }
    world->executables.haproxy_config = world->script;
    setenv("TERMINALS_API_KEY", "the-key", 1);
    *state = world;
    return 0;
}

static int tear_down(void **state) {
    struct world *world = *state;
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        for (int j = 0; j < PROGRAM_LISTENERS_MAX; j++) {
            if (world->run_folder.listeners[i][j] >= 0) {
                close(world->run_folder.listeners[i][j]);
            }
        }
    }
    unlink(world->script);
    unlink(world->output);
    rmdir(world->folder);
    settings_free(&world->settings);
    free(world);
    return 0;
}

/* Starts the program and returns what its script found; the caller frees. */
static char *started(struct world *world, enum program_id id, pid_t *pid) {
    const struct child_plan plan = {&world->settings, &world->executables, &world->run_folder};
    struct error err = {0};
    struct buffer text = {0};
    int status = 0;
    *pid = child_start(&plan, id, true, &err);
    assert_true(*pid > 0);
    assert_int_equal(waitpid(*pid, &status, 0), *pid);
    assert_int_equal(status, 0);
    FILE *file = fopen(world->output, "r");
    assert_non_null(file);
    for (int c = 0; (c = fgetc(file)) != EOF;) {
        char byte = (char)c;
        assert_true(buffer_append(&text, &byte, 1));
    }
    fclose(file);
    return buffer_take(&text);
}

static void assert_says(const char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void assert_says(const char *text, const char *format, ...) {
    char wanted[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(wanted, sizeof wanted, format, arguments);
    va_end(arguments);
    if (strstr(text, wanted) == NULL) {
        fail_msg("no `%s` in:\n%s", wanted, text);
    }
}

static void test_each_gets_its_settings_and_no_others(void **state) {
    pid_t pid = 0;
    char *gate = started(*state, PROGRAM_GATE, &pid);
    assert_says(gate, "TERMINALS_RUN_DIR=");
    assert_null(strstr(gate, "the-key"));
    assert_null(strstr(gate, "the-encryption-key"));
    free(gate);
    char *api = started(*state, PROGRAM_API, &pid);
    assert_says(api, "TERMINALS_API_KEY=the-key");
    assert_null(strstr(api, "the-encryption-key"));
    free(api);
    char *provisioner = started(*state, PROGRAM_PROVISIONER, &pid);
    assert_says(provisioner, "TERMINALS_ENCRYPTION_KEY=the-encryption-key");
    assert_null(strstr(provisioner, "=the-key"));
    free(provisioner);
    char *haproxy = started(*state, PROGRAM_HAPROXY, &pid);
    assert_says(haproxy, "TERMINALS_CORS_ALLOWED_ORIGINS=http://a http://b\n");
    assert_null(strstr(haproxy, "KEY="));
    assert_null(strstr(haproxy, "LISTEN_"));
    free(haproxy);
}

static void test_its_sockets_are_handed_over_by_name(void **state) {
    pid_t pid = 0;
    char *api = started(*state, PROGRAM_API, &pid);
    assert_says(api, "LISTEN_FDS=3\n");
    assert_says(api, "LISTEN_PID=%d\n", (int)pid);
    assert_says(api, "LISTEN_FDNAMES=api-auth:api-admin:api-operations\n");
    assert_says(api, " 3 -> ");
    assert_says(api, " 5 -> ");
    assert_null(strstr(api, " 6 -> "));
    free(api);
}

static void test_it_has_a_process_group_of_its_own(void **state) {
    pid_t pid = 0;
    char *gate = started(*state, PROGRAM_GATE, &pid);
    assert_says(gate, "mine=%d\n", (int)pid);
    assert_says(gate, "group=%d\n", (int)pid);
    free(gate);
}

/* Starts it, and returns the status with which its process ended. */
static int ended(struct world *world, enum program_id id) {
    const struct child_plan plan = {&world->settings, &world->executables, &world->run_folder};
    struct error err = {0};
    int status = 0;
    pid_t pid = child_start(&plan, id, true, &err);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_what_cannot_be_run_is_not_worth_another_try(void **state) {
    struct world *world = *state;
    world->executables.programs[PROGRAM_GATE] = "/no/such/program";
    assert_int_equal(ended(world, PROGRAM_GATE), 78);
    world->executables.programs[PROGRAM_GATE] = world->folder; /* EACCES */
    assert_int_equal(ended(world, PROGRAM_GATE), 78);
}

static void test_what_cannot_be_run_at_the_moment_is(void **state) {
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none_left = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none_left), 0);
    int status = ended(*state, PROGRAM_PROVISIONER);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, 1);
}

static void test_origins_are_separated_by_single_spaces(void **state) {
    (void)state;
    static const struct {
        const char *given;
        const char *expected;
    } cases[] = {
        {"*", "*"},
        {"", ""},
        {" , ", ""},
        {"http://a", "http://a"},
        {"http://a,http://b", "http://a http://b"},
        {" http://a ,\thttp://b , ", "http://a http://b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *origins = child_list_for_haproxy(cases[i].given);
        assert_string_equal(origins, cases[i].expected);
        free(origins);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_gets_its_settings_and_no_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_its_sockets_are_handed_over_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_has_a_process_group_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_run_is_not_worth_another_try, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_run_at_the_moment_is, set_up, tear_down),
        cmocka_unit_test(test_origins_are_separated_by_single_spaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
