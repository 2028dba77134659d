/* posix_tz.h - the rule by which a time zone goes on after its last recorded change: `CET-1CEST,M3.5.0,M10.5.0/3`.
 *
 * POSIX.1-2017 §8.3 (TZ), with the hours of RFC 8536 §3.3.1 (-167 to 167), which footers of zone files use.
 * Thread-safe: a rule never changes. */
#ifndef TERMINALS_PROVISIONER_POSIX_TZ_H
#define TERMINALS_PROVISIONER_POSIX_TZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum posix_tz_day {
    POSIX_TZ_JULIAN,      /* Jn: 1 to 365, 29 February is never counted */
    POSIX_TZ_DAY_OF_YEAR, /* n: 0 to 365 */
    POSIX_TZ_MONTH,       /* Mm.w.d: weekday d of week w (5: the last) of month m */
};

struct posix_tz_change {
    enum posix_tz_day kind;
    int month, week, day;
    int32_t time_s; /* local seconds after midnight, by the time in force before the change */
};

struct posix_tz {
    int32_t standard_offset_s; /* east of UTC */
    bool has_daylight;
    int32_t daylight_offset_s;
    struct posix_tz_change begins, ends; /* of daylight saving time */
};

/* When the offset changed last at or before a time (Unix seconds) and changes next, and what it is meanwhile and was
 * before. INT64_MIN and INT64_MAX: never. */
struct zone_period {
    int64_t begins, ends;
    int32_t offset_s, offset_before_s;
};

/* Reads the `length` characters of a rule. False if they are none. */
bool posix_tz_parse(const char *text, size_t length, struct posix_tz *rule);

/* What the rule says of this time. */
void posix_tz_period(const struct posix_tz *rule, int64_t unix_s, struct zone_period *period);

#endif
