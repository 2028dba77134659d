/* An instance that runs and does not answer keeps what its user runs, unless nobody listens there or it hangs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "provisioner/backends/liveness.h"

static const struct error silent = {.code = ERROR_TIMEOUT, .message = "it did not answer"};
static const struct error unasked = {.code = ERROR_CAPACITY, .message = "we could not ask"};

/* An instance, which is no more when it has ended, as those of the backends. */
struct instance {
    struct liveness liveness;
};

struct world {
    struct instance *instance; /* NULL: forgotten */
    bool can_ask;
    int timeout_ms; /* of the probe under way; 0: there is none */
    int probes;
    health_probe_done *done;
    void *argument;
    int told[2]; /* how often it was told that it does not answer, and that it does */
    bool is_forgotten_when_told;
};

static struct world world;

static void forget(void) {
    liveness_drop(&world.instance->liveness);
    free(world.instance);
    world.instance = NULL;
}

static struct health_probe *probe(const void *instance, int timeout_ms, health_probe_done *done, void *argument) {
    assert_ptr_equal(instance, world.instance);
    assert_int_equal(world.timeout_ms, 0); /* one at a time */
    if (!world.can_ask) {
        return NULL;
    }
    world.timeout_ms = timeout_ms;
    world.done = done;
    world.argument = argument;
    world.probes++;
    return (struct health_probe *)&world;
}

/* Instead of health_probe.c's. */
void health_probe_cancel(struct health_probe *cancelled) {
    if (cancelled != NULL) {
        world.timeout_ms = 0;
    }
}

static void end(void *instance) {
    assert_ptr_equal(instance, world.instance);
    liveness_answer(&world.instance->liveness, false);
    forget();
}

static const char *name(const void *instance) {
    assert_ptr_equal(instance, world.instance);
    return "terminals-x";
}

static int open_world(void **state) {
    static const struct liveness_kind kind = {.probe = probe, .end = end, .name = name};
    (void)state;
    world = (struct world){.instance = calloc(1, sizeof *world.instance), .can_ask = true};
    assert_non_null(world.instance);
    world.instance->liveness = (struct liveness){.kind = &kind, .instance = world.instance};
    return 0;
}

static int close_world(void **state) {
    (void)state;
    if (world.instance != NULL) {
        forget();
    }
    return 0;
}

static void on_checked(void *argument, bool alive) {
    (void)argument;
    world.told[alive]++;
    if (world.is_forgotten_when_told && world.instance != NULL) {
        forget();
    }
}

static void check(void) {
    liveness_check(&world.instance->liveness, on_checked, NULL);
}

/* What the probe under way has to say. */
static void hear(const struct error *err, bool is_refused) {
    assert_int_not_equal(world.timeout_ms, 0);
    world.timeout_ms = 0;
    world.done(world.argument, err, is_refused);
}

static void expect_told(int dead, int alive) {
    assert_int_equal(world.told[false], dead);
    assert_int_equal(world.told[true], alive);
}

static void test_all_who_ask_about_one_that_answers_are_told_so_once(void **state) {
    (void)state;
    check();
    check();
    expect_told(0, 0);
    assert_int_equal(world.probes, 1);
    hear(NULL, false);
    expect_told(0, 2);
    assert_int_equal(world.timeout_ms, 0); /* it is not asked on */
}

static void test_one_where_nobody_listens_is_at_its_end(void **state) {
    (void)state;
    check();
    hear(&silent, true);
    assert_null(world.instance);
    expect_told(1, 0);
}

static void test_a_silent_one_where_nobody_listens_any_more_is_at_its_end(void **state) {
    (void)state;
    check();
    hear(&silent, false);
    assert_non_null(world.instance);
    hear(&silent, true);
    assert_null(world.instance);
}

static void test_nobody_waits_for_one_that_is_silent(void **state) {
    (void)state;
    check();
    hear(&silent, false);
    expect_told(1, 0);
    check();
    expect_told(2, 0);
    assert_int_equal(world.probes, 2); /* it is asked on, once */
}

static void test_one_that_hangs_is_at_its_end_after_a_minute(void **state) {
    int waited_ms = 0;
    (void)state;
    check();
    while (world.instance != NULL) {
        assert_true(waited_ms < UNRESPONSIVE_MS);
        waited_ms += world.timeout_ms;
        hear(&silent, false);
    }
    assert_true(waited_ms >= UNRESPONSIVE_MS);
}

static void test_what_it_was_silent_for_before_counts(void **state) {
    (void)state;
    liveness_watch(&world.instance->liveness, UNRESPONSIVE_MS - 1);
    hear(&silent, false);
    assert_null(world.instance);
}

static void test_an_answer_between_two_silences_ends_the_first(void **state) {
    (void)state;
    liveness_watch(&world.instance->liveness, UNRESPONSIVE_MS - 1);
    hear(NULL, false);
    check();
    hear(&silent, false);
    assert_non_null(world.instance);
}

/* Without descriptors, say. */
static void test_whom_we_could_not_ask_is_not_silent(void **state) {
    (void)state;
    check();
    hear(&unasked, false);
    expect_told(0, 1);
    check();
    hear(&silent, false);
    for (int waited_ms = 0; waited_ms < 2 * UNRESPONSIVE_MS; waited_ms += world.timeout_ms) {
        hear(&unasked, false);
        assert_non_null(world.instance);
    }
    expect_told(1, 1);
}

static void test_whom_we_cannot_even_begin_to_ask_is_not_given_up(void **state) {
    (void)state;
    world.can_ask = false;
    check();
    expect_told(0, 1);
    liveness_watch(&world.instance->liveness, UNRESPONSIVE_MS - 1);
    world.can_ask = true;
    check(); /* begins anew */
    hear(&silent, false);
    assert_non_null(world.instance);
}

static void test_whoever_is_told_may_forget_the_instance(void **state) {
    static const struct error *const outcomes[] = {NULL, &silent};
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        open_world(state);
        world.is_forgotten_when_told = true;
        check();
        check();
        hear(outcomes[i], false);
        assert_null(world.instance);
        assert_int_equal(world.timeout_ms, 0);
        assert_int_equal(world.told[false] + world.told[true], 2);
    }
}

static void test_who_waits_for_one_that_is_forgotten_is_not_told(void **state) {
    (void)state;
    check();
    forget();
    assert_int_equal(world.timeout_ms, 0);
    expect_told(0, 0);
}

static void test_who_waits_for_one_that_is_asked_no_more_is_told_later(void **state) {
    (void)state;
    check();
    liveness_cancel(&world.instance->liveness);
    assert_int_equal(world.timeout_ms, 0);
    expect_told(0, 0);
    liveness_answer(&world.instance->liveness, false);
    expect_told(1, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_who_ask_about_one_that_answers_are_told_so_once),
        TEST(test_one_where_nobody_listens_is_at_its_end),
        TEST(test_a_silent_one_where_nobody_listens_any_more_is_at_its_end),
        TEST(test_nobody_waits_for_one_that_is_silent),
        TEST(test_one_that_hangs_is_at_its_end_after_a_minute),
        TEST(test_what_it_was_silent_for_before_counts),
        TEST(test_an_answer_between_two_silences_ends_the_first),
        TEST(test_whom_we_could_not_ask_is_not_silent),
        TEST(test_whom_we_cannot_even_begin_to_ask_is_not_given_up),
        cmocka_unit_test(test_whoever_is_told_may_forget_the_instance),
        TEST(test_who_waits_for_one_that_is_forgotten_is_not_told),
        TEST(test_who_waits_for_one_that_is_asked_no_more_is_told_later),
    };
    return cmocka_run_group_tests_name("liveness", tests, NULL, NULL);
}
