/* Ids: what may be told twice must be known by its id, and an index of ids must not grow everywhere at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/digest.h"

static void test_an_id_begins_with_the_time(void **state) {
    (void)state;
    char id[37], other[37], time_text[14];
    int64_t before_ms = clock_unix_ms();
    assert_true(digest_uuid_by_time(id));
    assert_true(digest_uuid_by_time(other));
    int64_t after_ms = clock_unix_ms();
    assert_int_equal(strlen(id), 36);
    assert_int_equal(id[14], '7');
    assert_non_null(strchr("89ab", id[19]));
    memcpy(time_text, id, 8);
    memcpy(time_text + 8, id + 9, 4);
    time_text[12] = '\0';
    assert_in_range(strtoll(time_text, NULL, 16), before_ms, after_ms);
    assert_string_not_equal(id, other);
}

static void test_a_random_id_is_version_4(void **state) {
    (void)state;
    char id[37];
    assert_true(digest_uuid(id));
    assert_int_equal(id[14], '4');
    assert_non_null(strchr("89ab", id[19]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_begins_with_the_time),
        cmocka_unit_test(test_a_random_id_is_version_4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
