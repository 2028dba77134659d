/* Dates as people and other programs write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"

static void test_formats(void **state) {
    (void)state;
    char text[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    clock_format_rfc3339(1795456800123, text);
    assert_string_equal(text, "2026-11-23T18:00:00.123Z");
    clock_format_rfc3339(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
}

static void test_parses_what_it_formats_and_what_others_write(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t unix_ms;
    } good[] = {
        {"2026-11-23T18:00:00.123Z", 1795456800123},
        {"2026-11-23T20:00:00.123+02:00", 1795456800123},
        {"2026-11-23 18:00:00Z", 1795456800000},
        {"2026-11-23", 1795392000000},
        {"2024-02-29", 1709164800000},
        {"2026-11-23T18:00:00.1239999Z", 1795456800123},
        {"2016-12-31T23:59:60Z", 1483228800000},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t unix_ms = 0;
        assert_true(clock_parse_rfc3339(good[i].text, &unix_ms));
        assert_int_equal(unix_ms, good[i].unix_ms);
    }
    static const char *const bad[] = {
        "",
        "now",
        "2026-13-01",
        "2026-02-29",
        "2026-02-00",
        "2026-11-23T24:00:00Z",
        "2026-11-23T18:00Z",
        "2026-11-23T18:00:00",
        "2026-11-23T18:00:00Zx",
        "2026-11-23T18:00:00+0200",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t unix_ms = 0;
        assert_false(clock_parse_rfc3339(bad[i], &unix_ms));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_parses_what_it_formats_and_what_others_write),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
