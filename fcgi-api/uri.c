#include "fcgi-api/uri.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"

#define RESERVED_DEPTH 2

size_t uri_path_length(const char *target) {
    return strcspn(target, "?");
}

const char *uri_query(const char *target) {
    const char *mark = strchr(target, '?');
    return mark == NULL ? "" : mark + 1;
}

static int hex_value(char digit) {
    static const char digits[] = "0123456789abcdef";
    char lower = digit >= 'A' && digit <= 'F' ? (char)(digit - 'A' + 'a') : digit;
    const char *found = lower == '\0' ? NULL : strchr(digits, lower);
    return found == NULL ? -1 : (int)(found - digits);
}

/* The byte that `text` begins with, decoded; *used is 1 or 3. */
static unsigned char decode_byte(const char *text, size_t length, size_t *used) {
    if (length >= 3 && text[0] == '%' && hex_value(text[1]) >= 0 && hex_value(text[2]) >= 0) {
        *used = 3;
        return (unsigned char)(hex_value(text[1]) * 16 + hex_value(text[2]));
    }
    *used = 1;
    return (unsigned char)text[0];
}

char *uri_decode(const char *text, size_t length, bool plus_is_space, struct error *err) {
    cleanup_free char *decoded = malloc(length + 1);
    if (decoded == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    size_t count = 0;
    for (size_t at = 0, used = 0; at < length; at += used) {
        unsigned char byte = decode_byte(text + at, length - at, &used);
        if (plus_is_space && text[at] == '+') {
            byte = ' ';
        }
        if (byte == '\0') {
            error_set(err, ERROR_INVALID, "the request target holds a NUL");
            return NULL;
        }
        decoded[count++] = (char)byte;
    }
    decoded[count] = '\0';
    if (!text_is_utf8(decoded)) {
        error_set(err, ERROR_INVALID, "the request target is not UTF-8");
        return NULL;
    }
    return steal_pointer(&decoded);
}

/* Where a path leads while its segments are read one by one. */
struct walk {
    int depth;    /* segments below the root */
    int reserved; /* how many of them, from the first on, spell /api/v1 */
};

/* Goes one segment further; false if that climbs above the root. */
static bool walk_segment(struct walk *walk, const char *segment, size_t length) {
    static const char *const reserved[RESERVED_DEPTH] = {"api", "v1"};
    if (length == 0 || (length == 1 && segment[0] == '.')) {
        return true;
    }
    if (length == 2 && memcmp(segment, "..", 2) == 0) {
        walk->depth--;
        walk->reserved = walk->reserved > walk->depth ? walk->depth : walk->reserved;
        return walk->depth >= 0;
    }
    if (walk->reserved == walk->depth && walk->depth < RESERVED_DEPTH && strlen(reserved[walk->depth]) == length &&
        memcmp(reserved[walk->depth], segment, length) == 0) {
        walk->reserved++;
    }
    walk->depth++;
    return true;
}

bool uri_check_instance_target(const char *target, struct error *err) {
    if (target == NULL || target[0] != '/') {
        return error_set(err, ERROR_INVALID, "The path must begin with `/`");
    }
    size_t length = uri_path_length(target);
    cleanup_free char *path = malloc(length + 1);
    if (path == NULL) {
        return error_set(err, ERROR_INTERNAL, "out of memory");
    }
    size_t count = 0;
    for (size_t at = 0, used = 0; at < length; at += used) {
        unsigned char byte = decode_byte(target + at, length - at, &used);
        if (byte < 0x20 || byte == 0x7f) {
            return error_set(err, ERROR_INVALID, "The path holds a control character");
        }
        path[count++] = (char)byte;
    }
    path[count] = '\0';

    struct walk walk = {0};
    const char *segment = path;
    for (const char *end = path; *end != '\0'; segment = end + 1) {
        end = strchrnul(segment, '/');
        if (!walk_segment(&walk, segment, (size_t)(end - segment))) {
            return error_set(err, ERROR_INVALID, "The path leaves the instance");
        }
    }
    return walk.reserved < RESERVED_DEPTH || error_set(err, ERROR_NOT_FOUND, "Not Found");
}
