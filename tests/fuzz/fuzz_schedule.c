/* Schedules and the rules of time zones: whatever is written, it is refused with a reason, or what follows from it is
 * in order: a next time is later than the time asked about, the last time before it is itself, and between the two
 * there is none. The text up to the first line feed is the schedule, what follows a zone file, or else a rule. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "provisioner/posix_tz.c"
#include "provisioner/schedule.c"
#include "provisioner/schedule_parse.c"
#include "provisioner/time_zone.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define AFTER_S 1700000000 /* 2023 */
#define STEPS   5

static void require(bool truth) {
    if (!truth) {
        abort();
    }
}

/* As a zone that has nothing but the rule. NULL: it is none. */
static struct time_zone *zone_of_rule(const char *text, size_t length) {
    struct time_zone *zone = calloc(1, sizeof *zone);
    require(zone != NULL);
    zone->has_rule = true;
    if (!posix_tz_parse(text, length, &zone->rule)) {
        free(zone);
        return NULL;
    }
    return zone;
}

static void check(const struct schedule *schedule, const struct time_zone *zone) {
    int64_t after_s = AFTER_S;
    for (int i = 0; i < STEPS; i++) {
        struct zone_period period;
        time_zone_period(zone, after_s, &period);
        require(period.begins <= after_s && after_s < period.ends);
        int64_t next_s = schedule_next(schedule, zone, after_s);
        require(next_s > after_s);
        if (next_s == SCHEDULE_NEVER) {
            return;
        }
        require(schedule_last(schedule, zone, after_s, next_s - 1) == SCHEDULE_NEVER);
        require(schedule_last(schedule, zone, after_s, next_s) == next_s);
        after_s = next_s;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    struct schedule schedule;
    const char *line_end = memchr(data, '\n', size);
    size_t length = line_end == NULL ? size : (size_t)(line_end - (const char *)data);
    size_t rest = line_end == NULL ? 0 : size - length - 1;
    char *text = strndup((const char *)data, length);
    require(text != NULL);
    struct time_zone *zone =
        rest == 0 ? time_zone_open(TIME_ZONE_UTC, &err) : time_zone_parse(line_end + 1, rest, &err);
    if (zone == NULL) {
        zone = zone_of_rule(line_end + 1, rest);
    }
    if (!schedule_parse(text, &schedule, &err)) {
        require(err.code == ERROR_INVALID && err.message[0] != '\0');
    } else if (zone != NULL) {
        check(&schedule, zone);
    }
    time_zone_free(zone);
    free(text);
    return 0;
}
