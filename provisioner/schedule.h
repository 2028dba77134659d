/* schedule.h - when something recurs: five cron fields, a word such as `@weekly`, or one ISO 8601 time.
 *
 * The fields are those of crontab(5): minute, hour, day of the month, month, day of the week. Local times that a change
 * of the clocks leaves out or repeats are taken as RFC 5545 §3.3.5 says: one that does not exist happens as much later
 * as the clocks were put forward, one that exists twice happens the first time. So each happens once, and two that
 * fall on the same moment are one. Thread-safe. */
#ifndef TERMINALS_PROVISIONER_SCHEDULE_H
#define TERMINALS_PROVISIONER_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "provisioner/time_zone.h"

#define SCHEDULE_TEXT_MAX_BYTES 512
#define SCHEDULE_NEVER          INT64_MAX

struct schedule {
    /* One time: with an offset of its own (Unix seconds), or local (the same, as if local time were UTC). */
    bool is_once, once_is_local;
    int64_t once_s;
    /* Else bit n is set where value n is in the field. */
    uint64_t minutes;
    uint32_t hours, days, months, weekdays; /* Sunday is 0 */
    bool any_day, any_weekday;              /* the field restricts nothing: it has a `*` */
};

/* Reads a schedule. False with ERROR_INVALID, which quotes what is wrong. */
bool schedule_parse(const char *text, struct schedule *schedule, struct error *err);

/* The first time (Unix seconds) after `after_s`, or SCHEDULE_NEVER. Takes some microseconds, however far away it is.
 * Where both the day of the month and the day of the week are restricted, either will do. */
int64_t schedule_next(const struct schedule *schedule, const struct time_zone *zone, int64_t after_s);

/* The last time after `after_s` and not after `until_s`, or SCHEDULE_NEVER if there is none. */
int64_t schedule_last(const struct schedule *schedule, const struct time_zone *zone, int64_t after_s, int64_t until_s);

#endif
