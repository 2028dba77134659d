/* What an administrator may write as a schedule, and when it comes next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/clock.h"
#include "provisioner/schedule.h"

static int64_t at(const char *rfc3339) {
    int64_t unix_ms = 0;
    if (!clock_parse_rfc3339(rfc3339, &unix_ms)) {
        fail_msg("`%s` is no time", rfc3339);
    }
    return unix_ms / 1000;
}

static const char *shown(int64_t unix_s) {
    static char text[2][CLOCK_RFC3339_SIZE];
    static int turn;
    turn = !turn;
    if (unix_s == SCHEDULE_NEVER) {
        return "never";
    }
    clock_format_rfc3339(unix_s * 1000, text[turn]);
    text[turn][strlen("2026-01-31T03:00:00")] = '\0';
    strcat(text[turn], "Z");
    return text[turn];
}

static struct time_zone *zone_of(const char *name) {
    struct error err;
    struct time_zone *zone = time_zone_open(name, &err);
    if (zone == NULL) {
        fail_msg("%s", err.message);
    }
    return zone;
}

static void expect(const char *text, const char *zone_name, const char *after, const char *const *times) {
    struct error err;
    struct schedule schedule;
    struct time_zone *zone = zone_of(zone_name);
    if (!schedule_parse(text, &schedule, &err)) {
        fail_msg("`%s`: %s", text, err.message);
    }
    int64_t now = at(after);
    for (; *times != NULL; times++) {
        now = schedule_next(&schedule, zone, now);
        if (strcmp(shown(now), *times) != 0) {
            fail_msg("`%s`: %s, expected %s", text, shown(now), *times);
        }
    }
    time_zone_free(zone);
}

#define TIMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void expressions_mean_what_crontab_says(void **state) {
    (void)state;
    expect("0 3 * * *", "UTC", "2026-01-01T02:59:59Z", TIMES("2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z"));
    expect("0 3 * * *", "UTC", "2026-01-01T03:00:00Z", TIMES("2026-01-02T03:00:00Z"));
    expect("*/20 22-23 * * *", "UTC", "2026-01-01T22:30:00Z",
           TIMES("2026-01-01T22:40:00Z", "2026-01-01T23:00:00Z", "2026-01-01T23:20:00Z"));
    expect("7/20 0 1 1 *", "UTC", "2026-01-01T00:00:00Z",
           TIMES("2026-01-01T00:07:00Z", "2026-01-01T00:27:00Z", "2026-01-01T00:47:00Z", "2027-01-01T00:07:00Z"));
    expect("0 0 * jan-MAR/2 *", "UTC", "2026-01-31T00:00:00Z", TIMES("2026-03-01T00:00:00Z"));
    expect("0 0 * * 0", "UTC", "2026-01-01T00:00:00Z", TIMES("2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"));
    expect("0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", TIMES("2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"));
    expect("0 0 * * Fri-Sun", "UTC", "2026-01-01T00:00:00Z",
           TIMES("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z", "2026-01-09T00:00:00Z"));
    expect("0 0 * * */2", "UTC", "2026-01-01T00:00:00Z",
           TIMES("2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z", "2026-01-06T00:00:00Z", "2026-01-08T00:00:00Z"));
    expect(" \t0\t0 1,15  * * ", "UTC", "2026-01-01T00:00:00Z", TIMES("2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z"));
}

static void either_day_will_do_where_both_are_restricted(void **state) {
    (void)state;
    expect("0 0 13 * 5", "UTC", "2026-02-01T00:00:00Z",
           TIMES("2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"));
    expect("0 0 */30 * 1", "UTC", "2026-01-28T00:00:00Z",
           TIMES("2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"));
    expect("0 0 *,13 * 5", "UTC", "2026-02-01T00:00:00Z",
           TIMES("2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"));
    expect("0 0 */1 * 5", "UTC", "2026-02-01T00:00:00Z", TIMES("2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z"));
    /* These restrict in form only, and count as restrictions all the same, as in crontab(5). */
    expect("0 0 1-31 * 5", "UTC", "2026-02-01T00:00:00Z", TIMES("2026-02-02T00:00:00Z"));
}

static void words_mean_fields(void **state) {
    (void)state;
    expect("@weekly", "UTC", "2026-01-01T00:00:00Z", TIMES("2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"));
    expect("@monthly", "UTC", "2026-01-01T00:00:00Z", TIMES("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"));
    expect("@yearly", "UTC", "2026-01-01T00:00:00Z", TIMES("2027-01-01T00:00:00Z"));
    expect("@Daily ", "Asia/Kolkata", "2026-01-01T00:00:00Z", TIMES("2026-01-01T18:30:00Z", "2026-01-02T18:30:00Z"));
    expect("@hourly", "UTC", "2026-01-01T00:00:00Z", TIMES("2026-01-01T01:00:00Z"));
}

static void one_time_comes_once(void **state) {
    static const char *const same[] = {"2026-07-01T03:00",      "2026-07-01 03:00:00",  "2026-07-01T03:00:00.5",
                                       "2026-07-01T01:00Z",     "2026-07-01T01:00:00Z", "2026-07-01t04:30:00+03:30",
                                       "2026-06-30T23:00-02:00"};
    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        expect(same[i], "Europe/Berlin", "2026-01-01T00:00:00Z", TIMES("2026-07-01T01:00:00Z", "never"));
        expect(same[i], "Europe/Berlin", "2026-07-01T01:00:00Z", TIMES("never"));
    }
    expect("2026-07-01", "America/New_York", "2026-01-01T00:00:00Z", TIMES("2026-07-01T04:00:00Z", "never"));
    expect("9999-12-31T23:59", "Europe/Berlin", "2026-01-01T00:00:00Z", TIMES("9999-12-31T22:59:00Z", "never"));
    /* A time that never was, and one that was twice. */
    expect("2026-03-29T02:30", "Europe/Berlin", "2026-01-01T00:00:00Z", TIMES("2026-03-29T01:30:00Z", "never"));
    expect("2026-10-25T02:30", "Europe/Berlin", "2026-01-01T00:00:00Z", TIMES("2026-10-25T00:30:00Z", "never"));
    expect("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30:00Z", TIMES("never"));
}

static void changes_of_the_clocks_lose_and_repeat_nothing(void **state) {
    (void)state;
    expect("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z",
           TIMES("2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"));
    expect("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z",
           TIMES("2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"));
    /* 02:30, which does not exist, and 03:30 are the same moment. */
    expect("30 2,3 29 3 *", "Europe/Berlin", "2026-03-28T00:00:00Z",
           TIMES("2026-03-29T01:30:00Z", "2027-03-29T00:30:00Z"));
    expect("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:29:59Z",
           TIMES("2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:00:00Z"));
    expect("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z",
           TIMES("2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"));
    expect("0 12 30 12 *", "Pacific/Apia", "2010-12-31T00:00:00Z",
           TIMES("2011-12-30T22:00:00Z", "2012-12-29T22:00:00Z"));
}

static void rare_and_impossible_ones_are_quick(void **state) {
    static const char *const never[] = {"0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "59 23 31 feb *"};
    struct error err;
    struct schedule schedule;
    struct time_zone *zone = zone_of("Europe/Berlin");
    (void)state;
    expect("0 0 29 2 *", "UTC", "1896-02-29T00:00:00Z", TIMES("1904-02-29T00:00:00Z", "1908-02-29T00:00:00Z"));
    expect("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", TIMES("2104-02-29T00:00:00Z"));
    expect("30 2 29 2 *", "America/Nuuk", "2096-03-01T00:00:00Z", TIMES("2104-02-29T04:30:00Z"));
    expect("0 0 31 12 1", "UTC", "2026-12-01T00:00:00Z", TIMES("2026-12-07T00:00:00Z"));
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        expect(never[i], "Europe/Berlin", "2026-01-01T00:00:00Z", TIMES("never"));
    }
    /* All day at the rarest and at one that never comes: some microseconds each, where minutes would take a minute. */
    int64_t began_ms = clock_monotonic_ms();
    for (int i = 0; i < 2000; i++) {
        assert_true(schedule_parse("0 0 29 2 *", &schedule, &err));
        assert_true(schedule_next(&schedule, zone, at("2096-03-01T00:00:00Z") + i) != SCHEDULE_NEVER);
        assert_true(schedule_parse("0 0 30 2 *", &schedule, &err));
        assert_true(schedule_next(&schedule, zone, at("2096-03-01T00:00:00Z") + i) == SCHEDULE_NEVER);
    }
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    print_message("%.1f us each\n", (double)took_ms * 1000 / 4000);
    assert_true(took_ms < 20000);
    time_zone_free(zone);
}

static void the_last_one_is_found_backwards(void **state) {
    struct error err;
    struct schedule schedule;
    struct time_zone *zone = zone_of("Europe/Berlin");
    (void)state;
    assert_true(schedule_parse("30 2 * * *", &schedule, &err));
    int64_t since = at("2025-01-01T00:00:00Z");
    assert_int_equal(schedule_last(&schedule, zone, since, at("2026-03-29T01:29:59Z")), at("2026-03-28T01:30:00Z"));
    assert_int_equal(schedule_last(&schedule, zone, since, at("2026-03-29T01:30:00Z")), at("2026-03-29T01:30:00Z"));
    assert_int_equal(schedule_last(&schedule, zone, since, at("2026-10-25T01:45:00Z")), at("2026-10-25T00:30:00Z"));
    assert_true(schedule_last(&schedule, zone, at("2026-03-29T01:30:00Z"), at("2026-03-29T20:00:00Z")) ==
                SCHEDULE_NEVER);
    assert_true(schedule_last(&schedule, zone, since, since - 1) == SCHEDULE_NEVER);
    time_zone_free(zone);
}

static void mistakes_are_refused_and_quoted(void **state) {
    static const char *const cases[][2] = {
        {"", "five fields"},
        {"   ", "five fields"},
        {"* * * *", "five fields"},
        {"* * * * * *", "five fields"},
        {"@reboot", "`@reboot`"},
        {"@weekly x", "`@weekly x`"},
        {"60 * * * *", "`60`"},
        {"* 24 * * *", "`24`"},
        {"* * 0 * *", "`0`"},
        {"* * 32 * *", "`32`"},
        {"* * * 13 *", "`13`"},
        {"* * * 0 *", "`0`"},
        {"* * * * 8", "`8`"},
        {"-1 * * * *", "`-1`"},
        {"5- * * * *", "`5-`"},
        {"10-5 * * * *", "`10-5`"},
        {"* * * dec-jan *", "`dec-jan`"},
        {"*/0 * * * *", "`*/0`"},
        {"*/60 * * * *", "`*/60`"},
        {"*/ * * * *", "`*/`"},
        {"*/5/5 * * * *", "`*/5/5`"},
        {"1,,2 * * * *", "``"},
        {"1, * * * *", "``"},
        {",1 * * * *", "``"},
        {"** * * * *", "`**`"},
        {"*-5 * * * *", "`*-5`"},
        {"jan * * * *", "`jan`"},
        {"* * * monday *", "`monday`"},
        {"* * * * monday", "`monday`"},
        {"? * * * *", "`?`"},
        {"L * * * *", "`L`"},
        {"99999999999999999999 * * * *", "`99999999999999999999`"},
        {"0 0 1 * *\n", "character"},
        {"0 0 1 * \xc3\xa9", "character"},
        {"2026-13-01T00:00", "2026-13-01"},
        {"2026-02-30T00:00", "2026-02-30"},
        {"2026-02-28T24:00", "2026-02-28"},
        {"2026-02-28T03:00:00Zx", "2026-02-28"},
        {"2026-02-28T03", "2026-02-28"},
        {"2026-02-28T", "2026-02-28"},
        {"2026-2-28", "2026-2-28"},
        {"2026-02-28T03:00 Europe/Berlin", "2026-02-28"},
        {"2026-02-28T03:00:00.0000000000000000000000000000000000000000000000000000000Z", "2026-02-28"},
    };
    char lengthy[SCHEDULE_TEXT_MAX_BYTES + 2];
    struct error err;
    struct schedule schedule;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (schedule_parse(cases[i][0], &schedule, &err)) {
            fail_msg("`%s` was taken", cases[i][0]);
        }
        assert_int_equal(err.code, ERROR_INVALID);
        if (strstr(err.message, cases[i][1]) == NULL) {
            fail_msg("`%s`: %s", cases[i][0], err.message);
        }
    }
    memset(lengthy, '1', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    assert_false(schedule_parse(lengthy, &schedule, &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_mean_what_crontab_says),
        cmocka_unit_test(either_day_will_do_where_both_are_restricted),
        cmocka_unit_test(words_mean_fields),
        cmocka_unit_test(one_time_comes_once),
        cmocka_unit_test(changes_of_the_clocks_lose_and_repeat_nothing),
        cmocka_unit_test(rare_and_impossible_ones_are_quick),
        cmocka_unit_test(the_last_one_is_found_backwards),
        cmocka_unit_test(mistakes_are_refused_and_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
