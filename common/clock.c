#include "common/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/civil.h"

static int64_t clock_ms(clockid_t id) {
    struct timespec now = {0};
    clock_gettime(id, &now); /* cannot fail for the two clocks used here */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_monotonic_ms(void) {
    return clock_ms(CLOCK_MONOTONIC);
}

int64_t clock_unix_ms(void) {
    return clock_ms(CLOCK_REALTIME);
}

void clock_format_rfc3339(int64_t unix_ms, char out[CLOCK_RFC3339_SIZE]) {
    int64_t seconds = unix_ms / 1000;
    int milliseconds = (int)(unix_ms % 1000);
    if (milliseconds < 0) {
        milliseconds += 1000;
        seconds--;
    }
    time_t when = (time_t)seconds;
    struct tm utc = {0};
    gmtime_r(&when, &utc);
    size_t used = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + used, CLOCK_RFC3339_SIZE - used, ".%03dZ", milliseconds);
}

/* Exactly `count` digits; -1 if there are fewer. */
static int take_digits(const char **text, int count) {
    int value = 0;
    for (int i = 0; i < count; i++) {
        if ((*text)[i] < '0' || (*text)[i] > '9') {
            return -1;
        }
        value = value * 10 + ((*text)[i] - '0');
    }
    *text += count;
    return value;
}

static bool take_char(const char **text, const char *choices) {
    if (**text == '\0' || strchr(choices, **text) == NULL) {
        return false;
    }
    (*text)++;
    return true;
}

static bool take_offset(const char **text, int *offset_minutes) {
    *offset_minutes = 0;
    if (take_char(text, "Zz")) {
        return true;
    }
    int sign = **text == '-' ? -1 : 1;
    if (!take_char(text, "+-")) {
        return false;
    }
    int hours = take_digits(text, 2);
    if (hours < 0 || hours > 23 || !take_char(text, ":")) {
        return false;
    }
    int minutes = take_digits(text, 2);
    *offset_minutes = sign * (hours * 60 + minutes);
    return minutes >= 0 && minutes <= 59;
}

static int take_fraction_ms(const char **text) {
    int milliseconds = 0;
    for (int scale = 100; **text >= '0' && **text <= '9'; scale /= 10) {
        milliseconds += (**text - '0') * scale;
        (*text)++;
    }
    return milliseconds;
}

bool clock_parse_rfc3339(const char *text, int64_t *unix_ms) {
    struct tm utc = {0};
    int milliseconds = 0;
    int offset_minutes = 0;
    int year = take_digits(&text, 4);
    if (year < 0 || !take_char(&text, "-")) {
        return false;
    }
    int month = take_digits(&text, 2);
    if (month < 1 || month > 12 || !take_char(&text, "-")) {
        return false;
    }
    int day = take_digits(&text, 2);
    utc.tm_year = year - 1900;
    utc.tm_mon = month - 1;
    utc.tm_mday = day;
    if (*text != '\0') {
        if (!take_char(&text, "Tt ") || (utc.tm_hour = take_digits(&text, 2)) < 0 || utc.tm_hour > 23 ||
            !take_char(&text, ":") || (utc.tm_min = take_digits(&text, 2)) < 0 || utc.tm_min > 59 ||
            !take_char(&text, ":") || (utc.tm_sec = take_digits(&text, 2)) < 0 || utc.tm_sec > 60) {
            return false;
        }
        if (take_char(&text, ".")) {
            milliseconds = take_fraction_ms(&text);
        }
        if (!take_offset(&text, &offset_minutes) || *text != '\0') {
            return false;
        }
    }
    if (day < 1 || day > civil_days_in_month(year, month)) {
        return false;
    }
    /* A leap second (60) becomes the second after it, as everywhere in POSIX. */
    *unix_ms = ((int64_t)timegm(&utc) - (int64_t)offset_minutes * 60) * 1000 + milliseconds;
    return true;
}
