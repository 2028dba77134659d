/* A provisioner that is killed in the middle of scheduled resets: before each single call that changes a file, its own
 * or SQLite's, one run after the other. Whatever the moment, the successor finds that a reset has happened, and then
 * leaves the folder to its user, or does it itself; it is recorded once, and nobody else loses anything. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "provisioner/audit.h"
#include "provisioner/lifecycles.h"
#include "provisioner/policies.h"
#include "provisioner/resets.h"
#include "tests/unit/provisioner/world.h"

#define DAY_MS 86400000LL

/* --- the calls ---------------------------------------------------------------------------------------------------- */

static atomic_int calls_left = -1; /* until the kill; negative: not armed */
static atomic_int calls_made;

static void before_a_call(void) {
    if (atomic_load(&calls_left) < 0) {
        return;
    }
    atomic_fetch_add(&calls_made, 1);
    if (atomic_fetch_sub(&calls_left, 1) == 0) {
        raise(SIGKILL);
    }
}

/* In place of libc's, for us and for the libraries. */
int renameat(int old_folder, const char *old_name, int new_folder, const char *new_name) {
    before_a_call();
    return (int)syscall(SYS_renameat2, old_folder, old_name, new_folder, new_name, 0);
}

int mkdirat(int folder, const char *name, mode_t mode) {
    before_a_call();
    return (int)syscall(SYS_mkdirat, folder, name, mode);
}

int unlinkat(int folder, const char *name, int flags) {
    before_a_call();
    return (int)syscall(SYS_unlinkat, folder, name, flags);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    before_a_call();
    return syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    before_a_call();
    return syscall(SYS_pwrite64, fd, data, length, offset);
}

/* --- the users ---------------------------------------------------------------------------------------------------- */

/* The first three have the schedule's policy: one runs, one does not, one never had a folder. */
static const char *const users[] = {"runs", "rests", "empty", "other"};
enum { RUNS, RESTS, EMPTY, OTHER, USER_COUNT };

static const char *policy_of(int user) {
    return user == OTHER ? "other" : NAME_DEFAULT;
}

static struct tenant *tenant_of(struct world *world, int user) {
    char route_key[DIGEST_HEX_SIZE];
    name_route_key(users[user], policy_of(user), NAME_DEFAULT, route_key);
    return tenants_find(&world->provisioner, route_key);
}

static void path_in_home(const struct world *world, int user, const char *file, char path[512]) {
    snprintf(path, 512, user == OTHER ? "%s/.policies/%s/other/%s" : "%s/%s/%s", world->data_dir, users[user], file);
}

static bool has(const struct world *world, int user, const char *file) {
    char path[512];
    path_in_home(world, user, file, path);
    return access(path, F_OK) == 0;
}

static void put(struct world *world, int user, const char *file) {
    struct error err;
    char path[512];
    free(home_folder_create(world->provisioner.homes, users[user], policy_of(user), NAME_DEFAULT, &err));
    path_in_home(world, user, file, path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0) {
        fail_msg("create `%s`", path);
    }
    close(fd);
}

static void set_up(struct world *world) {
    struct error err = {0};
    struct provisioner *provisioner = &world->provisioner;
    struct json_object *nothing = json_object_new_object();
    struct json_object *monthly = json_tokener_parse("{\"reset\": {\"schedule\": \"@monthly\"}}");
    int64_t before_ms = clock_unix_ms() - 100 * DAY_MS;
    assert_non_null(policies_create(provisioner, "other", nothing, &err));
    assert_true(lifecycles_set(provisioner, NAME_DEFAULT, monthly, before_ms, &err));
    for (int user = 0; user < USER_COUNT; user++) {
        struct told told = {0};
        struct tenant_name name = {users[user], policy_of(user), NAME_DEFAULT, ""};
        name_route_key(name.user_id, name.policy_id, name.context_id, name.route_key);
        struct tenant *tenant = tenants_add(provisioner, &name, &err);
        assert_non_null(tenant);
        tenant->record.created_at_ms = before_ms;
        starts_want(provisioner, tenant, NULL, told_done, &told);
        assert_string_equal(told.err.message, "");
        if (user != EMPTY) {
            put(world, user, "old");
        }
        if (user == RESTS || user == EMPTY) {
            stops_want(provisioner, tenant, "tenant_stopped", NULL, told_done, &told);
        }
    }
    char path[512];
    path_in_home(world, EMPTY, "", path);
    assert_int_equal(rmdir(path), 0);
    json_object_put(nothing);
    json_object_put(monthly);
}

/* --- a run -------------------------------------------------------------------------------------------------------- */

static void on_reset(void *argument, const struct resets_result *result) {
    *(struct resets_result *)argument = *result;
}

static bool trash_is_empty(const struct world *world) {
    char path[512];
    snprintf(path, sizeof path, "%s/.trash", world->data_dir);
    struct stat status;
    return stat(path, &status) < 0 || status.st_nlink == 2;
}

static void run_resets(struct world *world, struct resets_result *result) {
    *result = (struct resets_result){.failed = SIZE_MAX};
    WORLD_UNTIL(world, world->provisioner.routes_are_built);
    resets_run(&world->provisioner, on_reset, result);
    WORLD_UNTIL(world, result->failed != SIZE_MAX && trash_is_empty(world));
}

static void copy_folder(const char *from, const char *to) {
    char command[512];
    snprintf(command, sizeof command, "rm -rf %s && cp -a %s %s", to, from, to);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c): names of our own
}

/* Runs and is killed before the call of this number; true if it was. */
static bool run_and_be_killed(struct world *world, int call) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct resets_result result;
        world_open_provisioner(world);
        atomic_store(&calls_left, call);
        run_resets(world, &result);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
                (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    return WIFSIGNALED(status);
}

static int rows_of(struct world *world, int user) {
    struct error err;
    int64_t total = 0;
    const struct audit_filter filter = {.action = "scheduled_reset", .user_id = users[user], .limit = 100};
    struct json_object *rows = audit_list(&world->provisioner, &filter, &total, &err);
    assert_non_null(rows);
    json_object_put(rows);
    return (int)total;
}

static void expect_everyone_s(struct world *world, int call, const bool *works_again) {
    for (int user = 0; user < USER_COUNT; user++) {
        bool is_scheduled = user != OTHER;
        if (has(world, user, "old") != !is_scheduled || has(world, user, "new") != works_again[user] ||
            rows_of(world, user) != (is_scheduled ? 1 : 0) ||
            (tenant_of(world, user)->last_reset_ms != 0) != is_scheduled) {
            fail_msg("killed before call %d: `%s` has old %d, new %d (expected %d), %d rows", call, users[user],
                     has(world, user, "old"), has(world, user, "new"), works_again[user], rows_of(world, user));
        }
    }
}

/* The successor: who lost the old files works on at once, before the successor looks what is due. */
static void succeed(struct world *world, int call) {
    struct resets_result result;
    bool works_again[USER_COUNT] = {false};
    world_open_provisioner(world);
    WORLD_UNTIL(world, world->provisioner.routes_are_built && trash_is_empty(world));
    for (int user = 0; user < EMPTY; user++) {
        if (!has(world, user, "old")) {
            put(world, user, "new");
            works_again[user] = true;
        }
    }
    run_resets(world, &result);
    assert_int_equal(result.failed, 0);
    expect_everyone_s(world, call, works_again);
    world_close_provisioner(world);
    /* And so it stays. */
    world_open_provisioner(world);
    run_resets(world, &result);
    assert_int_equal(result.reset, 0);
    expect_everyone_s(world, call, works_again);
    world_close_provisioner(world);
}

static void a_kill_before_any_call_loses_and_repeats_nothing(void **state) {
    struct world *world = *state;
    char template[96];
    int call = 0;
    set_up(world);
    world_close_provisioner(world);
    snprintf(template, sizeof template, "%s.template", world->folder);
    copy_folder(world->folder, template);
    while (run_and_be_killed(world, call)) {
        succeed(world, call++);
        copy_folder(template, world->folder);
    }
    print_message("killed before each of %d calls\n", call);
    assert_true(call > 20);
    succeed(world, call);
    temporary_folder_remove(template);
    world_open_provisioner(world); /* for world_remove() */
}

int main(void) {
    if (test_database_server() != NULL) {
        print_message("this test copies SQLite's file, and is run on that\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kill_before_any_call_loses_and_repeats_nothing, world_make, world_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
