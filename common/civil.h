/* civil.h - dates of the proleptic Gregorian calendar, without a time zone: day numbers, weekdays, lengths of months.
 * Thread-safe. */
#ifndef TERMINALS_COMMON_CIVIL_H
#define TERMINALS_COMMON_CIVIL_H

#include <stdint.h>

#define SECONDS_IN_MINUTE 60
#define SECONDS_IN_HOUR   (60 * SECONDS_IN_MINUTE)
#define SECONDS_IN_DAY    (24 * SECONDS_IN_HOUR)
#define DAYS_IN_WEEK      7

/* `month` from 1, `day` from 1. */
struct civil_date {
    int64_t year;
    int month;
    int day;
};

/* How many days after 1970-01-01 a date is, and back. The day may lie outside its month: it is counted from the first.
 */
int64_t civil_to_days(int64_t year, int month, int day);
struct civil_date civil_from_days(int64_t days);

/* 0 is Sunday. */
int civil_weekday(int64_t days);

/* Of the Gregorian calendar; month 1 to 12. */
int civil_days_in_month(int64_t year, int month);

/* a / b rounded towards minus infinity; b > 0. */
int64_t civil_floor_divide(int64_t a, int64_t b);

#endif
