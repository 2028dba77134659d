#include "provisioner/schedule.h"

#include "common/civil.h"

#define MINUTES_IN_HOUR 60
#define HOURS_IN_DAY    24
#define MINUTES_IN_DAY  (HOURS_IN_DAY * MINUTES_IN_HOUR)
#define MONTHS_IN_YEAR  12
#define BITS_OF_MINUTES 64
#define BITS_OF_DAYS    32
#define LOCAL_NEVER     INT64_MAX
/* Nothing recurs more rarely than 29 February does, which may take eight years. */
#define HORIZON_S      (9LL * 366 * SECONDS_IN_DAY)
#define OFFSET_REACH_S (2 * SECONDS_IN_DAY) /* no local time is further from UTC */

/* The lowest bit from `from` on, or `none`. */
static int next_bit(uint64_t bits, int from, int none) {
    uint64_t left = from >= BITS_OF_MINUTES ? 0 : bits >> from;
    return left == 0 ? none : from + __builtin_ctzll(left);
}

/* The first minute of a day at or after one; -1 if there is none. */
static int minute_of_day_from(const struct schedule *schedule, int minute_of_day) {
    int hour = next_bit(schedule->hours, minute_of_day / MINUTES_IN_HOUR, -1);
    if (hour == minute_of_day / MINUTES_IN_HOUR) {
        int minute = next_bit(schedule->minutes, minute_of_day % MINUTES_IN_HOUR, -1);
        if (minute >= 0) {
            return hour * MINUTES_IN_HOUR + minute;
        }
        hour = next_bit(schedule->hours, hour + 1, -1);
    }
    return hour < 0 ? -1 : hour * MINUTES_IN_HOUR + next_bit(schedule->minutes, 0, 0);
}

/* The days of a month on which it happens. */
static uint32_t days_of_month(const struct schedule *schedule, int64_t year, int month) {
    uint32_t days = 0;
    if ((schedule->months >> month & 1) == 0) {
        return 0;
    }
    int weekday = civil_weekday(civil_to_days(year, month, 1));
    for (int day = 1; day <= civil_days_in_month(year, month); day++) {
        bool by_day = (schedule->days >> day & 1) != 0;
        bool by_weekday = (schedule->weekdays >> weekday & 1) != 0;
        bool both_are_restricted = !schedule->any_day && !schedule->any_weekday;
        if (both_are_restricted ? by_day || by_weekday : by_day && by_weekday) {
            days |= UINT32_C(1) << day;
        }
        weekday = (weekday + 1) % DAYS_IN_WEEK;
    }
    return days;
}

/* The first local time of five fields in [from_s, until_s), counted as if local time were UTC; or LOCAL_NEVER. */
static int64_t next_by_fields(const struct schedule *schedule, int64_t from_s, int64_t until_s) {
    int64_t minute = civil_floor_divide(from_s + SECONDS_IN_MINUTE - 1, SECONDS_IN_MINUTE);
    int64_t day = civil_floor_divide(minute, MINUTES_IN_DAY);
    struct civil_date date = civil_from_days(day);
    uint32_t days = days_of_month(schedule, date.year, date.month);
    int minute_of_day = -1;
    if ((days >> date.day & 1) != 0) {
        minute_of_day = minute_of_day_from(schedule, (int)(minute - day * MINUTES_IN_DAY));
    }
    if (minute_of_day < 0) {
        minute_of_day = minute_of_day_from(schedule, 0);
        int found = next_bit(days, date.day + 1, 0);
        while (found == 0) {
            date.year += date.month == MONTHS_IN_YEAR;
            date.month = date.month % MONTHS_IN_YEAR + 1;
            if (civil_to_days(date.year, date.month, 1) * SECONDS_IN_DAY >= until_s) {
                return LOCAL_NEVER;
            }
            found = next_bit(days_of_month(schedule, date.year, date.month), 1, 0);
        }
        day = civil_to_days(date.year, date.month, found);
    }
    int64_t local_s = (day * MINUTES_IN_DAY + minute_of_day) * SECONDS_IN_MINUTE;
    return local_s < until_s ? local_s : LOCAL_NEVER;
}

static int64_t next_local(const struct schedule *schedule, int64_t from_s, int64_t until_s) {
    if (schedule->is_once) {
        return schedule->once_s >= from_s && schedule->once_s < until_s ? schedule->once_s : LOCAL_NEVER;
    }
    return from_s < until_s ? next_by_fields(schedule, from_s, until_s) : LOCAL_NEVER;
}

static int64_t later(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* The first time at or after `from_s` among the local times that a period has (less those that it repeats), and those
 * that the change at its beginning left out. */
static int64_t next_in_period(const struct schedule *schedule, const struct zone_period *period, int64_t from_s,
                              int64_t until_s) {
    from_s = later(from_s, period->begins);
    int64_t first_local = from_s + period->offset_s;
    int64_t left_out = LOCAL_NEVER;
    if (period->begins != INT64_MIN) {
        int64_t end_before = period->begins + period->offset_before_s; /* in local time */
        first_local = later(first_local, end_before);
        left_out = next_local(schedule, from_s + period->offset_before_s, period->begins + period->offset_s);
    }
    int64_t local = next_local(schedule, first_local, until_s + period->offset_s);
    int64_t regular_s = local == LOCAL_NEVER ? SCHEDULE_NEVER : local - period->offset_s;
    int64_t shifted_s = left_out == LOCAL_NEVER ? SCHEDULE_NEVER : left_out - period->offset_before_s;
    return regular_s < shifted_s ? regular_s : shifted_s;
}

int64_t schedule_next(const struct schedule *schedule, const struct time_zone *zone, int64_t after_s) {
    int64_t from_s = after_s + 1;
    int64_t end_s = from_s + HORIZON_S;
    int64_t best = SCHEDULE_NEVER;
    if (schedule->is_once && !schedule->once_is_local) {
        return schedule->once_s > after_s ? schedule->once_s : SCHEDULE_NEVER;
    }
    if (schedule->is_once) {
        from_s = later(from_s, schedule->once_s - OFFSET_REACH_S);
        end_s = schedule->once_s + OFFSET_REACH_S;
    }
    while (from_s < end_s) {
        struct zone_period period;
        time_zone_period(zone, from_s, &period);
        int64_t until_s = period.ends < end_s ? period.ends : end_s;
        int64_t found = next_in_period(schedule, &period, from_s, until_s);
        best = found < best ? found : best;
        if (best < until_s) {
            break; /* what comes after this period is later */
        }
        from_s = until_s;
    }
    return best;
}

int64_t schedule_last(const struct schedule *schedule, const struct time_zone *zone, int64_t after_s, int64_t until_s) {
    if (schedule_next(schedule, zone, after_s) > until_s) {
        return SCHEDULE_NEVER;
    }
    /* Up to the second before the last one there is a next one in time; from then on there is none. */
    int64_t low = after_s;
    int64_t high = until_s;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (schedule_next(schedule, zone, middle) <= until_s) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return schedule_next(schedule, zone, low);
}
