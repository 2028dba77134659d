/* string_list.h - a growing, NULL-terminated list of strings, as execve(2) takes it for arguments and environment.
 *
 * `struct string_list list = {0};` is a valid empty list. A failed allocation sets `failed`, which stays set: add as
 * often as you like and check once. */
#ifndef TERMINALS_PROVISIONER_BACKENDS_STRING_LIST_H
#define TERMINALS_PROVISIONER_BACKENDS_STRING_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct string_list {
    char **strings; /* NULL while nothing was ever added */
    size_t count;
    size_t capacity;
    bool failed;
};

/* Adds copies of the strings: string_list_add(&list, "--uid", uid). */
#define string_list_add(list, ...)                                                                                     \
    string_list_add_all(list, (const char *const[]){__VA_ARGS__},                                                      \
                        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
void string_list_add_all(struct string_list *list, const char *const *strings, size_t count);
void string_list_add_format(struct string_list *list, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Overwrites (an environment holds a key) and frees everything; the list may be used again. */
void string_list_free(struct string_list *list);

#define cleanup_string_list __attribute__((cleanup(string_list_free)))

#endif
