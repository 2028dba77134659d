/* Failed credentials reach the audit log, in few words, from a thread that nobody waits for. */
#include "tests/unit/fcgi-api/world.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>

#include "common/log.h"
#include "fcgi-api/auth_failures.c"

#define EVENTS_MAX 128

/* What was told, and a way to wait for it. */
struct told {
    struct json_object *events[EVENTS_MAX];
    size_t count;
    sem_t arrived;
    struct auth_failures *failures;
};

static struct json_object *take_event(void *argument, struct json_object *request, int timeout_ms, struct error *err) {
    (void)timeout_ms;
    (void)err;
    struct told *told = argument;
    assert_true(told->count < EVENTS_MAX);
    told->events[told->count++] = request;
    sem_post(&told->arrived);
    return json_object_new_object();
}

static void *run(void *argument) {
    struct told *told = argument;
    struct provisioner provisioner = {take_event, told};
    auth_failures_run(told->failures, &provisioner);
    return NULL;
}

static void add(struct auth_failures *failures, const char *address, const char *detail) {
    struct error err = {0};
    error_set(&err, ERROR_UNAUTHORIZED, "%s", detail);
    cleanup_free char *list = NULL;
    assert_true(
        asprintf(&list, "TERMINALS_CLIENT=%s\nREQUEST_URI=/path?token=hidden\nHTTP_X_USER_ID=alice\n", address) > 0);
    cleanup_world_request struct world_request request;
    world_request_init(&request, list);
    auth_failures_add(failures, &request.request, &err);
}

/* Runs the sender until `expected` events are there, and checks that no more are. */
static void tell(struct told *told, size_t expected) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run, told), 0);
    for (size_t i = 0; i < expected; i++) {
        sem_wait(&told->arrived);
    }
    auth_failures_stop(told->failures);
    pthread_join(thread, NULL);
    assert_int_equal(told->count, expected);
}

static int set_up(void **state) {
    log_configure("test", LOG_ERROR, LOG_TEXT);
    struct told *told = calloc(1, sizeof *told);
    *state = told;
    told->failures = auth_failures_new();
    return sem_init(&told->arrived, 0, 0);
}

static int tear_down(void **state) {
    struct told *told = *state;
    for (size_t i = 0; i < told->count; i++) {
        json_object_put(told->events[i]);
    }
    auth_failures_free(told->failures);
    sem_destroy(&told->arrived);
    free(told);
    return 0;
}

static void test_one_failure_is_told_as_it_was(void **state) {
    struct told *told = *state;
    add(told->failures, "192.0.2.1", "Invalid API key");
    tell(told, 1);
    assert_non_null(json_get_string(told->events[0], "event_id"));
    assert_int_equal(strlen(json_get_string(told->events[0], "event_id")), 36);
    json_object_object_del(told->events[0], "event_id");
    assert_string_equal(json_text(told->events[0], NULL),
                        "{\"op\":\"audit\",\"actor\":{\"ip\":\"192.0.2.1\"},\"action\":\"auth_failed\","
                        "\"severity\":\"warning\",\"resource_type\":\"path\",\"resource_id\":\"/path\","
                        "\"status_code\":401,\"user_id\":\"alice\",\"detail\":\"Invalid API key\"}");
}

static void test_a_flood_is_one_event(void **state) {
    struct told *told = *state;
    for (int i = 0; i < 100000; i++) {
        add(told->failures, "192.0.2.1", "Invalid API key");
    }
    tell(told, 1);
    assert_string_equal(json_get_string(told->events[0], "detail"), "Invalid API key (100000 times)");
}

static void test_addresses_and_reasons_are_kept_apart(void **state) {
    struct told *told = *state;
    add(told->failures, "192.0.2.1", "Invalid API key");
    add(told->failures, "192.0.2.2", "Invalid API key");
    add(told->failures, "192.0.2.1", "Missing Authorization header");
    tell(told, 3);
}

static void test_a_flood_from_everywhere_is_a_few_events(void **state) {
    struct told *told = *state;
    for (int i = 0; i < 1000; i++) {
        char address[32];
        snprintf(address, sizeof address, "2001:db8::%x", (unsigned)i);
        add(told->failures, address, "Invalid API key");
    }
    tell(told, 65);
    assert_string_equal(json_get_string(told->events[64], "detail"),
                        "Invalid API key (936 times, from several addresses)");
}

static void test_a_flood_without_end_is_a_row_now_and_then(void **state) {
    struct told *told = *state;
    /* As after all that may come at once but for one. */
    told->failures->full_ms = clock_monotonic_ms() + (int64_t)(AUTH_FAILURES_BURST - 1) * AUTH_FAILURES_REFILL_MS;
    add(told->failures, "192.0.2.1", "Invalid API key");
    add(told->failures, "192.0.2.2", "Invalid API key");
    tell(told, 1);
    struct kind *waiting = find_kind(told->failures, "192.0.2.2", "Invalid API key");
    waiting = waiting->count > 0 ? waiting : find_kind(told->failures, "192.0.2.1", "Invalid API key");
    assert_int_equal(waiting->count, 1); /* counted, and told when there is room */
    int64_t next_ms = 0;
    assert_null(take_due(told->failures, &next_ms));
    assert_in_range(next_ms - clock_monotonic_ms(), AUTH_FAILURES_REFILL_MS - 5000, AUTH_FAILURES_REFILL_MS);
}

/* The id of the event that was not answered, from which the provisioner tells that it comes again. */
static char id_unanswered[37];

static struct json_object *take_event_the_second_time(void *argument, struct json_object *request, int timeout_ms,
                                                      struct error *err) {
    if (*id_unanswered == '\0') {
        const char *id = json_get_string(request, "event_id");
        snprintf(id_unanswered, sizeof id_unanswered, "%s", id == NULL ? "none" : id);
        json_object_put(request);
        error_set(err, ERROR_TIMEOUT, "the provisioner did not answer");
        return NULL;
    }
    return take_event(argument, request, timeout_ms, err);
}

static void *run_the_second_time(void *argument) {
    struct told *told = argument;
    struct provisioner provisioner = {take_event_the_second_time, told};
    auth_failures_run(told->failures, &provisioner);
    return NULL;
}

static void test_what_was_not_answered_is_told_again_as_the_same_event(void **state) {
    struct told *told = *state;
    pthread_t thread;
    *id_unanswered = '\0';
    add(told->failures, "192.0.2.1", "Invalid API key");
    assert_int_equal(pthread_create(&thread, NULL, run_the_second_time, told), 0);
    sem_wait(&told->arrived);
    auth_failures_stop(told->failures);
    pthread_join(thread, NULL);
    assert_int_equal(told->count, 1);
    assert_non_null(json_get_string(told->events[0], "event_id"));
    assert_string_equal(json_get_string(told->events[0], "event_id"), id_unanswered);
}

static void test_it_ends_when_told_with_nothing_to_tell(void **state) {
    tell(*state, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_failure_is_told_as_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_flood_is_one_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses_and_reasons_are_kept_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_flood_from_everywhere_is_a_few_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_flood_without_end_is_a_row_now_and_then, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_not_answered_is_told_again_as_the_same_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_ends_when_told_with_nothing_to_tell, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
