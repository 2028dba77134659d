/* secret.h - handling of keys and tokens so that neither timing nor memory tells them. libc only, thread-safe. */
#ifndef TERMINALS_COMMON_SECRET_H
#define TERMINALS_COMMON_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* Compares two strings in a time that depends on their lengths only. NULL equals nothing. */
bool secret_equals(const char *a, const char *b);

/* Overwrites and frees a string from malloc(); NULL is fine. */
void secret_free(char *secret);

static inline void secret_cleanup_function(char **secret) {
    secret_free(*secret);
}
#define cleanup_secret __attribute__((cleanup(secret_cleanup_function)))

#endif
