#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/backoff.h"

static void test_the_pause_doubles_up_to_five_seconds(void **state) {
    (void)state;
    static const int64_t expected[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct backoff backoff = {0};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_int_equal(backoff_next(&backoff, 3), expected[i]);
    }
}

static void test_who_lived_ten_seconds_starts_afresh(void **state) {
    (void)state;
    struct backoff backoff = {0};
    backoff_next(&backoff, 0);
    assert_int_equal(backoff_next(&backoff, BACKOFF_HEALTHY_MS - 1), 200);
    assert_int_equal(backoff_next(&backoff, BACKOFF_HEALTHY_MS), 100);
    assert_int_equal(backoff_next(&backoff, 0), 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_pause_doubles_up_to_five_seconds),
        cmocka_unit_test(test_who_lived_ten_seconds_starts_afresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
