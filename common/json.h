/* json.h - what json-c lacks for input that is hostile: one strict parse, and getters that check the type.
 *
 * Ownership is json-c's: objects are reference-counted, what a getter returns is borrowed from its parent. */
#ifndef TERMINALS_COMMON_JSON_H
#define TERMINALS_COMMON_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Parses exactly one JSON value (RFC 8259, UTF-8 checked, 64 levels deep at most, nothing after it).
 * NULL with ERROR_INVALID otherwise. The caller releases it with json_object_put(). */
struct json_object *json_parse(const char *text, size_t length, struct error *err);

/* The same, and the value must be an object. */
struct json_object *json_parse_object(const char *text, size_t length, struct error *err);

/* A member by type; NULL or the fallback when it is absent, null or of another type. A string with a NUL in it (\u0000)
 * counts as absent: a C string cannot hold it (json_object_get_string_len() tells). */
const char *json_get_string(struct json_object *object, const char *key);
int64_t json_get_int(struct json_object *object, const char *key, int64_t fallback);
bool json_get_bool(struct json_object *object, const char *key, bool fallback);
struct json_object *json_get_object(struct json_object *object, const char *key);
struct json_object *json_get_array(struct json_object *object, const char *key);

/* How many levels of objects and arrays there are: 0 for a number, 1 for `{}` and `[1]`, 2 for `[[]]`. */
int json_depth(struct json_object *value);

/* Adds a member. A NULL text becomes JSON null. False when memory runs out. `json_add` takes over `value`. */
bool json_add(struct json_object *object, const char *key, struct json_object *value);
bool json_add_string(struct json_object *object, const char *key, const char *text);
bool json_add_int(struct json_object *object, const char *key, int64_t value);
bool json_add_bool(struct json_object *object, const char *key, bool value);

/* The value as compact JSON text, without escaped slashes, owned by the object and valid until it changes. */
const char *json_text(struct json_object *object, size_t *length);

/* Puts the object when its variable goes out of scope; NULL is fine. */
void json_cleanup_function(struct json_object **object);
#define cleanup_json __attribute__((cleanup(json_cleanup_function)))

#endif
