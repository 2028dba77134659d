/* Local time in another zone is what libc says it is when TZ names that zone: for every zone of the system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/buffer.h"
#include "common/civil.h"
#include "provisioner/time_zone.h"

#define FOLDER         "/usr/share/zoneinfo/"
#define YEAR_S         (366LL * SECONDS_IN_DAY)
#define TIMES_A_ZONE   300
#define CHANGES_A_ZONE 40

static int zones_seen;

static int64_t offset_of_libc(int64_t unix_s) {
    time_t when = unix_s;
    struct tm local;
    assert_non_null(localtime_r(&when, &local));
    return local.tm_gmtoff;
}

static uint64_t random_number(void) {
    static uint64_t state = 88172645463325252U; /* xorshift64: the same times in every run */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void check_time(const struct time_zone *zone, const char *name, int64_t unix_s) {
    struct zone_period period;
    time_zone_period(zone, unix_s, &period);
    if (period.offset_s != offset_of_libc(unix_s)) {
        fail_msg("%s at %lld: %d, libc says %lld", name, (long long)unix_s, period.offset_s,
                 (long long)offset_of_libc(unix_s));
    }
    assert_true(period.begins <= unix_s && unix_s < period.ends);
}

/* The offset before a change is that of the second before it. */
static void check_changes(const struct time_zone *zone, const char *name, int64_t from_s) {
    for (int i = 0; i < CHANGES_A_ZONE; i++) {
        struct zone_period period;
        time_zone_period(zone, from_s, &period);
        if (period.ends == INT64_MAX) {
            return;
        }
        int32_t before_s = period.offset_s;
        check_time(zone, name, period.ends - 1);
        check_time(zone, name, period.ends);
        from_s = period.ends;
        time_zone_period(zone, from_s, &period);
        assert_int_equal(period.begins, from_s);
        assert_int_equal(period.offset_before_s, before_s);
    }
}

static int check_zone(const char *path, const struct stat *status, int type, struct FTW *position) {
    struct error err = {0};
    (void)status;
    (void)position;
    const char *name = path + strlen(FOLDER);
    if (type != FTW_F || strchr(name, '.') != NULL || strncmp(name, "right/", 6) == 0 ||
        strcmp(name, "leapseconds") == 0) {
        return 0;
    }
    struct time_zone *zone = time_zone_open(name, &err);
    if (zone == NULL) {
        fail_msg("%s: %s", name, err.message);
    }
    setenv("TZ", path, 1);
    tzset();
    for (int i = 0; i < TIMES_A_ZONE; i++) {
        check_time(zone, name, (int64_t)(random_number() % (uint64_t)(300 * YEAR_S)) - 100 * YEAR_S);
    }
    check_changes(zone, name, 20 * YEAR_S);
    check_changes(zone, name, 65 * YEAR_S); /* from the recorded changes to the rule, or by the rule */
    check_changes(zone, name, 200 * YEAR_S);
    time_zone_free(zone);
    zones_seen++;
    return 0;
}

static void every_zone_is_what_libc_says(void **state) {
    (void)state;
    nftw(FOLDER, check_zone, 16, FTW_PHYS);
    assert_true(zones_seen > 100);
}

static void utc_needs_no_file(void **state) {
    struct error err;
    struct zone_period period;
    (void)state;
    struct time_zone *zone = time_zone_open("UTC", &err);
    assert_non_null(zone);
    time_zone_period(zone, 0, &period);
    assert_true(period.begins == INT64_MIN && period.ends == INT64_MAX);
    assert_int_equal(period.offset_s, 0);
    time_zone_free(zone);
}

static void what_is_no_zone_is_refused(void **state) {
    static const char *const names[] = {"",
                                        "Europe",
                                        "Europe/",
                                        "/etc/localtime",
                                        "../../../etc/passwd",
                                        "Europe/../../../../etc/passwd",
                                        "./UTC",
                                        "Europe//Berlin",
                                        "Europe/Berlin/x",
                                        "Mars/Olympus_Mons",
                                        "right/Europe/Berlin",
                                        "tzdata.zi",
                                        "zone.tab",
                                        "leapseconds",
                                        "Europe/Berlin\n",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct error err = {0};
        if (time_zone_open(names[i], &err) != NULL) {
            fail_msg("`%s` was opened", names[i]);
        }
        assert_int_equal(err.code, ERROR_INVALID);
    }
}

static void read_berlin(struct buffer *content) {
    char chunk[4096];
    size_t count;
    FILE *file = fopen(FOLDER "Europe/Berlin", "rb");
    assert_non_null(file);
    while ((count = fread(chunk, 1, sizeof chunk, file)) > 0) {
        assert_true(buffer_append(content, chunk, count));
    }
    fclose(file);
}

static void a_file_cut_short_is_refused(void **state) {
    struct buffer content = {0};
    (void)state;
    read_berlin(&content);
    for (size_t length = 0; length < content.length; length++) {
        struct error err = {0};
        char *part = malloc(length + 1); /* of its own, so that a sanitizer sees what is read beyond it */
        memcpy(part, content.data, length);
        assert_null(time_zone_parse(part, length, &err));
        assert_int_equal(err.code, ERROR_INVALID);
        free(part);
    }
    buffer_free(&content);
}

/* "2026-03-08 02:00 New York" and the like, by rules that no zone of today has. */
static void rules_of_every_form_hold(void **state) {
    static const struct {
        const char *rule;
        int64_t at;
        int32_t offset_s;
    } cases[] = {
        {"EST5EDT,M3.2.0,M11.1.0", 1772953199, -5 * 3600}, /* 2026-03-08T06:59:59Z */
        {"EST5EDT,M3.2.0,M11.1.0", 1772953200, -4 * 3600},
        {"EST5EDT,M3.2.0,M11.1.0", 1793512799, -4 * 3600}, /* 2026-11-01T05:59:59Z */
        {"EST5EDT,M3.2.0,M11.1.0", 1793512800, -5 * 3600},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 1774745999, -2 * 3600}, /* 2026-03-29T00:59:59Z */
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 1774746000, -1 * 3600},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", 1767225600, 0}, /* Dublin's winter is its saving time */
        {"IST-1GMT0,M10.5.0,M3.5.0/1", 1782864000, 3600},
        {"XST5XDT,0/0,J365/25", 1767225600, -4 * 3600}, /* for ever */
        {"XST5XDT,0/0,J365/25", 1782864000, -4 * 3600},
        {"AAA-1BBB-3,J60/0,J300/0", 1709247599, 3600}, /* 1 March 2024, 00:00, after a 29 February */
        {"AAA-1BBB-3,J60/0,J300/0", 1709247600, 3 * 3600},
        {"AAA-1BBB-3,59/0,J300/0", 1709161199, 3600}, /* day 59 counts the 29 February of 2024 */
        {"AAA-1BBB-3,59/0,J300/0", 1709161200, 3 * 3600},
        {"<+0530>-5:30", 0, 5 * 3600 + 1800},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct posix_tz rule;
        struct zone_period period;
        assert_true(posix_tz_parse(cases[i].rule, strlen(cases[i].rule), &rule));
        posix_tz_period(&rule, cases[i].at, &period);
        if (period.offset_s != cases[i].offset_s) {
            fail_msg("%s at %lld: %d", cases[i].rule, (long long)cases[i].at, period.offset_s);
        }
    }
}

static void what_is_no_rule_is_refused(void **state) {
    static const char *const rules[] = {"",
                                        "C",
                                        "CET",
                                        "CE-1",
                                        "CET-1CEST",
                                        "CET-25",
                                        "CET-1CEST,M3.5.0",
                                        "CET-1CEST,M3.5.0,M13.5.0",
                                        "CET-1CEST,M3.6.0,M10.5.0",
                                        "CET-1CEST,M3.5.7,M10.5.0",
                                        "CET-1CEST,J0,J5",
                                        "CET-1CEST,J1,J366",
                                        "CET-1CEST,1,366",
                                        "CET-1CEST,M3.5.0/168,M10.5.0",
                                        "CET-1CEST,M3.5.0,M10.5.0x",
                                        "<+1-1",
                                        "CET-1:60",
                                        "CET-1CEST,M3.5.0,M10.5.0/3,"};
    struct posix_tz rule;
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (posix_tz_parse(rules[i], strlen(rules[i]), &rule)) {
            fail_msg("`%s` is a rule", rules[i]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_zone_is_what_libc_says), cmocka_unit_test(utc_needs_no_file),
        cmocka_unit_test(what_is_no_zone_is_refused),   cmocka_unit_test(a_file_cut_short_is_refused),
        cmocka_unit_test(rules_of_every_form_hold),     cmocka_unit_test(what_is_no_rule_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
