/* An instance that runs and does not answer keeps what its user runs, unless nobody listens there or it hangs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provisioner/backends/silence.h"

static const struct error silent = {.code = ERROR_TIMEOUT, .message = "it did not answer"};

static enum silence hear(int *silent_ms, const struct error *err, bool is_refused) {
    return silence_after(silent_ms, err, is_refused, "terminals-x");
}

static void test_one_that_answers_is_not_silent(void **state) {
    int silent_ms = 0;
    (void)state;
    assert_int_equal(hear(&silent_ms, NULL, false), SILENCE_NONE);
    assert_int_equal(silent_ms, 0);
}

static void test_one_where_nobody_listens_is_at_its_end(void **state) {
    int silent_ms = 0;
    (void)state;
    assert_int_equal(hear(&silent_ms, &silent, true), SILENCE_TOO_LONG);
    silent_ms = 0;
    assert_int_equal(hear(&silent_ms, &silent, false), SILENCE_BORNE);
    assert_int_equal(hear(&silent_ms, &silent, true), SILENCE_TOO_LONG);
}

static void test_one_that_hangs_is_at_its_end_after_a_minute(void **state) {
    int silent_ms = 0;
    int waited_ms = SILENCE_CHECK_MS;
    (void)state;
    while (waited_ms < UNRESPONSIVE_MS) {
        assert_int_equal(hear(&silent_ms, &silent, false), SILENCE_BORNE);
        assert_int_equal(silent_ms, waited_ms);
        waited_ms += SILENCE_WATCH_MS;
    }
    assert_int_equal(hear(&silent_ms, &silent, false), SILENCE_TOO_LONG);
}

/* Without descriptors, say. */
static void test_whom_we_could_not_ask_is_not_silent(void **state) {
    static const struct error unasked = {.code = ERROR_CAPACITY, .message = "we could not ask"};
    int silent_ms = 0;
    (void)state;
    assert_int_equal(hear(&silent_ms, &unasked, false), SILENCE_NONE);
    assert_int_equal(hear(&silent_ms, &silent, false), SILENCE_BORNE);
    int before_ms = silent_ms;
    for (int waited_ms = 0; waited_ms < 2 * UNRESPONSIVE_MS; waited_ms += SILENCE_WATCH_MS) {
        assert_int_equal(hear(&silent_ms, &unasked, false), SILENCE_BORNE);
    }
    assert_int_equal(silent_ms, before_ms);
}

static void test_an_answer_between_two_silences_ends_the_first(void **state) {
    int silent_ms = UNRESPONSIVE_MS - 1;
    (void)state;
    assert_int_equal(hear(&silent_ms, NULL, false), SILENCE_NONE);
    assert_int_equal(hear(&silent_ms, &silent, false), SILENCE_BORNE);
    assert_int_equal(silent_ms, SILENCE_CHECK_MS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_that_answers_is_not_silent),
        cmocka_unit_test(test_one_where_nobody_listens_is_at_its_end),
        cmocka_unit_test(test_one_that_hangs_is_at_its_end_after_a_minute),
        cmocka_unit_test(test_whom_we_could_not_ask_is_not_silent),
        cmocka_unit_test(test_an_answer_between_two_silences_ends_the_first),
    };
    return cmocka_run_group_tests_name("silence", tests, NULL, NULL);
}
