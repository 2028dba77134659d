#include "instance/environment.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* True if the first `name_length` bytes of a "NAME=value" are a name in `extra`. */
static bool is_replaced(struct json_object *extra, const char *entry) {
    size_t name_length = strcspn(entry, "=");
    json_object_object_foreach(extra, name, value) {
        (void)value;
        if (strlen(name) == name_length && memcmp(name, entry, name_length) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_usable(const char *name) {
    return *name != '\0' && strchr(name, '=') == NULL;
}

char **environment_make(struct json_object *extra) {
    size_t count = 1;
    size_t bytes = 0;
    for (char **entry = environ; *entry != NULL; entry++) {
        count++;
    }
    if (extra != NULL) {
        json_object_object_foreach(extra, name, value) {
            count++;
            bytes += strlen(name) + (size_t)json_object_get_string_len(value) + 2;
        }
    }
    char **list = malloc(count * sizeof *list + bytes);
    if (list == NULL) {
        return NULL;
    }
    char *text = (char *)(list + count);
    size_t used = 0;
    for (char **entry = environ; *entry != NULL; entry++) {
        if (extra == NULL || !is_replaced(extra, *entry)) {
            list[used++] = *entry;
        }
    }
    if (extra != NULL) {
        json_object_object_foreach(extra, name, value) {
            if (is_usable(name)) {
                list[used++] = text;
                text = stpcpy(stpcpy(stpcpy(text, name), "="), json_object_get_string(value)) + 1;
            }
        }
    }
    list[used] = NULL;
    return list;
}

const char *environment_shell(void) {
    const char *const shells[] = {getenv("SHELL"), "/bin/bash", "/bin/sh"};
    for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
        if (shells[i] != NULL && shells[i][0] == '/' && access(shells[i], X_OK) == 0) {
            return shells[i];
        }
    }
    return "/bin/sh";
}
