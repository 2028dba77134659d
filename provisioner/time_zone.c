#include "provisioner/time_zone.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/buffer.h"
#include "common/cleanup.h"

#define TZDATA_FOLDER   "/usr/share/zoneinfo"
#define FILE_MAX_BYTES  (256 * 1024) /* the longest there is has 4 KiB */
#define HEADER_BYTES    44
#define COUNTS_AT       20
#define TYPE_BYTES      6
#define OFFSET_MIN_S    (-89999) /* RFC 8536 §3.2 */
#define OFFSET_MAX_S    93599
#define TIME_BYTES_V1   4
#define TIME_BYTES      8
#define LEAP_REST_BYTES 4

struct transition {
    int64_t at;
    int32_t offset_s; /* from then on */
};

struct time_zone {
    int32_t first_offset_s; /* before all transitions */
    bool has_rule;          /* for what comes after them; else the last offset stays */
    struct posix_tz rule;
    size_t count;
    struct transition transitions[];
};

/* The six counts of a header, in the file's order. */
struct counts {
    uint32_t utc_indicators, standard_indicators, leap_seconds, times, types, name_bytes;
};

/* What is left of a file. */
struct bytes {
    const unsigned char *at;
    size_t left;
};

static const unsigned char *take_bytes(struct bytes *reader, size_t count) {
    const unsigned char *taken = reader->at;
    if (count > reader->left) {
        return NULL;
    }
    reader->at += count;
    reader->left -= count;
    return taken;
}

static uint32_t big_endian(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static int64_t big_endian_time(const unsigned char *bytes) {
    return (int64_t)((uint64_t)big_endian(bytes) << 32 | big_endian(bytes + 4));
}

static bool damaged(struct error *err) {
    return error_set(err, ERROR_INVALID, "it is no zone file of version 2 or later, or a damaged one");
}

static bool read_header(struct bytes *reader, struct counts *counts, struct error *err) {
    const unsigned char *header = take_bytes(reader, HEADER_BYTES);
    if (header == NULL || memcmp(header, "TZif", 4) != 0 || header[4] < '2') {
        return damaged(err);
    }
    uint32_t *const members[] = {&counts->utc_indicators, &counts->standard_indicators,
                                 &counts->leap_seconds,   &counts->times,
                                 &counts->types,          &counts->name_bytes};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        *members[i] = big_endian(header + COUNTS_AT + i * sizeof(uint32_t));
        if (*members[i] > FILE_MAX_BYTES) {
            return damaged(err);
        }
    }
    return true;
}

/* What the data of one block has after its times. */
static size_t rest_bytes(const struct counts *counts, size_t time_bytes) {
    return counts->name_bytes + counts->leap_seconds * (time_bytes + LEAP_REST_BYTES) + counts->standard_indicators +
           counts->utc_indicators;
}

/* The block of version 1, whose times end in 2038. */
static bool skip_first_block(struct bytes *reader, struct error *err) {
    struct counts counts = {0};
    return read_header(reader, &counts, err) &&
           (take_bytes(reader, counts.times * (TIME_BYTES_V1 + 1U) + counts.types * TYPE_BYTES +
                                   rest_bytes(&counts, TIME_BYTES_V1)) != NULL ||
            damaged(err));
}

static bool offset_of_type(const struct counts *counts, const unsigned char *types, unsigned type, int32_t *offset_s) {
    if (type >= counts->types) {
        return false;
    }
    *offset_s = (int32_t)big_endian(types + (size_t)type * TYPE_BYTES);
    return *offset_s >= OFFSET_MIN_S && *offset_s <= OFFSET_MAX_S;
}

static bool read_transitions(struct time_zone *zone, const struct counts *counts, const unsigned char *times,
                             const unsigned char *indexes, const unsigned char *types) {
    if (!offset_of_type(counts, types, 0, &zone->first_offset_s)) {
        return false;
    }
    for (size_t i = 0; i < counts->times; i++) {
        struct transition *transition = &zone->transitions[i];
        transition->at = big_endian_time(times + i * TIME_BYTES);
        if (!offset_of_type(counts, types, indexes[i], &transition->offset_s) ||
            (i > 0 && transition->at <= transition[-1].at)) {
            return false;
        }
    }
    zone->count = counts->times;
    return true;
}

/* The footer: a rule between two line feeds, or nothing between them. */
static bool read_rule(struct time_zone *zone, struct bytes *reader) {
    const unsigned char *begin = take_bytes(reader, 1);
    const unsigned char *end = begin == NULL || *begin != '\n' ? NULL : memchr(reader->at, '\n', reader->left);
    if (end == NULL) {
        return false;
    }
    size_t length = (size_t)(end - reader->at);
    zone->has_rule = length > 0;
    return !zone->has_rule || posix_tz_parse((const char *)reader->at, length, &zone->rule);
}

struct time_zone *time_zone_parse(const void *data, size_t length, struct error *err) {
    struct bytes reader = {data, length};
    struct counts counts = {0};
    if (!skip_first_block(&reader, err) || !read_header(&reader, &counts, err)) {
        return NULL;
    }
    if (counts.leap_seconds > 0) {
        error_set(err, ERROR_INVALID, "it counts leap seconds, which the clock here does not");
        return NULL;
    }
    const unsigned char *times = take_bytes(&reader, (size_t)counts.times * TIME_BYTES);
    const unsigned char *indexes = take_bytes(&reader, counts.times);
    const unsigned char *types = take_bytes(&reader, (size_t)counts.types * TYPE_BYTES);
    if (times == NULL || indexes == NULL || types == NULL ||
        take_bytes(&reader, rest_bytes(&counts, TIME_BYTES)) == NULL) {
        damaged(err);
        return NULL;
    }
    struct time_zone *zone = calloc(1, sizeof *zone + counts.times * sizeof zone->transitions[0]);
    if (zone == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    if (!read_transitions(zone, &counts, times, indexes, types) || !read_rule(zone, &reader)) {
        damaged(err);
        free(zone);
        return NULL;
    }
    return zone;
}

/* How many transitions have happened at a time. */
static size_t transitions_until(const struct time_zone *zone, int64_t unix_s) {
    size_t low = 0;
    size_t high = zone->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->transitions[middle].at <= unix_s) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void time_zone_period(const struct time_zone *zone, int64_t unix_s, struct zone_period *period) {
    size_t passed = transitions_until(zone, unix_s);
    int32_t before_s = passed < 2 ? zone->first_offset_s : zone->transitions[passed - 2].offset_s;
    int64_t last = passed == 0 ? INT64_MIN : zone->transitions[passed - 1].at;
    if (passed == zone->count && zone->has_rule) {
        posix_tz_period(&zone->rule, unix_s, period);
        if (period->begins <= last) {
            period->begins = last;
            period->offset_before_s = before_s;
        }
        return;
    }
    *period = (struct zone_period){
        .begins = last,
        .ends = passed == zone->count ? INT64_MAX : zone->transitions[passed].at,
        .offset_s = passed == 0 ? zone->first_offset_s : zone->transitions[passed - 1].offset_s,
        .offset_before_s = before_s,
    };
}

/* --- the files ---------------------------------------------------------------------------------------------------- */

/* Words of letters, digits, `_ + -` with a slash between two: no dot, so that nothing leads out of the folder. */
static bool is_name(const char *name) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/";
    size_t length = strlen(name);
    return length > 0 && length <= TIME_ZONE_NAME_MAX_BYTES && strspn(name, allowed) == length && name[0] != '/' &&
           name[length - 1] != '/' && strstr(name, "//") == NULL;
}

/* Reads a whole regular file. False with errno. */
static bool read_file(const char *path, struct buffer *content) {
    struct stat status;
    /* Not blocking: the folder could hold a FIFO. */
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &status) < 0) {
        return false;
    }
    if (!S_ISREG(status.st_mode) || status.st_size > FILE_MAX_BYTES) {
        errno = ENOENT;
        return false;
    }
    char chunk[4096];
    ssize_t count = 0;
    while ((count = read(fd, chunk, sizeof chunk)) > 0) {
        if (content->length > FILE_MAX_BYTES || !buffer_append(content, chunk, (size_t)count)) {
            errno = ENOMEM;
            return false;
        }
    }
    return count == 0;
}

struct time_zone *time_zone_open(const char *name, struct error *err) {
    cleanup_buffer struct buffer content = {0};
    char path[sizeof TZDATA_FOLDER + 1 + TIME_ZONE_NAME_MAX_BYTES];
    if (strcmp(name, TIME_ZONE_UTC) == 0) {
        struct time_zone *utc = calloc(1, sizeof *utc);
        if (utc == NULL) {
            error_set(err, ERROR_INTERNAL, "out of memory");
        }
        return utc;
    }
    if (!is_name(name)) {
        error_set(err, ERROR_INVALID, "it must be the name of a time zone such as Europe/Berlin");
        return NULL;
    }
    snprintf(path, sizeof path, "%s/%s", TZDATA_FOLDER, name);
    if (!read_file(path, &content)) {
        if (errno == ENOENT || errno == ENOTDIR) {
            error_set(err, ERROR_INVALID, "the system knows no time zone `%s` (%s)", name, TZDATA_FOLDER);
        } else {
            error_set_errno(err, ERROR_INTERNAL, "read `%s`", path);
        }
        return NULL;
    }
    struct time_zone *zone = time_zone_parse(content.data, content.length, err);
    if (zone == NULL) {
        error_prefix(err, "`%s` is not usable", path);
    }
    return zone;
}

void time_zone_free(struct time_zone *zone) {
    free(zone);
}
