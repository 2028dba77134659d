/* What the provisioner cannot be told at the moment, it is told later. */
#include "tests/unit/fcgi-api/world.h"

#include <pthread.h>
#include <semaphore.h>

#include "common/clock.h"
#include "common/log.h"
#include "fcgi-api/identity_announcer.h"

#define TOLD_MAX 4

/* A provisioner that fails the first times, and remembers of whom it was told. */
struct told {
    int failures;
    enum error_code code;
    char users[TOLD_MAX][32];
    size_t count;
    sem_t asked;
    struct identity_announcer *announcer;
};

static struct json_object *take(void *argument, struct json_object *request, int timeout_ms, struct error *err) {
    (void)timeout_ms;
    struct told *told = argument;
    struct json_object *answer = NULL;
    if (told->failures > 0) {
        told->failures--;
        error_set(err, told->code, "the provisioner is away");
    } else {
        assert_true(told->count < TOLD_MAX);
        strncpy(told->users[told->count++], json_get_string(request, "user_id"), sizeof told->users[0] - 1);
        answer = json_object_new_object();
    }
    json_object_put(request);
    sem_post(&told->asked);
    return answer;
}

static void *run(void *argument) {
    struct told *told = argument;
    struct provisioner provisioner = {take, told};
    identity_announcer_run(told->announcer, &provisioner);
    return NULL;
}

/* Announces alice's token, which is good for another `left_ms`, and bob's, and waits until the provisioner was asked
 * `times`. */
static void announce(struct told *told, int64_t left_ms, int times) {
    pthread_t thread;
    int64_t now_ms = clock_unix_ms();
    identity_announcer_tell(told->announcer, "A1", "alice", now_ms + left_ms);
    identity_announcer_tell(told->announcer, "B0", "bob", now_ms + 3600 * 1000);
    assert_int_equal(pthread_create(&thread, NULL, run, told), 0);
    for (int i = 0; i < times; i++) {
        sem_wait(&told->asked);
    }
    identity_announcer_stop(told->announcer);
    pthread_join(thread, NULL);
}

static int set_up(void **state) {
    log_configure("test", LOG_ERROR, LOG_TEXT);
    struct told *told = calloc(1, sizeof *told);
    *state = told;
    told->announcer = identity_announcer_new();
    told->failures = 1;
    told->code = ERROR_CAPACITY;
    return sem_init(&told->asked, 0, 0);
}

static int tear_down(void **state) {
    struct told *told = *state;
    identity_announcer_free(told->announcer);
    sem_destroy(&told->asked);
    free(told);
    return 0;
}

/* Twice, so that a loss shows as the wrong user and not as a test that waits for ever. */
static void test_a_provisioner_that_was_away_is_told_of_all(void **state) {
    struct told *told = *state;
    announce(told, 3600 * 1000, 2);
    assert_true(told->count >= 1);
    assert_string_equal(told->users[0], "alice");
}

static void test_a_token_whose_time_is_over_holds_up_nobody(void **state) {
    struct told *told = *state;
    announce(told, -1, 2);
    assert_int_equal(told->count, 1);
    assert_string_equal(told->users[0], "bob");
}

static void test_what_is_refused_is_not_told_again(void **state) {
    struct told *told = *state;
    told->code = ERROR_INVALID;
    announce(told, 3600 * 1000, 2);
    assert_int_equal(told->count, 1);
    assert_string_equal(told->users[0], "bob");
}

static void test_it_ends_while_the_provisioner_is_away(void **state) {
    struct told *told = *state;
    told->failures = 1000;
    announce(told, 3600 * 1000, 1);
    assert_int_equal(told->count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_provisioner_that_was_away_is_told_of_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_token_whose_time_is_over_holds_up_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_refused_is_not_told_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_ends_while_the_provisioner_is_away, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
