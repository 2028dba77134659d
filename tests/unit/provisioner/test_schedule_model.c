/* Schedules against a slow and obvious model: it goes through every day of a hundred years and every minute of each day
 * that fits, reads expressions with sscanf(), and has its time zones from libc.
 *
 * 4,000 random expressions, each in one of the zones; with TERMINALS_TEST_FULL=1 10,000, each in all of them, and in
 * more windows of time. TERMINALS_TEST_SEED chooses others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "provisioner/schedule.h"

#ifdef __SANITIZE_ADDRESS__
#define EXPRESSIONS 1000 /* for what a sanitizer may find, these do */
#else
#define EXPRESSIONS 4000
#endif
#define EXPRESSIONS_FULL 10000
#define FIRST_YEAR       1990
#define LAST_YEAR        2089
#define DAY_S            86400
#define HALF_DAY_S       43200
#define HOUR_S           3600
#define CHANGES_MAX      1000
#define TIMES_A_WINDOW   60 /* about so many */
#define FOUND_MAX        20000
#define EXPRESSION_SIZE  400

/* One that everybody knows; one that changed at a minute past midnight; half an hour; a day that never was (30 December
 * 2011); changes on a Saturday evening, by a rule with a negative hour. */
static const char *const zones[] = {"Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia",
                                    "America/Nuuk"};
#define ZONE_COUNT (sizeof zones / sizeof zones[0])

static uint64_t random_state;

static int random_below(int limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (int)(random_state % (uint64_t)limit);
}

/* --- local time, from libc ---------------------------------------------------------------------------------------- */

static struct {
    int64_t at[CHANGES_MAX];
    int64_t before[CHANGES_MAX], after[CHANGES_MAX];
    int count;
    int64_t offsets[CHANGES_MAX]; /* that there are */
    int offset_count;
    int64_t first_offset;
} world;

static int64_t offset_of_libc(int64_t unix_s) {
    time_t when = unix_s;
    struct tm local;
    localtime_r(&when, &local);
    return local.tm_gmtoff;
}

static int64_t utc_of(int year, int month, int day) {
    struct tm date = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
    return timegm(&date);
}

static void note_offset(int64_t offset) {
    for (int i = 0; i < world.offset_count; i++) {
        if (world.offsets[i] == offset) {
            return;
        }
    }
    world.offsets[world.offset_count++] = offset;
}

/* Half a day after the other, hour by hour in one that begins with another offset than it ends with, and second by
 * second in such an hour. */
static void learn_zone(const char *name) {
    char variable[64];
    snprintf(variable, sizeof variable, ":%s", name);
    setenv("TZ", variable, 1);
    tzset();
    memset(&world, 0, sizeof world);
    int64_t at = utc_of(FIRST_YEAR - 1, 1, 1);
    int64_t end = utc_of(LAST_YEAR + 2, 1, 1);
    int64_t offset = world.first_offset = offset_of_libc(at);
    note_offset(offset);
    for (; at < end; at += HALF_DAY_S) {
        if (offset_of_libc(at + HALF_DAY_S) == offset) {
            continue;
        }
        int64_t second = at;
        while (offset_of_libc(second + HOUR_S) == offset) {
            second += HOUR_S;
        }
        while (offset_of_libc(second) == offset) {
            second++;
        }
        world.at[world.count] = second;
        world.before[world.count] = offset;
        offset = world.after[world.count] = offset_of_libc(second);
        assert_int_equal(offset_of_libc(at + HALF_DAY_S), offset);
        world.count++;
        assert_true(world.count < CHANGES_MAX);
        note_offset(offset);
    }
}

static int64_t offset_at(int64_t unix_s) {
    int64_t offset = world.first_offset;
    int low = 0;
    int high = world.count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (world.at[middle] <= unix_s) {
            offset = world.after[middle];
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return offset;
}

/* When a local time happens: the first time it does, or, if it never does, as much later as the clocks jumped. */
static int64_t happens_at(int64_t local) {
    int64_t first = INT64_MAX;
    for (int i = 0; i < world.offset_count; i++) {
        int64_t at = local - world.offsets[i];
        if (offset_at(at) == world.offsets[i] && at < first) {
            first = at;
        }
    }
    for (int i = 0; first == INT64_MAX && i < world.count; i++) {
        if (world.at[i] + world.before[i] <= local && local < world.at[i] + world.after[i]) {
            first = local - world.before[i];
        }
    }
    return first;
}

/* --- what an expression says -------------------------------------------------------------------------------------- */

static const char *const month_names[] = {"",    "jan", "feb", "mar", "apr", "may", "jun",
                                          "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

static int value_of(const char *word, int field) {
    for (int i = 1; field == 3 && i <= 12; i++) {
        if (strcasecmp(word, month_names[i]) == 0) {
            return i;
        }
    }
    for (int i = 0; field == 4 && i < 7; i++) {
        if (strcasecmp(word, day_names[i]) == 0) {
            return i;
        }
    }
    return atoi(word);
}

/* Does the field of this number allow the value? */
static bool allows(const char *text, int field, int value) {
    static const int lowest[] = {0, 0, 1, 1, 0};
    static const int highest[] = {59, 23, 31, 12, 6};
    char copy[EXPRESSION_SIZE];
    char *rest = NULL;
    strcpy(copy, text);
    for (char *item = strtok_r(copy, ",", &rest); item != NULL; item = strtok_r(NULL, ",", &rest)) {
        char from[16] = "";
        char to[16] = "";
        int step = 1;
        char *slash = strchr(item, '/');
        if (slash != NULL) {
            step = atoi(slash + 1);
            *slash = '\0';
        }
        int low, high;
        if (strcmp(item, "*") == 0) {
            low = lowest[field];
            high = highest[field];
        } else if (sscanf(item, "%15[^-]-%15s", from, to) == 2) {
            low = value_of(from, field);
            high = value_of(to, field);
        } else {
            low = value_of(item, field);
            high = slash == NULL || low > highest[field] ? low : highest[field];
        }
        for (int one = low; one <= high; one += step) {
            if (one == value || (field == 4 && one == 7 && value == 0)) {
                return true;
            }
        }
    }
    return false;
}

struct model {
    bool minute[60], hour[24], day[32], month[13], weekday[7];
    bool day_is_free, weekday_is_free;
    int times_a_day;
};

static bool is_free(const char *field) {
    return strcmp(field, "*") == 0 || strcmp(field, "*/1") == 0;
}

static void understand(char fields[5][EXPRESSION_SIZE], struct model *model) {
    int minutes = 0;
    int hours = 0;
    for (int i = 0; i < 60; i++) {
        minutes += model->minute[i] = allows(fields[0], 0, i);
    }
    for (int i = 0; i < 24; i++) {
        hours += model->hour[i] = allows(fields[1], 1, i);
    }
    for (int i = 1; i < 32; i++) {
        model->day[i] = allows(fields[2], 2, i);
    }
    for (int i = 1; i < 13; i++) {
        model->month[i] = allows(fields[3], 3, i);
    }
    for (int i = 0; i < 7; i++) {
        model->weekday[i] = allows(fields[4], 4, i);
    }
    model->day_is_free = is_free(fields[2]);
    model->weekday_is_free = is_free(fields[4]);
    model->times_a_day = minutes * hours;
}

static bool happens_on(const struct model *model, const struct tm *date) {
    bool by_day = model->day[date->tm_mday];
    bool by_weekday = model->weekday[date->tm_wday];
    if (!model->month[date->tm_mon + 1]) {
        return false;
    }
    if (model->day_is_free) {
        return by_weekday;
    }
    return model->weekday_is_free ? by_day : by_day || by_weekday;
}

static int by_time(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* All times after `after` up to `until`, in order, each once. */
static int all_between(const struct model *model, int64_t after, int64_t until, int64_t found[FOUND_MAX]) {
    int count = 0;
    for (int64_t midnight = after / DAY_S * DAY_S - 3 * DAY_S; midnight <= until + 3 * DAY_S; midnight += DAY_S) {
        time_t when = midnight;
        struct tm date;
        gmtime_r(&when, &date);
        if (!happens_on(model, &date)) {
            continue;
        }
        for (int hour = 0; hour < 24; hour++) {
            for (int minute = 0; model->hour[hour] && minute < 60; minute++) {
                int64_t at = model->minute[minute] ? happens_at(midnight + hour * HOUR_S + minute * 60) : 0;
                if (at > after && at <= until) {
                    assert_true(count < FOUND_MAX);
                    found[count++] = at;
                }
            }
        }
    }
    qsort(found, (size_t)count, sizeof found[0], by_time);
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (kept == 0 || found[kept - 1] != found[i]) {
            found[kept++] = found[i];
        }
    }
    return kept;
}

/* --- random expressions ------------------------------------------------------------------------------------------- */

static void random_value(char *out, int field) {
    static const int lowest[] = {0, 0, 1, 1, 0};
    static const int count[] = {60, 24, 31, 12, 8};
    int value = lowest[field] + random_below(count[field]);
    if (field == 3 && random_below(3) == 0) {
        strcpy(out, month_names[value]);
    } else if (field == 4 && value < 7 && random_below(3) == 0) {
        strcpy(out, day_names[value]);
    } else {
        sprintf(out, random_below(8) == 0 ? "%02d" : "%d", value);
    }
    if (random_below(4) == 0 && out[0] >= 'a') {
        out[0] = (char)(out[0] - 'a' + 'A');
    }
}

static void random_item(char *out, int field) {
    static const int step_max[] = {59, 23, 31, 12, 7};
    char from[16];
    char to[16];
    int kind = random_below(10);
    random_value(from, field);
    random_value(to, field);
    if (kind < 5 || (kind < 8 && value_of(from, field) > value_of(to, field))) {
        strcpy(out, from);
    } else if (kind < 8) {
        sprintf(out, "%s-%s", from, to);
    } else {
        sprintf(out, "%s", kind == 8 ? "*" : from);
    }
    if (kind > 6) {
        sprintf(out + strlen(out), "/%d", 1 + random_below(random_below(3) == 0 ? step_max[field] : 6));
    }
}

static void random_field(char *out, int field) {
    int items = random_below(3) == 0 ? 1 + random_below(4) : 1;
    out[0] = '\0';
    if (random_below(field < 2 ? 6 : 2) == 0) {
        strcpy(out, "*");
        return;
    }
    for (int i = 0; i < items; i++) {
        char item[64];
        random_item(item, field);
        /* What a `*` in a list means for the other field of days is another test's. */
        if (items > 1 && item[0] == '*') {
            strcpy(item, "1");
        }
        sprintf(out + strlen(out), "%s%s", i == 0 ? "" : ",", item);
    }
}

/* --- the comparison ----------------------------------------------------------------------------------------------- */

static int64_t times_compared;

static void compare(const char *text, const struct schedule *schedule, const struct time_zone *zone, const char *name,
                    const struct model *model, int64_t after, int64_t until) {
    static int64_t expected[FOUND_MAX];
    int count = all_between(model, after, until, expected);
    int64_t at = after;
    for (int i = 0; i <= count; i++) {
        int64_t next = schedule_next(schedule, zone, at);
        if (i < count ? next != expected[i] : next <= until) {
            fail_msg("`%s` in %s after %lld: %lld, the model says %lld", text, name, (long long)at, (long long)next,
                     i < count ? (long long)expected[i] : -1);
        }
        at = next;
    }
    if (count > 0 && schedule_last(schedule, zone, after, until) != expected[count - 1]) {
        fail_msg("`%s` in %s: the last one before %lld", text, name, (long long)until);
    }
    times_compared += count;
}

/* A hundred years where that is not much; else some days somewhere, and some around a change of the clocks. */
static void compare_windows(const char *text, const struct schedule *schedule, const struct time_zone *zone,
                            const char *name, const struct model *model, int windows) {
    int64_t begin = utc_of(FIRST_YEAR, 1, 1) - 1;
    int64_t end = utc_of(LAST_YEAR + 1, 1, 1) - 1;
    int days_a_year = 0;
    for (int64_t day = 0; day < 366; day++) {
        time_t when = utc_of(2000, 1, 1) + day * DAY_S;
        struct tm date;
        gmtime_r(&when, &date);
        days_a_year += happens_on(model, &date);
    }
    int times_a_year = days_a_year * model->times_a_day;
    if (times_a_year <= 2) {
        compare(text, schedule, zone, name, model, begin, end);
        return;
    }
    int64_t length = (int64_t)TIMES_A_WINDOW * 366 * DAY_S / times_a_year;
    length = length < DAY_S / 4 ? DAY_S / 4 : length;
    for (int i = 0; i < windows; i++) {
        int64_t from = i % 2 == 0
                           ? begin + (int64_t)(random_below(1 << 30) % (end - begin))
                           : world.at[random_below(world.count)] - random_below((int)(length > DAY_S ? DAY_S : length));
        compare(text, schedule, zone, name, model, from, from + length < end ? from + length : end);
    }
}

static void schedules_are_what_the_model_says(void **state) {
    bool is_full = getenv("TERMINALS_TEST_FULL") != NULL;
    size_t expressions = is_full ? EXPRESSIONS_FULL : EXPRESSIONS;
    const char *seed = getenv("TERMINALS_TEST_SEED");
    struct error err;
    (void)state;
    for (size_t zone_index = 0; zone_index < ZONE_COUNT; zone_index++) {
        learn_zone(zones[zone_index]);
        random_state = seed == NULL ? 20261126 : strtoull(seed, NULL, 10) * 2 + 1;
        struct time_zone *zone = time_zone_open(zones[zone_index], &err);
        assert_non_null(zone);
        for (size_t i = 0; i < expressions; i++) {
            char fields[5][EXPRESSION_SIZE];
            char text[5 * EXPRESSION_SIZE];
            struct schedule schedule;
            struct model model;
            for (int field = 0; field < 5; field++) {
                random_field(fields[field], field);
            }
            if (!is_full && i % ZONE_COUNT != zone_index) {
                continue;
            }
            snprintf(text, sizeof text, "%s %s %s %s %s", fields[0], fields[1], fields[2], fields[3], fields[4]);
            if (!schedule_parse(text, &schedule, &err)) {
                fail_msg("`%s`: %s", text, err.message);
            }
            understand(fields, &model);
            compare_windows(text, &schedule, zone, zones[zone_index], &model, is_full ? 10 : 4);
        }
        time_zone_free(zone);
    }
    print_message("%lld times compared\n", (long long)times_compared);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(schedules_are_what_the_model_says)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
