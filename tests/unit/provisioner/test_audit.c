/* The audit log says what happened, no more and no less, also when the disk is full or the provisioner was killed. */
#include "provisioner/activity.h"
#include "provisioner/audit.h"
#include "provisioner/audit_retention.h"
#include "provisioner/backlog.h"
#include "tests/unit/provisioner/world.h"

/* All that the log holds, oldest first: "action user detail by-request-id\n" */
static const char *log_text(struct world *world) {
    static char text[4096];
    struct error err;
    int64_t total = 0;
    const struct audit_filter filter = {.limit = 1000};
    cleanup_json struct json_object *rows = audit_list(&world->provisioner, &filter, &total, &err);
    assert_non_null(rows);
    text[0] = '\0';
    for (size_t i = json_object_array_length(rows); i-- > 0;) {
        struct json_object *row = json_object_array_get_idx(rows, i);
        const char *detail = json_get_string(row, "detail");
        const char *request = json_get_string(row, "request_id");
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s %s%s%s%s%s\n", json_get_string(row, "action"),
                 json_get_string(row, "user_id"), detail == NULL ? "" : ": ", detail == NULL ? "" : detail,
                 request == NULL ? "" : " by ", request == NULL ? "" : request);
    }
    return text;
}

static struct json_object *actor(const char *request_id) {
    struct json_object *object = json_object_new_object();
    assert_true(json_add_string(object, "request_id", request_id));
    return object;
}

static void test_a_start_that_could_not_be_written_is_not_in_it(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world_set_database_full(world, true);
    world_start(world, "ann", &told);
    assert_int_equal(told.times, 1);
    assert_null(told.tenant);
    world_set_database_full(world, false);
    activity_flush(&world->provisioner);
    assert_string_equal(log_text(world), "");
    world_start(world, "ann", &told);
    assert_string_equal(log_text(world), "tenant_created ann\ntenant_started ann\n");
}

static void test_what_happened_while_the_disk_was_full_is_written_later(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world_start(world, "ann", &told);
    world_set_database_full(world, true);
    fake_backend.events.gone(&world->provisioner, told.tenant->record.instance_id, "killed by signal 9");
    assert_string_equal(log_text(world), "tenant_created ann\ntenant_started ann\n");
    world_set_database_full(world, false);
    activity_flush(&world->provisioner);
    assert_string_equal(log_text(world),
                        "tenant_created ann\ntenant_started ann\ntenant_stopped ann: killed by signal 9\n");
    activity_flush(&world->provisioner);
    assert_int_equal(world->provisioner.staged_audit_count, 0);
}

static void expect_file(struct world *world, const char *name, bool is_there) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", world->run_dir, name);
    assert_int_equal(access(path, F_OK) == 0, is_there);
}

static void test_what_happened_while_the_disk_was_full_outlives_us(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world_start(world, "ann", &told);
    world_set_database_full(world, true);
    const struct audit_event event = {
        .action = "auth_failed", .detail = "caf\xc3\xa9 \"x\"\n", .user_id = "bob", .status_code = 401};
    audit_append(&world->provisioner, &event);
    audit_append(&world->provisioner, &event);
    expect_file(world, "audit.backlog", true);
    told.tenant->last_active_ms = clock_monotonic_ms() - 60000;
    activity_touch(told.tenant, clock_monotonic_ms());
    int64_t accessed_ms = told.tenant->record.last_accessed_at_ms;
    world_restart(world);
    expect_file(world, "audit.backlog", false);
    expect_file(world, "accesses.backlog", true);
    assert_string_equal(log_text(world),
                        "tenant_created ann\ntenant_started ann\nauth_failed bob: caf\xc3\xa9 \"x\"\n\n"
                        "auth_failed bob: caf\xc3\xa9 \"x\"\n\n");
    /* Each turn between the two clocks may lose the rest of a millisecond. */
    assert_true(world_find(world, "ann")->record.last_accessed_at_ms >= accessed_ms - 2);
    activity_flush(&world->provisioner);
    expect_file(world, "accesses.backlog", false);
}

static void test_a_backlog_that_says_nothing_new_goes(void **state) {
    struct world *world = *state;
    struct told told = {0};
    struct error err;
    world_start(world, "ann", &told);
    activity_flush(&world->provisioner);
    const struct kept_access known = {told.tenant->record.route_key, told.tenant->record.last_accessed_at_ms};
    assert_true(backlog_keep_accesses(world->provisioner.backlog, &known, 1, &err));
    world_restart(world);
    activity_flush(&world->provisioner);
    expect_file(world, "accesses.backlog", false);
}

static void test_half_a_line_of_a_backlog_is_left_out(void **state) {
    struct world *world = *state;
    char path[256];
    world_set_database_full(world, true);
    audit_append(&world->provisioner, &(struct audit_event){.action = "auth_failed", .user_id = "bob"});
    snprintf(path, sizeof path, "%s/audit.backlog", world->run_dir);
    FILE *file = fopen(path, "a");
    fputs("no JSON\n{\"id\": \"1\"}\n{\"id\": \"cut", file);
    fclose(file);
    world_restart(world);
    assert_string_equal(log_text(world), "auth_failed bob\n");
    expect_file(world, "audit.backlog", false);
}

static void test_a_deletion_that_could_not_be_written_is_not_in_it(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world_start(world, "ann", &told);
    world_stop(world, "ann", &told);
    world_set_database_full(world, true);
    told = (struct told){0};
    world_delete(world, "ann", false, &told);
    assert_int_equal(told.times, 1);
    assert_int_not_equal(told.err.code, ERROR_NONE);
    world_set_database_full(world, false);
    activity_flush(&world->provisioner);
    assert_null(strstr(log_text(world), "tenant_deleted"));
    world_delete(world, "ann", false, &told);
    assert_non_null(strstr(log_text(world), "tenant_deleted ann\n"));
}

static void test_a_stop_and_the_deletion_that_overtakes_it_are_two(void **state) {
    struct world *world = *state;
    struct told told = {0};
    cleanup_json struct json_object *stopper = actor("s");
    cleanup_json struct json_object *deleter = actor("d");
    world_start(world, "ann", &told);
    fake_backend.on_stop = FAKE_WAIT;
    stops_want(&world->provisioner, told.tenant, "tenant_stopped", stopper, told_done, &told);
    stops_want_deletion(&world->provisioner, told.tenant, false, deleter, told_done, &told);
    fake_backend.events.stopped(&world->provisioner, fake_backend.last_id);
    assert_string_equal(log_text(world), "tenant_created ann\ntenant_started ann\ntenant_stopped ann by s\n"
                                         "tenant_deleted ann by d\n");
}

static void test_a_start_that_was_called_off_in_the_queue(void **state) {
    struct world *world = *state;
    static struct told told; /* who waits is told at the very end */
    fake_backend.on_start = FAKE_WAIT;
    world_start(world, "ann", &told);
    world_start(world, "bob", &told);
    world_start(world, "eve", &told); /* two at a time */
    world_stop(world, "eve", &told);
    assert_string_equal(log_text(world), "tenant_created ann\ntenant_created bob\ntenant_created eve\n"
                                         "tenant_stopped eve: before it had started\n");
    world_stop(world, "eve", &told); /* again: nothing happens */
    assert_null(strstr(strstr(log_text(world), "tenant_stopped") + 1, "tenant_stopped"));
}

static void test_a_start_and_a_stop_go_on_after_a_kill(void **state) {
    struct world *world = *state;
    struct told told = {0};
    world_start(world, "ann", &told);
    fake_backend.on_stop = FAKE_WAIT;
    world_stop(world, "ann", &told);
    fake_backend.on_start = FAKE_WAIT;
    world_start(world, "bob", &told);
    fake_backend.on_stop = FAKE_SUCCEED;
    world_restart(world);
    assert_state(world_find(world, "ann"), INSTANCE_STOPPED);
    assert_state(world_find(world, "bob"), INSTANCE_RUNNING);
    assert_non_null(strstr(log_text(world), "tenant_stopped ann: the stop outlived a provisioner\n"));
    assert_non_null(strstr(log_text(world), "tenant_started bob: the start outlived a provisioner\n"));
}

static void test_what_waits_for_a_disk_is_bounded(void **state) {
    struct world *world = *state;
    struct error err;
    world_set_database_full(world, true);
    for (int i = 0; i < AUDIT_STAGED_MAX + 50; i++) {
        audit_append(&world->provisioner, &(struct audit_event){.action = "auth_failed"});
    }
    assert_int_equal(world->provisioner.staged_audit_count, AUDIT_STAGED_MAX);
    world_set_database_full(world, false);
    assert_true(audit_flush(&world->provisioner, &err));
    int64_t total = 0;
    const struct audit_filter filter = {.limit = 1};
    json_object_put(audit_list(&world->provisioner, &filter, &total, &err));
    assert_int_equal(total, AUDIT_STAGED_MAX);
}

static void test_old_rows_go_in_batches_and_newer_ones_stay(void **state) {
    struct world *world = *state;
    struct error err;
    world->settings.audit_retention_days = 1;
    struct audit_retention *retention = audit_retention_open(&world->provisioner, &err);
    int64_t total = 0;
    const struct audit_filter filter = {.limit = 1};
    for (int i = 0; i < 200; i++) {
        char id[37];
        assert_true(digest_uuid_by_time(id));
        int64_t age_ms = i < 190 ? 86400000 + 1000 : 86400000 - 60000;
        const struct audit_record record = {
            .id = id, .action = "auth_failed", .severity = "info", .created_at_ms = clock_unix_ms() - age_ms};
        assert_true(store_append_audit(world->provisioner.store, &record, &err));
    }
    audit_retention_begin(retention);
    audit_retention_begin(retention); /* twice is once */
    event_base_loop(world->base, EVLOOP_NONBLOCK);
    json_object_put(audit_list(&world->provisioner, &filter, &total, &err));
    assert_in_range(total, 11, 199); /* a batch, and then others have their turn */
    WORLD_UNTIL(world, (json_object_put(audit_list(&world->provisioner, &filter, &total, &err)), total) == 10);
    audit_retention_close(retention);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_start_that_could_not_be_written_is_not_in_it, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_what_happened_while_the_disk_was_full_is_written_later, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_what_happened_while_the_disk_was_full_outlives_us, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_backlog_that_says_nothing_new_goes, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_half_a_line_of_a_backlog_is_left_out, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_deletion_that_could_not_be_written_is_not_in_it, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_stop_and_the_deletion_that_overtakes_it_are_two, world_make,
                                        world_remove),
        cmocka_unit_test_setup_teardown(test_a_start_that_was_called_off_in_the_queue, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_a_start_and_a_stop_go_on_after_a_kill, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_what_waits_for_a_disk_is_bounded, world_make, world_remove),
        cmocka_unit_test_setup_teardown(test_old_rows_go_in_batches_and_newer_ones_stay, world_make, world_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
