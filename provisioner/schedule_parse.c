/* schedule_parse.c - schedule_parse() of schedule.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "provisioner/schedule.h"

#define FIELD_COUNT       5
#define ITEM_MAX_BYTES    32
#define NUMBER_MAX_DIGITS 4
#define NAME_LENGTH       3
#define SUNDAY_TOO        7  /* the other number of Sunday */
#define DATE_LENGTH       10 /* 2026-01-31 */
#define MINUTES_END       16 /* 2026-01-31T12:00 */
#define MILLISECONDS      1000
#define ISO_TIME_SIZE     48

static const struct field {
    const char *name;
    int low, high;
    int last; /* of a `*` */
    const char *names;
    int first_name;
} fields[FIELD_COUNT] = {
    {"minute", 0, 59, 59, NULL, 0},
    {"hour", 0, 23, 23, NULL, 0},
    {"day of the month", 1, 31, 31, NULL, 0},
    {"month", 1, 12, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1},
    {"day of the week", 0, SUNDAY_TOO, SUNDAY_TOO - 1, "sunmontuewedthufrisat", 0},
};

static const struct {
    const char *word;
    const char *fields;
} words[] = {
    {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
    {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
};

/* --- one field ---------------------------------------------------------------------------------------------------- */

static bool read_number(const char **text, int *value) {
    size_t digits = strspn(*text, "0123456789");
    if (digits == 0 || digits > NUMBER_MAX_DIGITS) {
        return false;
    }
    *value = 0;
    for (const char *end = *text + digits; *text < end; (*text)++) {
        *value = *value * 10 + (**text - '0');
    }
    return true;
}

static bool read_name(const struct field *field, const char **text, int *value) {
    if (field->names == NULL || strlen(*text) < NAME_LENGTH) {
        return false;
    }
    for (size_t i = 0; field->names[i] != '\0'; i += NAME_LENGTH) {
        if (strncasecmp(field->names + i, *text, NAME_LENGTH) == 0) {
            *value = field->first_name + (int)(i / NAME_LENGTH);
            *text += NAME_LENGTH;
            return true;
        }
    }
    return false;
}

static bool read_value(const struct field *field, const char **text, int *value) {
    return (read_number(text, value) || read_name(field, text, value)) && *value >= field->low && *value <= field->high;
}

static bool skip_char(const char **text, char wanted) {
    if (**text != wanted) {
        return false;
    }
    (*text)++;
    return true;
}

static bool bad_item(const struct field *field, const char *item, struct error *err) {
    return error_set(err, ERROR_INVALID, "`%s` is no %s: *, a number from %d to %d%s, a range, or one with a /step",
                     item, field->name, field->low, field->high,
                     field->names == NULL ? "" : " or a name of three letters");
}

/* One part of a list: *, 5, 5-10, each perhaps with a step; 5/2 goes on to the end. */
static bool parse_item(const struct field *field, const char *item, uint64_t *values, bool *is_any, struct error *err) {
    const char *at = item;
    int low = field->low;
    int high = field->last;
    int step = 1;
    bool is_star = skip_char(&at, '*');
    if (!is_star) {
        if (!read_value(field, &at, &low)) {
            return bad_item(field, item, err);
        }
        bool is_range = skip_char(&at, '-');
        high = *at == '/' && low <= field->last ? field->last : low;
        if (is_range && !read_value(field, &at, &high)) {
            return bad_item(field, item, err);
        }
        /* Sunday ends a week as well as it begins one: `fri-sun`. */
        high = is_range && high == 0 && low > 0 && field->high == SUNDAY_TOO ? SUNDAY_TOO : high;
    }
    if (skip_char(&at, '/') && (!read_number(&at, &step) || step < 1 || step > field->high)) {
        return error_set(err, ERROR_INVALID, "the step of `%s` (%s) must be from 1 to %d", item, field->name,
                         field->high);
    }
    if (*at != '\0') {
        return bad_item(field, item, err);
    }
    if (low > high) {
        return error_set(err, ERROR_INVALID, "`%s` (%s) runs backwards", item, field->name);
    }
    for (int value = low; value <= high; value += step) {
        *values |= UINT64_C(1) << (value == SUNDAY_TOO && field->high == SUNDAY_TOO ? 0 : value);
    }
    *is_any = *is_any || (is_star && step == 1);
    return true;
}

/* The `length` characters of one field: a list. */
static bool parse_field(const struct field *field, const char *text, size_t length, uint64_t *values, bool *is_any,
                        struct error *err) {
    const char *end = text + length;
    *values = 0;
    *is_any = false;
    for (;;) {
        char item[ITEM_MAX_BYTES];
        const char *comma = memchr(text, ',', (size_t)(end - text));
        size_t item_length = (size_t)((comma == NULL ? end : comma) - text);
        snprintf(item, sizeof item, "%.*s", (int)(item_length < sizeof item ? item_length : sizeof item - 1), text);
        if (item_length >= sizeof item) {
            return bad_item(field, item, err);
        }
        if (!parse_item(field, item, values, is_any, err)) {
            return false;
        }
        if (comma == NULL) {
            return true;
        }
        text = comma + 1;
    }
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static bool parse_fields(const char *text, struct schedule *schedule, struct error *err) {
    uint64_t values[FIELD_COUNT];
    bool is_any[FIELD_COUNT];
    size_t count = 0;
    for (text += strspn(text, " \t"); *text != '\0'; text += strspn(text, " \t")) {
        size_t length = strcspn(text, " \t");
        if (count < FIELD_COUNT && !parse_field(&fields[count], text, length, &values[count], &is_any[count], err)) {
            return false;
        }
        text += length;
        count++;
    }
    if (count != FIELD_COUNT) {
        return error_set(err, ERROR_INVALID,
                         "it must be five fields (minute, hour, day of the month, month, day of the week), @hourly, "
                         "@daily, @weekly, @monthly, @yearly, or a time such as 2026-01-31T03:00");
    }
    *schedule = (struct schedule){
        .minutes = values[0],
        .hours = (uint32_t)values[1],
        .days = (uint32_t)values[2],
        .months = (uint32_t)values[3],
        .weekdays = (uint32_t)values[4],
        .any_day = is_any[2],
        .any_weekday = is_any[4],
    };
    return true;
}

/* RFC 3339 says it all; ISO 8601 lets one leave out the seconds, the offset (then the time is local) or the time. */
static bool parse_once(const char *text, struct schedule *schedule, struct error *err) {
    char whole[ISO_TIME_SIZE];
    int64_t unix_ms = 0;
    size_t length = strlen(text);
    bool has_time = length > DATE_LENGTH;
    bool lacks_seconds = length >= MINUTES_END && text[MINUTES_END] != ':';
    *schedule = (struct schedule){.is_once = true};
    int used = snprintf(whole, sizeof whole - 1, "%.*s%s%s", (int)(has_time ? MINUTES_END : DATE_LENGTH), text,
                        !has_time ? "T00:00:00" : (lacks_seconds ? ":00" : ""),
                        length > MINUTES_END ? text + MINUTES_END : "");
    bool fits = used > 0 && (size_t)used < sizeof whole - 1;
    if (fits && !clock_parse_rfc3339(whole, &unix_ms)) {
        strcat(whole, "Z");
        schedule->once_is_local = true;
        fits = clock_parse_rfc3339(whole, &unix_ms);
    }
    /* Whole seconds, rounded down. */
    schedule->once_s = unix_ms / MILLISECONDS - (unix_ms % MILLISECONDS < 0);
    return fits ||
           error_set(err, ERROR_INVALID, "`%.64s` is no time such as 2026-01-31T03:00 or 2026-01-31T03:00:00Z", text);
}

bool schedule_parse(const char *text, struct schedule *schedule, struct error *err) {
    size_t length = strlen(text);
    if (length > SCHEDULE_TEXT_MAX_BYTES) {
        return error_set(err, ERROR_INVALID, "it has more than %d characters", SCHEDULE_TEXT_MAX_BYTES);
    }
    for (size_t i = 0; i < length; i++) {
        if ((text[i] < ' ' || text[i] > '~') && text[i] != '\t') {
            return error_set(err, ERROR_INVALID, "it has a character that no schedule has");
        }
    }
    text += strspn(text, " \t");
    if (text[0] == '@') {
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            size_t word_length = strlen(words[i].word);
            if (strncasecmp(text, words[i].word, word_length) == 0 &&
                text[word_length + strspn(text + word_length, " \t")] == '\0') {
                return parse_fields(words[i].fields, schedule, err);
            }
        }
        return error_set(err, ERROR_INVALID,
                         "`%.32s` is no word for a schedule: @hourly, @daily, @weekly, @monthly, @yearly", text);
    }
    bool is_date = strspn(text, "0123456789") == strlen("2026") && text[strlen("2026")] == '-';
    return is_date ? parse_once(text, schedule, err) : parse_fields(text, schedule, err);
}
