#include "provisioner/posix_tz.h"

#include <string.h>

#include "common/civil.h"

#define OFFSET_HOURS_MAX    24  /* POSIX */
#define CHANGE_HOURS_MAX    167 /* RFC 8536 §3.3.1 */
#define CHANGE_TIME_DEFAULT (2 * SECONDS_IN_HOUR)
#define LAST_WEEK           5
#define CHANGES_IN_YEAR     2
#define YEARS_LOOKED_AT     3
#define NAME_MIN_CHARACTERS 3
#define MARCH               3
#define LETTERS             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* What is left of a text. */
struct reader {
    const char *at;
    const char *end;
};

static bool take(struct reader *reader, char wanted) {
    if (reader->at == reader->end || *reader->at != wanted) {
        return false;
    }
    reader->at++;
    return true;
}

static bool is_digit(const struct reader *reader) {
    return reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
}

static void skip(struct reader *reader, const char *characters) {
    while (reader->at < reader->end && *reader->at != '\0' && strchr(characters, *reader->at) != NULL) {
        reader->at++;
    }
}

static bool take_number(struct reader *reader, int low, int high, int *number) {
    int value = 0;
    if (!is_digit(reader)) {
        return false;
    }
    while (is_digit(reader) && value <= high) {
        value = value * 10 + (*reader->at++ - '0');
    }
    *number = value;
    return value >= low && value <= high;
}

/* `CET` or `<+03>`; what it is nobody asks. */
static bool take_name(struct reader *reader) {
    bool is_quoted = take(reader, '<');
    const char *begin = reader->at;
    skip(reader, is_quoted ? LETTERS "0123456789+-" : LETTERS);
    return reader->at - begin >= NAME_MIN_CHARACTERS && (!is_quoted || take(reader, '>'));
}

/* [+-]hh[:mm[:ss]], in seconds. */
static bool take_time(struct reader *reader, int hours_max, int32_t *seconds) {
    int hours = 0;
    int minutes = 0;
    int rest = 0;
    bool is_negative = take(reader, '-');
    if (!is_negative) {
        take(reader, '+');
    }
    if (!take_number(reader, 0, hours_max, &hours) || (take(reader, ':') && !take_number(reader, 0, 59, &minutes)) ||
        (take(reader, ':') && !take_number(reader, 0, 59, &rest))) {
        return false;
    }
    *seconds = hours * SECONDS_IN_HOUR + minutes * SECONDS_IN_MINUTE + rest;
    *seconds = is_negative ? -*seconds : *seconds;
    return true;
}

/* POSIX counts west of Greenwich; everybody else counts east. */
static bool take_offset(struct reader *reader, int32_t *offset_s) {
    if (!take_time(reader, OFFSET_HOURS_MAX, offset_s)) {
        return false;
    }
    *offset_s = -*offset_s;
    return true;
}

static bool take_change(struct reader *reader, struct posix_tz_change *change) {
    *change = (struct posix_tz_change){.time_s = CHANGE_TIME_DEFAULT};
    bool ok = take(reader, ',');
    if (ok && take(reader, 'M')) {
        change->kind = POSIX_TZ_MONTH;
        ok = take_number(reader, 1, 12, &change->month) && take(reader, '.') &&
             take_number(reader, 1, LAST_WEEK, &change->week) && take(reader, '.') &&
             take_number(reader, 0, DAYS_IN_WEEK - 1, &change->day);
    } else if (ok && take(reader, 'J')) {
        change->kind = POSIX_TZ_JULIAN;
        ok = take_number(reader, 1, 365, &change->day);
    } else if (ok) {
        change->kind = POSIX_TZ_DAY_OF_YEAR;
        ok = take_number(reader, 0, 365, &change->day);
    }
    return ok && (!take(reader, '/') || take_time(reader, CHANGE_HOURS_MAX, &change->time_s));
}

bool posix_tz_parse(const char *text, size_t length, struct posix_tz *rule) {
    struct reader reader = {text, text + length};
    *rule = (struct posix_tz){0};
    if (!take_name(&reader) || !take_offset(&reader, &rule->standard_offset_s)) {
        return false;
    }
    if (reader.at == reader.end) {
        return true;
    }
    rule->has_daylight = true;
    rule->daylight_offset_s = rule->standard_offset_s + SECONDS_IN_HOUR;
    if (!take_name(&reader)) {
        return false;
    }
    if (reader.at < reader.end && *reader.at != ',' && !take_offset(&reader, &rule->daylight_offset_s)) {
        return false;
    }
    return take_change(&reader, &rule->begins) && take_change(&reader, &rule->ends) && reader.at == reader.end;
}

/* The day of a year on which a change falls, as days since 1970-01-01. */
static int64_t day_of_change(const struct posix_tz_change *change, int64_t year) {
    int64_t january = civil_to_days(year, 1, 1);
    if (change->kind == POSIX_TZ_DAY_OF_YEAR) {
        return january + change->day;
    }
    if (change->kind == POSIX_TZ_JULIAN) {
        int64_t day = january + change->day - 1;
        return day + (civil_days_in_month(year, 2) == 29 && day >= civil_to_days(year, MARCH, 1) - 1 ? 1 : 0);
    }
    int64_t first = civil_to_days(year, change->month, 1);
    int64_t day = first + (change->day - civil_weekday(first) + DAYS_IN_WEEK) % DAYS_IN_WEEK;
    day += (int64_t)(change->week - 1) * DAYS_IN_WEEK;
    /* The fifth of four is the last. */
    return day >= first + civil_days_in_month(year, change->month) ? day - DAYS_IN_WEEK : day;
}

struct change {
    int64_t at;
    int32_t offset_s;
};

/* The two changes of a year, in the order in which they come. */
static void changes_of_year(const struct posix_tz *rule, int64_t year, struct change changes[CHANGES_IN_YEAR]) {
    struct change begins = {.at = day_of_change(&rule->begins, year) * SECONDS_IN_DAY + rule->begins.time_s -
                                  rule->standard_offset_s,
                            .offset_s = rule->daylight_offset_s};
    struct change ends = {.at = day_of_change(&rule->ends, year) * SECONDS_IN_DAY + rule->ends.time_s -
                                rule->daylight_offset_s,
                          .offset_s = rule->standard_offset_s};
    changes[0] = begins.at <= ends.at ? begins : ends;
    changes[1] = begins.at <= ends.at ? ends : begins;
}

void posix_tz_period(const struct posix_tz *rule, int64_t unix_s, struct zone_period *period) {
    *period = (struct zone_period){INT64_MIN, INT64_MAX, rule->standard_offset_s, rule->standard_offset_s};
    if (!rule->has_daylight) {
        return;
    }
    /* A year before and one after: a change may be a week away from its day, and an offset a day from UTC. */
    int64_t year = civil_from_days(civil_floor_divide(unix_s, SECONDS_IN_DAY)).year;
    struct change changes[YEARS_LOOKED_AT * CHANGES_IN_YEAR];
    for (int i = 0; i < YEARS_LOOKED_AT; i++) {
        changes_of_year(rule, year - 1 + i, &changes[(size_t)i * CHANGES_IN_YEAR]);
    }
    /* Where saving never ends, one year's end is the next year's beginning: of changes at the same time, the last one
     * holds. */
    period->offset_s = changes[0].offset_s;
    for (size_t i = 0; i < YEARS_LOOKED_AT * CHANGES_IN_YEAR; i++) {
        if (changes[i].at > unix_s) {
            period->ends = period->ends < changes[i].at ? period->ends : changes[i].at;
        } else {
            period->offset_before_s = period->begins == changes[i].at ? period->offset_before_s : period->offset_s;
            period->begins = changes[i].at;
            period->offset_s = changes[i].offset_s;
        }
    }
}
