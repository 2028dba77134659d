#include "common/json.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define JSON_MAX_DEPTH 64

static void tokener_cleanup_function(struct json_tokener **tokener) {
    if (*tokener != NULL) {
        json_tokener_free(*tokener);
    }
}

/* What json-c's strict mode lets pass although RFC 8259 does not: single quotes, NaN and Infinity, raw control
 * characters in strings. Returns the offset of the first such byte, or `length`. */
static size_t first_forbidden_byte(const char *text, size_t length) {
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (in_string ? c < 0x20 : c == '\0' || strchr("{}[]:,\" \t\r\n0123456789+-.eEtrufalsn", c) == NULL) {
            return i;
        }
        if (c == '"') {
            in_string = !in_string;
        } else if (in_string && c == '\\') {
            i++;
        }
    }
    return length;
}

struct json_object *json_parse(const char *text, size_t length, struct error *err) {
    if (length > INT_MAX) {
        error_set(err, ERROR_INVALID, "JSON of %zu bytes is too long", length);
        return NULL;
    }
    /* json-c keeps strings with their length, but every getter here returns a C string: a NUL inside would cut it
     * silently. */
    size_t forbidden = first_forbidden_byte(text, length);
    if (forbidden < length) {
        error_set(err, ERROR_INVALID, "not JSON: unexpected character at byte %zu", forbidden);
        return NULL;
    }
    __attribute__((cleanup(tokener_cleanup_function))) struct json_tokener *tokener =
        json_tokener_new_ex(JSON_MAX_DEPTH);
    if (tokener == NULL) {
        error_set(err, ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    cleanup_json struct json_object *value = json_tokener_parse_ex(tokener, text, (int)length);
    enum json_tokener_error problem = json_tokener_get_error(tokener);
    size_t used = json_tokener_get_parse_end(tokener);
    if (problem == json_tokener_continue) {
        /* A number at the very end is only finished by what follows it. */
        value = json_tokener_parse_ex(tokener, "", 1);
        problem = json_tokener_get_error(tokener);
        used = length;
    }
    if (problem != json_tokener_success) {
        error_set(err, ERROR_INVALID, "not JSON: %s at byte %zu",
                  problem == json_tokener_continue ? "it ends too early" : json_tokener_error_desc(problem), used);
        return NULL;
    }
    for (; used < length; used++) {
        if (strchr(" \t\r\n", text[used]) == NULL || text[used] == '\0') {
            error_set(err, ERROR_INVALID, "not JSON: something follows the value at byte %zu", used);
            return NULL;
        }
    }
    struct json_object *result = value;
    value = NULL;
    return result;
}

struct json_object *json_parse_object(const char *text, size_t length, struct error *err) {
    struct error ignored;
    struct error *problem = err != NULL ? err : &ignored;
    problem->code = ERROR_NONE;
    struct json_object *value = json_parse(text, length, problem);
    if (problem->code == ERROR_NONE && !json_object_is_type(value, json_type_object)) {
        error_set(problem, ERROR_INVALID, "not a JSON object");
        json_object_put(value);
        return NULL;
    }
    return value;
}

static struct json_object *member(struct json_object *object, const char *key, enum json_type type) {
    struct json_object *value = NULL;
    if (!json_object_is_type(object, json_type_object) || !json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, type)) {
        return NULL;
    }
    return value;
}

const char *json_get_string(struct json_object *object, const char *key) {
    struct json_object *value = member(object, key, json_type_string);
    const char *text = value == NULL ? NULL : json_object_get_string(value);
    /* json-c keeps a \u0000; a C string ends there, and "a\u0000b" must not pass for "a". */
    return text == NULL || strlen(text) != (size_t)json_object_get_string_len(value) ? NULL : text;
}

int64_t json_get_int(struct json_object *object, const char *key, int64_t fallback) {
    struct json_object *value = member(object, key, json_type_int);
    return value == NULL ? fallback : json_object_get_int64(value);
}

bool json_get_bool(struct json_object *object, const char *key, bool fallback) {
    struct json_object *value = member(object, key, json_type_boolean);
    return value == NULL ? fallback : json_object_get_boolean(value);
}

struct json_object *json_get_object(struct json_object *object, const char *key) {
    return member(object, key, json_type_object);
}

struct json_object *json_get_array(struct json_object *object, const char *key) {
    return member(object, key, json_type_array);
}

/* Recursive, over what json_parse() has bounded. */
int json_depth(struct json_object *value) { /* NOLINT(misc-no-recursion) */
    int deepest = 0;
    if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, key, member_) {
            (void)key;
            int depth = json_depth(member_);
            deepest = depth > deepest ? depth : deepest;
        }
        return deepest + 1;
    }
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            int depth = json_depth(json_object_array_get_idx(value, i));
            deepest = depth > deepest ? depth : deepest;
        }
        return deepest + 1;
    }
    return 0;
}

bool json_add(struct json_object *object, const char *key, struct json_object *value) {
    if (json_object_object_add(object, key, value) != 0) {
        json_object_put(value);
        return false;
    }
    return true;
}

bool json_add_string(struct json_object *object, const char *key, const char *text) {
    if (text == NULL) {
        return json_add(object, key, NULL);
    }
    struct json_object *value = json_object_new_string(text);
    return value != NULL && json_add(object, key, value);
}

bool json_add_int(struct json_object *object, const char *key, int64_t number) {
    struct json_object *value = json_object_new_int64(number);
    return value != NULL && json_add(object, key, value);
}

bool json_add_bool(struct json_object *object, const char *key, bool truth) {
    struct json_object *value = json_object_new_boolean(truth);
    return value != NULL && json_add(object, key, value);
}

const char *json_text(struct json_object *object, size_t *length) {
    return json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, length);
}

void json_cleanup_function(struct json_object **object) {
    if (*object != NULL) {
        json_object_put(*object);
    }
}
