#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/run_folder.h"

struct world {
    char folder[64];
    char run_dir[256];
    struct settings settings;
};

static int set_up(void **state) {
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    strcpy(world->folder, "/tmp/test_run.XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->run_dir, sizeof world->run_dir, "%s/a/run", world->folder);
    /* Port 0: any that is free. */
    world->settings = (struct settings){.run_dir = world->run_dir, .host = "127.0.0.1", .port = 0};
    *state = world;
    return 0;
}

static int tear_down(void **state) {
    struct world *world = *state;
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s", world->folder);
    free(world);
    return system(command); /* NOLINT: a path of our own */
}

static void test_it_is_private_and_holds_sockets_and_empty_maps(void **state) {
    struct world *world = *state;
    struct run_folder folder;
    struct error err = {0};
    struct stat status;
    char path[300];
    assert_true(run_folder_open(&folder, &world->settings, &err));
    assert_int_equal(stat(world->run_dir, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/gate-recover.sock", world->run_dir);
    assert_int_equal(stat(path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    snprintf(path, sizeof path, "%s/routes.map", world->run_dir);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 0);
    run_folder_close(&folder);
    run_folder_close(&folder);
}

static void test_stale_sockets_and_maps_of_a_killed_one_are_no_obstacle(void **state) {
    struct world *world = *state;
    struct run_folder folder;
    struct error err = {0};
    struct stat status;
    char path[300];
    assert_true(run_folder_open(&folder, &world->settings, &err));
    snprintf(path, sizeof path, "%s/identities.map", world->run_dir);
    FILE *map = fopen(path, "w");
    assert_non_null(map);
    fputs("A *\n", map);
    fclose(map);
    run_folder_close(&folder);
    assert_true(run_folder_open(&folder, &world->settings, &err));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 0);
    run_folder_close(&folder);
}

static void test_only_one_may_have_it(void **state) {
    struct world *world = *state;
    struct run_folder first, second;
    struct error err = {0};
    assert_true(run_folder_open(&first, &world->settings, &err));
    assert_false(run_folder_open(&second, &world->settings, &err));
    assert_non_null(strstr(err.message, "another `terminals serve`"));
    run_folder_close(&first);
}

static void test_a_port_in_use_is_named(void **state) {
    struct world *world = *state;
    struct run_folder folder;
    struct error err = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    char port[16];
    int taken = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(taken, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(taken, 1), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&address, &length), 0);
    world->settings.port = ntohs(address.sin_port);
    snprintf(port, sizeof port, "port %d", (int)world->settings.port);
    assert_false(run_folder_open(&folder, &world->settings, &err));
    assert_non_null(strstr(err.message, port));
    close(taken);
}

static void test_a_path_too_long_for_sockets_is_told(void **state) {
    struct world *world = *state;
    struct run_folder folder;
    struct error err = {0};
    size_t used = strlen(world->run_dir);
    memset(world->run_dir + used, 'x', 80);
    world->run_dir[used + 80] = '\0';
    assert_false(run_folder_open(&folder, &world->settings, &err));
    assert_non_null(strstr(err.message, "TERMINALS_RUN_DIR"));
}

static void test_a_folder_that_cannot_be_is_told(void **state) {
    struct world *world = *state;
    struct run_folder folder;
    struct error err = {0};
    strcpy(world->run_dir, "/dev/null/run");
    assert_false(run_folder_open(&folder, &world->settings, &err));
    assert_non_null(strstr(err.message, "/dev/null"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_it_is_private_and_holds_sockets_and_empty_maps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stale_sockets_and_maps_of_a_killed_one_are_no_obstacle, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_one_may_have_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_port_in_use_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_path_too_long_for_sockets_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_folder_that_cannot_be_is_told, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
