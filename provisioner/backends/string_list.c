#include "provisioner/backends/string_list.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"

/* Takes over `text`. */
static void append(struct string_list *list, char *text) {
    if (list->count + 2 > list->capacity) {
        size_t capacity = list->capacity == 0 ? 32 : list->capacity * 2;
        char **strings = realloc(list->strings, capacity * sizeof *strings);
        if (strings == NULL) {
            list->failed = true;
            secret_free(text);
            return;
        }
        list->strings = strings;
        list->capacity = capacity;
    }
    if (text == NULL) {
        list->failed = true;
        return;
    }
    list->strings[list->count++] = text;
    list->strings[list->count] = NULL;
}

void string_list_add_all(struct string_list *list, const char *const *strings, size_t count) {
    for (size_t i = 0; i < count; i++) {
        append(list, strdup(strings[i]));
    }
}

void string_list_add_format(struct string_list *list, const char *format, ...) {
    va_list arguments;
    char *text = NULL;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0) {
        text = NULL;
    }
    va_end(arguments);
    append(list, text);
}

void string_list_free(struct string_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        secret_free(list->strings[i]);
    }
    free(list->strings);
    *list = (struct string_list){0};
}
