/* kubernetes_json.h - putting JSON objects together, as manifests need it. NULL sources are empty. Thread-safe for
 * different objects. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_JSON_H
#define TERMINALS_PROVISIONER_BACKENDS_KUBERNETES_JSON_H

#include "common/json.h"

/* The member `name`, made if it is absent or something else. NULL: no memory. */
struct json_object *kubernetes_json_object(struct json_object *parent, const char *name);
struct json_object *kubernetes_json_array(struct json_object *parent, const char *name);

/* Adds copies of the members of `source` to `target`: all, or those that it does not have. */
bool kubernetes_json_overlay(struct json_object *target, struct json_object *source);
bool kubernetes_json_fill(struct json_object *target, struct json_object *source);

/* Takes over `item`, also on failure. */
bool kubernetes_json_append(struct json_object *array, struct json_object *item);

/* The entry of an array of objects whose text member `name` is `value`; NULL: there is none. */
struct json_object *kubernetes_json_find(struct json_object *array, const char *name, const char *value);
/* Removes all of them. */
void kubernetes_json_remove(struct json_object *array, const char *name, const char *value);

#endif
