/* settings_export.c - the settings as another process gets them, and as a person does (settings.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/settings_value.h"

extern char **environ;

/* Removes every TERMINALS_ name from the environment of this process. */
static bool unset_all(void) {
    for (char **entry = environ; *entry != NULL;) {
        const char *equals = strchr(*entry, '=');
        if (equals == NULL || strncmp(*entry, SETTINGS_PREFIX, SETTINGS_PREFIX_LENGTH) != 0) {
            entry++;
            continue;
        }
        cleanup_free char *name = strndup(*entry, (size_t)(equals - *entry));
        if (name == NULL || unsetenv(name) != 0) {
            return false;
        }
        entry = environ; /* unsetenv() moved the rest */
    }
    return true;
}

static bool export_row(const struct settings *settings, const struct setting *row) {
    const void *field = settings_field(settings, row);
    cleanup_free char *name = NULL;
    cleanup_free char *number = NULL;
    const char *value = NULL;
    if (asprintf(&name, SETTINGS_PREFIX "%s", row->name) < 0) {
        name = NULL;
        return false;
    }
    switch (row->type) {
    case SETTING_TEXT:
    case SETTING_SECRET:
    case SETTING_AMOUNT:
        value = *(char *const *)field;
        break;
    case SETTING_SWITCH:
        value = *(const bool *)field ? "true" : "false";
        break;
    case SETTING_CHOICE:
        value = row->choices[*(const int *)field];
        break;
    case SETTING_NUMBER:
        if (asprintf(&number, "%lld", (long long)*(const int64_t *)field) < 0) {
            number = NULL;
            return false;
        }
        value = number;
        break;
    }
    return value == NULL || setenv(name, value, 1) == 0;
}

bool settings_export(const struct settings *settings, enum settings_reader reader, struct error *err) {
    if (!unset_all()) {
        return error_set_errno(err, ERROR_INTERNAL, "clear the environment");
    }
    for (size_t i = 0; i < settings_table_count; i++) {
        if ((settings_table[i].readers & reader) != 0 && !export_row(settings, &settings_table[i])) {
            return error_set_errno(err, ERROR_INTERNAL, "set %s%s", SETTINGS_PREFIX, settings_table[i].name);
        }
    }
    return setenv(SETTINGS_PREFIX SETTINGS_COMPLETE, "true", 1) == 0 ||
           error_set_errno(err, ERROR_INTERNAL, "set %s", SETTINGS_PREFIX SETTINGS_COMPLETE);
}

static bool row_to_json(const struct settings *settings, const struct setting *row, struct json_object *object) {
    const void *field = settings_field(settings, row);
    char key[64] = "";
    if (row->type == SETTING_SECRET) {
        strcpy(key, "has_");
    }
    size_t used = strlen(key);
    for (size_t i = 0; row->name[i] != '\0' && used + 1 < sizeof key; i++) {
        char c = row->name[i];
        key[used++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        key[used] = '\0';
    }
    switch (row->type) {
    case SETTING_SECRET:
        return json_add_bool(object, key, *(char *const *)field != NULL);
    case SETTING_TEXT:
    case SETTING_AMOUNT:
        return json_add_string(object, key, *(char *const *)field);
    case SETTING_SWITCH:
        return json_add_bool(object, key, *(const bool *)field);
    case SETTING_CHOICE:
        return json_add_string(object, key, row->choices[*(const int *)field]);
    case SETTING_NUMBER:
        return json_add_int(object, key, *(const int64_t *)field);
    }
    return false;
}

struct json_object *settings_to_json(const struct settings *settings, unsigned readers) {
    struct json_object *object = json_object_new_object();
    for (size_t i = 0; object != NULL && i < settings_table_count; i++) {
        if ((settings_table[i].readers & readers) != 0 && !row_to_json(settings, &settings_table[i], object)) {
            json_object_put(object);
            return NULL;
        }
    }
    return object;
}
