/* time_zone.h - local time in any zone of the system's tzdata, whatever the process's own TZ is.
 *
 * libc knows one zone at a time, TZ's, and changing it (tzset) is for the whole process and no thread's to do. So the
 * zone files are read here: TZif, RFC 8536, version 2 and later, with the rule in their footer for the years after the
 * last recorded change. Thread-safe: an open zone never changes. */
#ifndef TERMINALS_PROVISIONER_TIME_ZONE_H
#define TERMINALS_PROVISIONER_TIME_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "provisioner/posix_tz.h"

#define TIME_ZONE_NAME_MAX_BYTES 64
#define TIME_ZONE_UTC            "UTC" /* there without tzdata too */

struct time_zone;

/* Opens a zone by its name in tzdata ("Europe/Berlin"). NULL with ERROR_INVALID where there is none of that name, or
 * ERROR_INTERNAL. time_zone_free() takes NULL. */
struct time_zone *time_zone_open(const char *name, struct error *err);
void time_zone_free(struct time_zone *zone);

/* The same from the content of a zone file. */
struct time_zone *time_zone_parse(const void *data, size_t length, struct error *err);

/* The time around `unix_s` in which the zone's offset stays the same. A recorded change that leaves the offset as it
 * is (a new name, saving time that became standard time) begins a period too. */
void time_zone_period(const struct time_zone *zone, int64_t unix_s, struct zone_period *period);

#endif
