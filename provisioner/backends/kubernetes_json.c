#include "provisioner/backends/kubernetes_json.h"

#include <string.h>

static struct json_object *member(struct json_object *parent, const char *name, enum json_type type,
                                  struct json_object *(*make)(void)) {
    struct json_object *value = NULL;
    if (json_object_object_get_ex(parent, name, &value) && json_object_is_type(value, type)) {
        return value;
    }
    value = make();
    return value != NULL && json_add(parent, name, value) ? value : NULL;
}

struct json_object *kubernetes_json_object(struct json_object *parent, const char *name) {
    return member(parent, name, json_type_object, json_object_new_object);
}

struct json_object *kubernetes_json_array(struct json_object *parent, const char *name) {
    return member(parent, name, json_type_array, json_object_new_array);
}

static bool add_members(struct json_object *target, struct json_object *source, bool replaces) {
    if (source == NULL) {
        return true;
    }
    json_object_object_foreach(source, name, value) {
        struct json_object *copy = NULL;
        if (!replaces && json_object_object_get_ex(target, name, NULL)) {
            continue;
        }
        if ((value != NULL && json_object_deep_copy(value, &copy, NULL) != 0) || !json_add(target, name, copy)) {
            return false;
        }
    }
    return true;
}

bool kubernetes_json_overlay(struct json_object *target, struct json_object *source) {
    return add_members(target, source, true);
}

bool kubernetes_json_fill(struct json_object *target, struct json_object *source) {
    return add_members(target, source, false);
}

bool kubernetes_json_append(struct json_object *array, struct json_object *item) {
    if (item == NULL || json_object_array_add(array, item) != 0) {
        json_object_put(item);
        return false;
    }
    return true;
}

static bool is_called(struct json_object *item, const char *name, const char *value) {
    const char *text = json_object_is_type(item, json_type_object) ? json_get_string(item, name) : NULL;
    return text != NULL && strcmp(text, value) == 0;
}

struct json_object *kubernetes_json_find(struct json_object *array, const char *name, const char *value) {
    for (size_t i = 0; array != NULL && i < json_object_array_length(array); i++) {
        if (is_called(json_object_array_get_idx(array, i), name, value)) {
            return json_object_array_get_idx(array, i);
        }
    }
    return NULL;
}

void kubernetes_json_remove(struct json_object *array, const char *name, const char *value) {
    for (size_t i = json_object_array_length(array); i > 0; i--) {
        if (is_called(json_object_array_get_idx(array, i - 1), name, value)) {
            json_object_array_del_idx(array, i - 1, 1);
        }
    }
}
