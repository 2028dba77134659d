#include "common/civil.h"

#include <stdbool.h>

#define DAYS_IN_ERA 146097 /* 400 years */
#define DAYS_TO_1970                                                                                                   \
    719468                  /* from 0000-03-01, where an era begins: leap days come last in years that begin in March  \
                             */
#define THURSDAY          4 /* 1970-01-01 */
#define YEARS_IN_ERA      400
#define MONTHS_BEFORE_JAN 10 /* January is the eleventh month of a year that begins in March */

int64_t civil_floor_divide(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

int64_t civil_to_days(int64_t year, int month, int day) {
    int64_t march_year = month <= 2 ? year - 1 : year;
    int march_month = month <= 2 ? month + MONTHS_BEFORE_JAN - 1 : month - 3;
    int64_t era = civil_floor_divide(march_year, YEARS_IN_ERA);
    int64_t year_of_era = march_year - era * YEARS_IN_ERA;
    /* The months from March have 31, 30, 31, 30, 31 days, again and again: 153 in five. */
    int64_t day_of_year = (153 * march_month + 2) / 5 + day - 1;
    return era * DAYS_IN_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - DAYS_TO_1970;
}

struct civil_date civil_from_days(int64_t days) {
    int64_t era = civil_floor_divide(days + DAYS_TO_1970, DAYS_IN_ERA);
    int64_t day_of_era = days + DAYS_TO_1970 - era * DAYS_IN_ERA;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (DAYS_IN_ERA - 1)) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int march_month = (int)((5 * day_of_year + 2) / 153);
    struct civil_date date = {
        .year = era * YEARS_IN_ERA + year_of_era + (march_month >= MONTHS_BEFORE_JAN ? 1 : 0),
        .month = march_month >= MONTHS_BEFORE_JAN ? march_month - MONTHS_BEFORE_JAN + 1 : march_month + 3,
        .day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1),
    };
    return date;
}

int civil_weekday(int64_t days) {
    int64_t weekday = (days + THURSDAY) % DAYS_IN_WEEK;
    return (int)(weekday < 0 ? weekday + DAYS_IN_WEEK : weekday);
}

int civil_days_in_month(int64_t year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && is_leap ? 29 : days[month - 1];
}
