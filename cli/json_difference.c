#include "cli/json_difference.h"

#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

#define ENVIRONMENT "env."

static void print_line(FILE *out, char sign, const char *path, struct json_object *value) {
    bool is_secret = strncmp(path, ENVIRONMENT, strlen(ENVIRONMENT)) == 0 || strstr(path, "." ENVIRONMENT) != NULL;
    fprintf(out, "  %c %s: %s\n", sign, path,
            is_secret ? "…" : json_object_to_json_string_ext(value, JSON_C_TO_STRING_NOSLASHESCAPE));
}

static bool has_members(struct json_object *value) {
    return json_object_is_type(value, json_type_object) && json_object_object_length(value) > 0;
}

static bool is_object_or_missing(struct json_object *value) {
    return value == NULL || json_object_is_type(value, json_type_object);
}

/* One member that at least one of the two has. */
static void print_member(FILE *out, const char *path, struct json_object *before, struct json_object *after) {
    if (is_object_or_missing(before) && is_object_or_missing(after) && (has_members(before) || has_members(after))) {
        json_difference_print(out, path, before, after);
        return;
    }
    if (before != NULL) {
        print_line(out, '-', path, before);
    }
    if (after != NULL) {
        print_line(out, '+', path, after);
    }
}

static void print_at(FILE *out, const char *path, const char *name, struct json_object *before,
                     struct json_object *after) {
    cleanup_free char *longer = NULL;
    if (asprintf(&longer, "%s%s%s", path, path[0] == '\0' ? "" : ".", name) < 0) {
        longer = NULL;
        return; /* a line less: nothing depends on it */
    }
    print_member(out, longer, before, after);
}

void json_difference_print(FILE *out, const char *path, struct json_object *before, struct json_object *after) {
    if (before != NULL) {
        json_object_object_foreach(before, name, value) {
            struct json_object *other = NULL;
            if (after == NULL || !json_object_object_get_ex(after, name, &other) ||
                json_object_equal(value, other) != 1) {
                print_at(out, path, name, value, other);
            }
        }
    }
    if (after != NULL) {
        json_object_object_foreach(after, name, value) {
            if (before == NULL || !json_object_object_get_ex(before, name, NULL)) {
                print_at(out, path, name, NULL, value);
            }
        }
    }
}
