/* What an instance is as Docker says it: the body of POST /containers/create, and what is read of the engine's answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "provisioner/backends/docker_container.h"
#include "provisioner/backends/docker_create.h"
#include "provisioner/backends/docker_engine.h"
#include "provisioner/backends/docker_home.h"
#include "provisioner/backends/docker_link.h"
#include "provisioner/backends/docker_logs.h"
#include "provisioner/backends/docker_paths.h"
#include "provisioner/backends/docker_pull.h"
#include "provisioner/backends/docker_security.h"
#include "tests/unit/provisioner/temporary_folder.h"

#define KEY "key-of-the-instance"

struct world {
    struct settings settings;
    struct policy policy;
    struct instance_spec spec;
    struct docker_plan plan;
    struct json_object *body;
    struct error err;
};

static struct json_object *parse(const char *text) {
    struct json_object *json = json_parse(text, strlen(text), NULL);
    assert_non_null(json);
    return json;
}

static int set_up(void **state) {
    struct world *world = calloc(1, sizeof *world);
    const char *const environment[] = {NULL};
    assert_true(settings_parse(&world->settings, environment, NULL, NULL, NULL));
    world->policy = (struct policy){.cpu_millicores = POLICY_UNSET,
                                    .memory_bytes = POLICY_UNSET,
                                    .storage_bytes = POLICY_UNSET,
                                    .idle_timeout_minutes = POLICY_UNSET};
    world->spec = (struct instance_spec){.instance_id = "0123456789abcdef0123456789abcdef",
                                         .instance_name = "terminals-2bd806c97f0e",
                                         .user_id = "alice",
                                         .policy_id = "default",
                                         .context_id = "default",
                                         .key = KEY,
                                         .home = "/data/alice",
                                         .policy = &world->policy};
    world->plan = (struct docker_plan){.spec = &world->spec,
                                       .settings = &world->settings,
                                       .deployment = "d",
                                       .home = "/srv/homes/alice",
                                       .network = "terminals",
                                       .image = "image:1",
                                       .image_id = "sha256:1",
                                       .cpus = 2};
    *state = world;
    return 0;
}

static int tear_down(void **state) {
    struct world *world = *state;
    json_object_put(world->body);
    json_object_put(world->policy.env);
    json_object_put(world->policy.container_security_context);
    settings_free(&world->settings);
    free(world);
    return 0;
}

static struct json_object *make(struct world *world) {
    json_object_put(world->body);
    world->body = docker_create_body(&world->plan, &world->err);
    if (world->body == NULL) {
        fail_msg("%s", world->err.message);
    }
    return json_get_object(world->body, "HostConfig");
}

static void refuse(struct world *world, const char *context, const char *message) {
    json_object_put(world->policy.container_security_context);
    world->policy.container_security_context = parse(context);
    assert_null(docker_create_body(&world->plan, &world->err));
    assert_non_null(strstr(world->err.message, message));
}

static bool has(struct json_object *object, const char *list, const char *text) {
    struct json_object *array = json_get_array(object, list);
    for (size_t i = 0; array != NULL && i < json_object_array_length(array); i++) {
        if (strcmp(json_object_get_string(json_object_array_get_idx(array, i)), text) == 0) {
            return true;
        }
    }
    return false;
}

static size_t count(struct json_object *object, const char *list) {
    struct json_object *array = json_get_array(object, list);
    return array == NULL ? 0 : json_object_array_length(array);
}

static void test_without_a_policy_the_settings_hold(void **state) {
    struct world *world = *state;
    world->spec.policy = NULL;
    struct json_object *host_config = make(world);
    assert_string_equal(json_get_string(world->body, "Image"), "image:1");
    assert_true(has(world->body, "Env", "OPEN_TERMINAL_API_KEY=" KEY));
    assert_int_equal(count(world->body, "Env"), 1);
    assert_null(json_get_string(world->body, "User"));
    assert_int_equal(json_get_int(host_config, "PidsLimit", 0), 512);
    assert_int_equal(json_get_int(host_config, "Memory", 0), 0);
    assert_string_equal(json_get_string(host_config, "NetworkMode"), "terminals");
    struct json_object *mount = json_object_array_get_idx(json_get_array(host_config, "Mounts"), 0);
    assert_string_equal(json_get_string(mount, "Source"), "/srv/homes/alice");
    assert_string_equal(json_get_string(mount, "Target"), "/home/user");
    assert_true(json_get_bool(host_config, "Init", false));
    assert_null(json_get_object(host_config, "PortBindings"));
}

static void test_limits_of_the_policy(void **state) {
    struct world *world = *state;
    world->policy.cpu_millicores = 500;
    world->policy.memory_bytes = 256 << 20;
    world->policy.storage_bytes = 1000000000;
    struct json_object *host_config = make(world);
    assert_int_equal(json_get_int(host_config, "NanoCpus", 0), 500000000);
    assert_int_equal(json_get_int(host_config, "Memory", 0), 256 << 20);
    assert_int_equal(json_get_int(host_config, "MemorySwap", 0), 256 << 20);
    assert_string_equal(json_get_string(json_get_object(host_config, "StorageOpt"), "size"), "1000000000");
    world->policy.cpu_millicores = 64000; /* more than the machine has: an error to the engine */
    world->plan.without_storage_opt = true;
    host_config = make(world);
    assert_int_equal(json_get_int(host_config, "NanoCpus", 0), 2000000000);
    assert_null(json_get_object(host_config, "StorageOpt"));
}

static void test_the_policys_environment_but_not_its_key(void **state) {
    struct world *world = *state;
    world->policy.env = parse("{\"A\": \"1=2\", \"OPEN_TERMINAL_API_KEY\": \"mine\"}");
    make(world);
    assert_true(has(world->body, "Env", "A=1=2"));
    assert_true(has(world->body, "Env", "OPEN_TERMINAL_API_KEY=" KEY));
    assert_int_equal(count(world->body, "Env"), 2);
}

static void test_the_default_lets_sudo_work_and_nothing_more(void **state) {
    struct world *world = *state;
    struct json_object *host_config = make(world);
    assert_true(has(host_config, "CapDrop", "ALL"));
    assert_true(has(host_config, "CapAdd", "SETUID"));
    assert_false(has(host_config, "CapAdd", "NET_ADMIN"));
    assert_false(has(host_config, "CapAdd", "NET_RAW"));
    assert_false(has(host_config, "CapAdd", "SYS_CHROOT"));
    assert_int_equal(count(host_config, "SecurityOpt"), 0); /* sudo is a setuid program */
}

static void test_allowed_domains_need_net_admin(void **state) {
    struct world *world = *state;
    world->policy.env = parse("{\"OPEN_TERMINAL_ALLOWED_DOMAINS\": \"pypi.org\"}");
    struct json_object *host_config = make(world);
    assert_true(has(host_config, "CapAdd", "NET_ADMIN"));
    assert_true(has(host_config, "CapAdd", "SETPCAP"));
}

static void test_an_unprivileged_image_gets_nothing(void **state) {
    struct world *world = *state;
    world->plan.image_is_unprivileged = true;
    struct json_object *host_config = make(world);
    assert_int_equal(count(host_config, "CapAdd"), 0);
    assert_true(has(host_config, "SecurityOpt", "no-new-privileges"));
}

static void test_a_security_context_tightens(void **state) {
    struct world *world = *state;
    world->policy.container_security_context =
        parse("{\"capabilities\": {\"drop\": [\"ALL\"], \"add\": [\"CAP_CHOWN\"]}, \"allowPrivilegeEscalation\": false,"
              " \"readOnlyRootFilesystem\": true, \"runAsUser\": 1234, \"runAsGroup\": 5678, \"runAsNonRoot\": true,"
              " \"seccompProfile\": {\"type\": \"RuntimeDefault\"}}");
    struct json_object *host_config = make(world);
    assert_int_equal(count(host_config, "CapAdd"), 1);
    assert_true(has(host_config, "CapAdd", "CHOWN"));
    assert_true(has(host_config, "SecurityOpt", "no-new-privileges"));
    assert_true(json_get_bool(host_config, "ReadonlyRootfs", false));
    assert_non_null(json_get_string(json_get_object(host_config, "Tmpfs"), "/tmp"));
    assert_string_equal(json_get_string(world->body, "User"), "1234:5678");
}

static void test_a_security_context_loosens(void **state) {
    struct world *world = *state;
    world->plan.image_is_unprivileged = true;
    world->policy.container_security_context =
        parse("{\"capabilities\": {\"add\": [\"NET_RAW\", \"SYS_PTRACE\"]}, \"allowPrivilegeEscalation\": true}");
    struct json_object *host_config = make(world);
    assert_int_equal(count(host_config, "CapAdd"), 2);
    assert_true(has(host_config, "CapAdd", "NET_RAW"));
    assert_int_equal(count(host_config, "SecurityOpt"), 0);
}

static void test_what_no_instance_gets_is_refused(void **state) {
    struct world *world = *state;
    refuse(world, "{\"privileged\": true}", "privileged");
    refuse(world, "{\"capabilities\": {\"add\": [\"ALL\"]}}", "ALL");
    refuse(world, "{\"capabilities\": {\"add\": [\"net admin\"]}}", "capabilities.add");
    refuse(world, "{\"capabilities\": {\"drop\": [5]}}", "capabilities.drop");
    refuse(world, "{\"seccompProfile\": {\"type\": \"Unconfined\"}}", "seccompProfile");
    refuse(world, "{\"procMount\": \"Unmasked\"}", "procMount");
    refuse(world, "{\"runAsUser\": 0, \"runAsNonRoot\": true}", "runAsNonRoot");
    refuse(world, "{\"runAsGroup\": 5}", "runAsGroup");
    refuse(world, "{\"runAsUser\": 99999999999}", "runAsUser");
}

static void test_settings_reach_the_container(void **state) {
    struct world *world = *state;
    settings_free(&world->settings);
    const char *const environment[] = {"TERMINALS_DOCKER_PUBLISH=127.0.0.1", "TERMINALS_DOCKER_RUNTIME=runsc",
                                       "TERMINALS_DOCKER_PIDS_LIMIT=0",
                                       "TERMINALS_DOCKER_MOUNTS=[{\"source\": \"cache\", \"target\": \"/c\"}]", NULL};
    assert_true(settings_parse(&world->settings, environment, NULL, NULL, NULL));
    struct json_object *host_config = make(world);
    assert_string_equal(json_get_string(host_config, "Runtime"), "runsc");
    assert_int_equal(json_get_int(host_config, "PidsLimit", -1), -1);
    assert_int_equal(count(host_config, "Mounts"), 2);
    struct json_object *binding =
        json_object_array_get_idx(json_get_array(json_get_object(host_config, "PortBindings"), "8000/tcp"), 0);
    assert_string_equal(json_get_string(binding, "HostIp"), "127.0.0.1");
    assert_string_equal(json_get_string(binding, "HostPort"), "");
}

static void test_the_hash_of_the_configuration_knows_what_is_outdated(void **state) {
    struct world *world = *state;
    char first[65];
    make(world);
    strcpy(first, json_get_string(json_get_object(world->body, "Labels"), "terminals.config-hash"));
    world->spec.key = "another key";
    world->spec.instance_id = "ffffffffffffffffffffffffffffffff";
    make(world);
    assert_string_equal(json_get_string(json_get_object(world->body, "Labels"), "terminals.config-hash"), first);
    world->plan.image_id = "sha256:2";
    make(world);
    assert_string_not_equal(json_get_string(json_get_object(world->body, "Labels"), "terminals.config-hash"), first);
}

static void test_networks_are_chosen_stably(void **state) {
    struct world *world = *state;
    char network[DOCKER_NETWORK_NAME_SIZE];
    docker_create_network(&world->settings, "terminals-1", network);
    assert_string_equal(network, "terminals");
    settings_free(&world->settings);
    const char *const environment[] = {"TERMINALS_DOCKER_NETWORK=a,bb,c", NULL};
    assert_true(settings_parse(&world->settings, environment, NULL, NULL, NULL));
    int chosen[3] = {0};
    for (int i = 0; i < 300; i++) {
        char name[32];
        char again[DOCKER_NETWORK_NAME_SIZE];
        snprintf(name, sizeof name, "terminals-%d", i);
        docker_create_network(&world->settings, name, network);
        docker_create_network(&world->settings, name, again);
        assert_string_equal(network, again);
        assert_true(strcmp(network, "a") == 0 || strcmp(network, "bb") == 0 || strcmp(network, "c") == 0);
        chosen[network[0] - 'a']++;
    }
    assert_true(chosen[0] > 50 && chosen[1] > 50 && chosen[2] > 50);
}

static void test_our_own_paths_as_the_machine_calls_them(void **state) {
    (void)state;
    struct error err;
    struct json_object *mounts = parse(
        "[{\"Type\": \"bind\", \"Source\": \"/srv/terminals\", \"Destination\": \"/data\"},"
        " {\"Type\": \"volume\", \"Name\": \"homes\", \"Source\": \"/var/lib/docker/volumes/homes/_data\","
        "  \"Destination\": \"/data/terminals\"},"
        " {\"Type\": \"bind\", \"Source\": \"/var/run/docker.sock\", \"Destination\": \"/var/run/docker.sock\"}]");
    static const char *const cases[][2] = {
        {"/data/terminals/alice", "/var/lib/docker/volumes/homes/_data/alice"},
        {"/data/terminals", "/var/lib/docker/volumes/homes/_data"},
        {"/data/terminalsx/alice", "/srv/terminals/terminalsx/alice"},
        {"/data", "/srv/terminals"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *translated = docker_paths_translate(mounts, cases[i][0], &err);
        assert_non_null(translated);
        assert_string_equal(translated, cases[i][1]);
        free(translated);
    }
    assert_null(docker_paths_translate(mounts, "/elsewhere/alice", &err));
    assert_non_null(strstr(err.message, "/elsewhere/alice"));
    json_object_put(mounts);
}

static void test_the_container_we_run_in(void **state) {
    (void)state;
    static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char mountinfo[] =
        "1 2 0:1 / / rw - overlay overlay rw\n"
        "9 2 8:1 /var/lib/docker/containers/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/hostname "
        "/etc/hostname rw - ext4 /dev/sda1 rw\n";
    static const char cgroup[] = "4:memory:/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
    char found[DOCKER_ID_SIZE];
    assert_true(docker_paths_find_container(mountinfo, NULL, found));
    assert_string_equal(found, id);
    assert_true(docker_paths_find_container(NULL, cgroup, found));
    assert_string_equal(found, id);
    assert_true(docker_paths_find_container(
        NULL, "0::/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\n",
        found));
    assert_false(docker_paths_find_container("1 2 0:1 / / rw - ext4 /dev/sda1 rw\n", "0::/init.scope\n", found));
    assert_false(docker_paths_find_container("/containers/0123", NULL, found));
}

static void test_whose_home_it_is(void **state) {
    (void)state;
    static const struct {
        const char *user;
        uid_t uid;
        gid_t gid;
    } cases[] = {{"", 0, 0},           {"root", 0, 0},    {"0:0", 0, 0},       {"user", 1000, 1000},
                 {"1000", 1000, 1000}, {"33:44", 33, 44}, {"user:5", 1000, 5}, {"12x", 1000, 1000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uid_t uid;
        gid_t gid;
        docker_home_owner(cases[i].user, &uid, &gid);
        assert_int_equal(uid, cases[i].uid);
        assert_int_equal(gid, cases[i].gid);
    }
}

static mode_t mode_of(const char *path, uid_t *owner) {
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    *owner = status.st_uid;
    return status.st_mode & 0777;
}

static void test_a_home_becomes_writable_for_the_images_user(void **state) {
    (void)state;
    char folder[64];
    char link[80];
    bool opened = true;
    uid_t owner;
    struct error err = {0};
    temporary_folder_make(folder);
    snprintf(link, sizeof link, "%s-link", folder);
    assert_int_equal(symlink("/etc", link), 0);
    assert_false(docker_home_give(link, 1000, 1000, &opened, &err)); /* whose home is a link has set a trap */
    unlink(link);
    assert_true(docker_home_give(folder, getuid(), getgid(), &opened, &err));
    assert_false(opened);
    if (getuid() == 0) {
        assert_true(docker_home_give(folder, 1000, 1000, &opened, &err));
        assert_false(opened);
        assert_int_equal(mode_of(folder, &owner), 0700);
        assert_int_equal(owner, 1000);
        assert_int_equal(chown(folder, 65534, 65534), 0);
        assert_int_equal(seteuid(65534), 0); /* as one who may give nothing away */
    }
    assert_true(docker_home_give(folder, 1000, 1000, &opened, &err));
    assert_true(opened);
    assert_int_equal(mode_of(folder, &owner), 0777);
    assert_true(docker_home_give(folder, 1000, 1000, &opened, &err));
    assert_false(opened);
    assert_int_equal(seteuid(getuid()), 0);
    temporary_folder_remove(folder);
}

static void test_last_words_are_readable(void **state) {
    (void)state;
    char text[64];
    static const char stream[] = "\1\0\0\0\0\0\0\6first\n\2\0\0\0\0\0\0\016\33[31msecond\x7f!\n";
    docker_logs_join(stream, sizeof stream - 1, text, sizeof text);
    assert_string_equal(text, "first / [31msecond!");
    docker_logs_join("no frames\nat all\n", 17, text, sizeof text);
    assert_string_equal(text, "no frames / at all");
    docker_logs_join("\1\0\0\0\177\177\177\177cut", 11, text, sizeof text);
    assert_string_equal(text, "cut");
    docker_logs_join("a\303\274\303\274\303\274", 7, text, 5);
    assert_string_equal(text, "\303\274\303\274"); /* the end, and whole characters */
    docker_logs_join("", 0, text, sizeof text);
    assert_string_equal(text, "");
}

static void test_names_of_images(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"alpine", "alpine", "latest"},
        {"ghcr.io/a/b:1.2", "ghcr.io/a/b", "1.2"},
        {"127.0.0.1:5000/a", "127.0.0.1:5000/a", "latest"},
        {"127.0.0.1:5000/a:x", "127.0.0.1:5000/a", "x"},
        {"a/b@sha256:12", "a/b@sha256:12", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *name;
        char *tag;
        assert_true(docker_pull_split(cases[i][0], &name, &tag));
        assert_string_equal(name, cases[i][1]);
        assert_string_equal(tag, cases[i][2]);
        free(name);
        free(tag);
    }
}

static void test_a_description_of_a_container(void **state) {
    (void)state;
    struct docker_container container;
    struct instance_address address = {0};
    struct error err;
    struct json_object *json =
        parse("{\"Id\": \"12\", \"State\": {\"Running\": true, \"Paused\": false, \"ExitCode\": 0}, \"Config\": {"
              "\"Env\": [\"A=b\", \"OPEN_TERMINAL_API_KEY=k=y\"], \"Labels\": {\"openwebui.com/user-id\": \"alice\","
              "\"app.kubernetes.io/managed-by\": \"terminals\"}}, \"NetworkSettings\": {\"Networks\": {\"other\": {"
              "\"IPAddress\": \"172.30.0.2\"}, \"empty\": {\"IPAddress\": \"\"}, \"mine\": {\"IPAddress\": "
              "\"172.31.0.3\"}}, \"Ports\": {\"8000/tcp\": [{\"HostIp\": \"127.0.0.1\", \"HostPort\": \"49153\"}]}}}");
    assert_true(docker_container_read(json, &container));
    assert_true(container.is_running && container.labels.is_managed);
    assert_string_equal(container.key, "k=y");
    assert_string_equal(container.labels.user_id, "alice");
    assert_string_equal(container.labels.policy_id, "default");
    assert_null(container.labels.deployment);
    assert_true(docker_container_address(&container, false, "mine", &address, &err));
    assert_string_equal(address.host, "172.31.0.3");
    assert_int_equal(address.port, 8000);
    assert_true(docker_container_address(&container, false, "empty", &address, &err));
    assert_string_equal(address.host, "172.30.0.2");
    assert_true(docker_container_address(&container, true, "mine", &address, &err));
    assert_string_equal(address.host, "127.0.0.1");
    assert_int_equal(address.port, 49153);
    json_object_put(json);
    json = parse("{\"Id\": \"12\", \"State\": {\"Running\": true}}");
    assert_true(docker_container_read(json, &container));
    assert_false(docker_container_address(&container, false, "mine", &address, &err));
    assert_false(docker_container_address(&container, true, "mine", &address, &err));
    json_object_put(json);
    assert_false(docker_container_read(NULL, &container));
}

static void test_an_event(void **state) {
    (void)state;
    struct docker_event event;
    struct json_object *json = parse("{\"Type\": \"container\", \"Action\": \"die\", \"Actor\": {\"ID\": \"12\","
                                     "\"Attributes\": {\"app.kubernetes.io/managed-by\": \"terminals\", \"exitCode\": "
                                     "\"137\", \"terminals.instance-id\": \"34\"}}}");
    assert_true(docker_event_read(json, &event));
    assert_string_equal(event.action, "die");
    assert_int_equal(event.exit_code, 137);
    assert_string_equal(event.labels.instance_id, "34");
    json_object_put(json);
    json = parse("{\"Type\": \"container\", \"Action\": \"die\", \"Actor\": {\"ID\": \"12\", \"Attributes\": {}}}");
    assert_false(docker_event_read(json, &event));
    json_object_put(json);
    assert_false(docker_event_read(NULL, &event));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_without_a_policy_the_settings_hold, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limits_of_the_policy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_policys_environment_but_not_its_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_default_lets_sudo_work_and_nothing_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_allowed_domains_need_net_admin, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_unprivileged_image_gets_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_security_context_tightens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_security_context_loosens, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_no_instance_gets_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settings_reach_the_container, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_hash_of_the_configuration_knows_what_is_outdated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_networks_are_chosen_stably, set_up, tear_down),
        cmocka_unit_test(test_our_own_paths_as_the_machine_calls_them),
        cmocka_unit_test(test_the_container_we_run_in),
        cmocka_unit_test(test_whose_home_it_is),
        cmocka_unit_test(test_a_home_becomes_writable_for_the_images_user),
        cmocka_unit_test(test_last_words_are_readable),
        cmocka_unit_test(test_names_of_images),
        cmocka_unit_test(test_a_description_of_a_container),
        cmocka_unit_test(test_an_event),
    };
    return cmocka_run_group_tests_name("docker_create", tests, NULL, NULL);
}
